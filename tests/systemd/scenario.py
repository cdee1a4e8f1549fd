"""What each scenario begins with and ends with: the package installed in a booted box, no clients, an issuer that is
well; and a journal in which there is no secret and no token."""

import functools
import json
import os
import subprocess
import unittest

from issuer import Issuer

CONFIGURATION = "/etc/bearerd/conf.d"
SECRETS = "/etc/bearerd/secrets"
DROP_INS = "/etc/systemd/system/bearerd.service.d"
SERVICE, SOCKET = "bearerd.service", "bearerd.socket"
FRESH = "15b2b1bbd7054b3bb323064fa389ec3e"
DOWN = "79e22f368dd3460baed9abe2edd7847e"
REFUSED = "cc58e6a9949a4c259cd135c0173eef6f"
APPLIED = "4e5043b7ba1e4b668bdab6a6c9b5f2fd"
USERS = ("billing", "stranger")


class Scenario(unittest.TestCase):
    """The suite gives the box, and the packages and program as files of this machine."""

    box = package = newer = debug = cursor = None
    maxDiff = None

    def setUp(self):
        self.cursor = self.end_of_journal()
        for user in USERS:
            if self.box.run("id", user, check=False).returncode != 0:
                self.box.run("useradd", "--create-home", "--shell", "/bin/sh", user)
        if self.version() != version_of(self.package):
            self.install(self.package)
        self.systemctl("stop", SERVICE)
        self.issuer = Issuer(self.box)
        self.addCleanup(self.tidy)

    def run(self, result=None):
        """One that failed is followed by what the journal has from it."""
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            words = ["journalctl", "-q", "-n", "30", "-o", "short-precise", "--after-cursor", self.cursor]
            said = self.box.run(*words, check=False)
            result.stream.writeln(said.stdout + said.stderr)

    def tidy(self):
        """Leaves the box as the next scenario wants it, whatever this one came to, and then says what leaked."""
        self.systemctl("stop", SERVICE, check=False)
        self.issuer.stop()
        for directory in (CONFIGURATION, SECRETS, DROP_INS):
            for file in self.box.path(directory).glob("*"):
                file.unlink()
        self.systemctl("daemon-reload")
        self.systemctl("reset-failed")
        self.assertEqual(self.leaks(), [], "secrets or tokens in the journal")

    # The package

    def version(self):
        """The version of the installed package; none, if it is not installed."""
        asked = self.box.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}", "bearerd", check=False)
        status, _, version = asked.stdout.strip().partition(" ")
        return version if status == "ii" else None

    def install(self, package, *how):
        """Installs a package as `apt-get install ./FILE` does, a lower version than the present one, too."""
        self.box.copy(package, "/var/tmp/bearerd.deb", 0o644)
        words = ["apt-get", "install", "-y", "-q", "--allow-downgrades", *how]
        return self.box.run("env", "DEBIAN_FRONTEND=noninteractive", *words, "/var/tmp/bearerd.deb").stdout

    # The service

    def systemctl(self, *words, **how):
        return self.box.run("systemctl", *words, **how)

    def show(self, name, unit=SERVICE):
        return self.systemctl("show", "-P", name, unit).stdout.rstrip("\n")

    def start(self, timeout=60):
        self.systemctl("start", SERVICE, timeout=timeout)

    def drop_in(self, *lines):
        """Settings of the service's [Service] section, from its next start on."""
        self.box.write(f"{DROP_INS}/50-test.conf", "\n".join(["[Service]", *lines, ""]))
        self.systemctl("daemon-reload")

    def wait_status(self, pattern, timeout=20):
        """Waits until STATUS says this."""
        try:
            self.box.wait(lambda: self.matches(pattern), "to say so", timeout)
        except AssertionError:
            self.assertRegex(self.show("StatusText"), pattern)

    def matches(self, pattern):
        try:
            self.assertRegex(self.show("StatusText"), pattern)
        except AssertionError:
            return False
        return True

    # Its clients

    def client(self, name, *, secret=True, **settings):
        """Configures a client, with its secret in a file unless it is told otherwise."""
        given = {"token_url": "http://127.0.0.1:8080/token", "client_id": name}
        if secret:
            self.secret(name)
            given["client_secret"] = {"file": f"{SECRETS}/{name}"}
        given |= settings
        lines = [f"[clients.{name}]", *(f"{key} = {toml(value)}" for key, value in given.items()), ""]
        self.configure(name, "\n".join(lines))

    def configure(self, name, text):
        """A file of conf.d, as an administrator would leave it."""
        self.administer(f"{CONFIGURATION}/{name}.toml", text)

    def secret(self, name):
        """The client's secret, where nobody but the daemon and root can read it."""
        self.administer(f"{SECRETS}/{name}", self.issuer.secret(name) + "\n")
        return f"{SECRETS}/{name}"

    def administer(self, inside, text):
        self.box.write(inside, text, 0o640)
        os.chown(self.box.path(inside), 0, self.group("bearerd"))

    def group(self, name):
        rows = [row.split(":") for row in self.box.read("/etc/group").splitlines()]
        return int(next(row[2] for row in rows if row[0] == name))

    # Its callers

    def ask(self, client, user, unit, *words):
        """What `bearerd token` comes to in a unit of the system, as a user."""
        run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}", f"--uid={user}"]
        return self.box.run(*run, "bearerd", "token", client, *words, check=False)

    def token(self, client="demo", *, check=True):
        """What the daemon tells root, who may have every token, about the client's token."""
        done = self.box.run("bearerd", "token", client, "--json", check=False)
        if not check:
            return done
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def token_id(self, client="demo"):
        return self.token(client)["id"]

    def state(self, client="demo"):
        said = json.loads(self.box.run("bearerd", "status", client, "--json").stdout)
        return said["clients"][0]["state"]

    # The journal

    def end_of_journal(self):
        self.box.run("journalctl", "--sync")
        said = self.box.run("journalctl", "-n", "1", "--show-cursor").stdout
        return said.rpartition("-- cursor: ")[2].strip()

    def journal(self, **fields):
        """The journal's entries since this scenario began, with these fields."""
        self.box.run("journalctl", "--sync")
        # All of them: older ones leave out one too many after a cursor if they are to select.
        said = self.box.run("journalctl", "-q", "-o", "json", "--after-cursor", self.cursor).stdout
        entries = [json.loads(line) for line in said.splitlines()]
        return [entry for entry in entries if all(entry.get(name) == value for name, value in fields.items())]

    def daemon_said(self, **fields):
        """The entries of the service's own processes."""
        return self.journal(_SYSTEMD_UNIT=SERVICE, **fields)

    def systemd_said(self):
        """The texts of what systemd has to say about the service."""
        return "\n".join(entry["MESSAGE"] for entry in self.journal(UNIT=SERVICE, _PID="1"))

    def leaks(self):
        """What has part of a secret or of a token in it, of all that is in the journal since this scenario began."""
        self.box.run("journalctl", "--sync")
        said = self.box.run("journalctl", "-q", "-o", "export", "--after-cursor", self.cursor, text=False).stdout
        marks = [mark.encode() for mark in self.issuer.marks]
        return [line for line in said.splitlines() if any(mark in line for mark in marks)]


@functools.cache
def version_of(package):
    """The version that a package's file says of itself."""
    asked = subprocess.run(["dpkg-deb", "--field", package, "Version"], check=True, capture_output=True, text=True)
    return asked.stdout.strip()


def toml(value):
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return json.dumps(value if isinstance(value, (bool, int)) else str(value))
