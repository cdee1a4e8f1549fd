"""The package: what it installs, what systemd thinks of its units, what purging it leaves."""

import re
import stat

from scenario import CONFIGURATION, DOWN, SECRETS, SERVICE, SOCKET, Scenario, version_of

# Of systemd-analyze security, whose 10 is "dangerous".
EXPOSURE = 1.5
MAIN_FILE = "/etc/bearerd/bearerd.toml"
DOCUMENTS = (
    *("/usr/share/man/man1/bearerd.1", "/usr/share/man/man1/bearerd-token.1", "/usr/share/man/man1/bearerd-run.1"),
    *("/usr/share/bash-completion/completions/bearerd", "/usr/share/zsh/vendor-completions/_bearerd"),
    *("/usr/share/fish/vendor_completions.d/bearerd.fish", "/usr/share/doc/bearerd/README.md"),
    *("/usr/share/doc/bearerd/CHANGELOG.md", "/usr/share/doc/bearerd/docs/operations.md"),
    *("/usr/share/bearerd/proto/bearerd/v1/token_broker.proto", "/usr/lib/systemd/catalog/bearerd.catalog"),
)


class Package(Scenario):
    def test_install(self):
        """All is in place, the socket listens, and nothing has failed or warned."""
        self.purge()
        self.install(self.package)
        self.assertEqual(self.version(), version_of(self.package))
        user = self.box.run("getent", "passwd", "bearerd").stdout.split(":")
        self.assertLess(int(user[2]), 1000, "a system user")
        self.assertTrue(user[6].strip().endswith("nologin"), user)
        self.assertEqual(self.systemctl("is-enabled", SERVICE, SOCKET).stdout.split(), ["enabled"] * 2)
        self.assertEqual(self.systemctl("is-active", SERVICE, SOCKET).stdout.split(), ["active"] * 2)
        self.assertEqual(self.owned("/run/bearerd"), "root:root 755")
        self.assertEqual(self.owned("/run/bearerd/bearerd.sock"), "root:root 666")
        self.assertEqual(self.systemctl("--failed", "--plain", "--no-legend").stdout, "")
        for document in DOCUMENTS:
            found = list(self.box.path(document).parent.glob(f"{self.box.path(document).name}*"))
            self.assertTrue(found, f"{document} is not there")

    def test_files_are_for_whom_they_should_be(self):
        self.assertEqual(self.owned(MAIN_FILE), "root:bearerd 640")
        for directory in ("/etc/bearerd", CONFIGURATION, SECRETS):
            self.assertEqual(self.owned(directory), "root:bearerd 750")
        listed = self.box.run("dpkg", "-L", "bearerd").stdout.splitlines()
        for path in listed:
            mode = self.box.path(path).lstat().st_mode
            loose = mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH | stat.S_IWGRP)
            self.assertTrue(stat.S_ISLNK(mode) or not loose, f"{path}: {stat.filemode(mode)}")
        newest = "/usr/lib/systemd/system/bearerd.service.d/10-systemd-254.conf"
        self.assertEqual(newest in listed, self.box.release != "bookworm")

    def test_default_configuration_is_valid_and_has_no_client(self):
        self.box.run("bearerd", "check")
        self.start()
        self.wait_status("^no clients configured$")

    def test_its_own_files_are_unchanged(self):
        """What dpkg installed is what is there; the units are not patched up by its scripts."""
        self.assertEqual(self.box.run("dpkg", "--verify", "bearerd").stdout, "")

    def test_units_are_valid(self):
        """`systemd-analyze verify` has nothing to say about them."""
        done = self.box.run("systemd-analyze", "verify", "--man=no", SERVICE, SOCKET, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("bearerd", done.stdout + done.stderr)

    def test_exposure(self):
        said = self.box.run("systemd-analyze", "security", "--no-pager", SERVICE).stdout
        score = float(re.search(r"Overall exposure level for bearerd.service: ([0-9.]+)", said)[1])
        print(f"exposure {score}", end=" ", flush=True)
        self.assertLessEqual(score, EXPOSURE, said)
        self.assertNotEqual(self.show("SystemCallFilter"), "")

    def test_settings_that_would_break_it_are_off(self):
        """Hardening that would hide who calls, or take the directory of the socket away."""
        self.assertEqual(self.show("PrivateUsers"), "no")
        self.assertEqual(self.show("ProtectProc"), "default")
        self.assertEqual(self.show("RuntimeDirectory"), "")
        self.assertEqual(self.show("IPAddressDeny"), "")
        self.assertEqual(self.show("Type"), "notify" if self.box.release == "bookworm" else "notify-reload")

    def test_catalog_explains_its_messages(self):
        self.client("demo")
        self.issuer.set(mode="refuse")
        self.start()
        self.wait_status("demo refused")
        (entry,) = self.daemon_said(MESSAGE_ID=DOWN)
        said = self.box.run("journalctl", "-x", "--cursor", entry["__CURSOR"], "-n", "1").stdout
        self.assertRegex(said, r"(?m)^(--|░░) Subject: ")

    def test_purge(self):
        """Only what the administrator made is left, and the group that may read it."""
        self.client("demo")
        self.start()
        self.purge()
        self.assertEqual(self.systemctl("is-active", SERVICE, SOCKET, check=False).stdout.split(), ["inactive"] * 2)
        for unit in (SERVICE, SOCKET):
            self.assertEqual(self.show("LoadState", unit), "not-found")
        self.assertEqual(self.box.run("ls", "/run/bearerd", check=False).stdout, "")
        self.assertNotEqual(self.box.run("test", "-e", "/run/bearerd", check=False).returncode, 0)
        look = ["find", "/etc", "/usr", "/var", "-name", "*bearerd*"]
        found = set(self.box.run(*look).stdout.split())
        # What dpkg and apt say about what they did; and the copy of the package that this suite put there.
        ours = {path for path in found if not path.startswith(("/var/log/", "/var/tmp/"))}
        self.assertEqual(ours, {"/etc/bearerd"})
        left = set(self.box.run("find", "/etc/bearerd", "-type", "f").stdout.split())
        self.assertEqual(left, {f"{CONFIGURATION}/demo.toml", f"{SECRETS}/demo"})

    def test_purge_leaves_nothing_where_nothing_was_made(self):
        self.purge()
        self.assertFalse(self.box.path("/etc/bearerd").exists())
        for database in ("passwd", "group"):
            self.assertEqual(self.box.run("getent", database, "bearerd", check=False).stdout, "")

    def test_remove_and_install_again(self):
        """Removing keeps the configuration, and an installation after that works with it."""
        self.client("demo")
        self.start()
        self.box.run("dpkg", "--remove", "bearerd")
        self.assertEqual(self.systemctl("is-active", SOCKET, check=False).stdout.strip(), "inactive")
        self.assertTrue(self.box.path(MAIN_FILE).exists())
        self.install(self.package)
        self.assertTrue(self.token_id())

    def purge(self):
        self.box.run("dpkg", "--purge", "bearerd")

    def owned(self, path):
        """Who owns it, and its mode."""
        return self.box.run("stat", "-c", "%U:%G %a", path).stdout.strip()
