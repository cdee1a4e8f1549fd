"""The root file systems that boxes are copies of: a small Debian each, made once by debootstrap and kept under target/.

Which mirror, proxy and keyring to use is asked from this machine's apt, so that it works wherever apt does.
"""

import os
import pathlib
import shutil
import subprocess
import sys

TARGET = pathlib.Path(__file__).resolve().parents[2] / "target/systemd"
PACKAGES = (
    # What a Debian server has of systemd, as debootstrap's minbase has none of it.
    *("systemd", "systemd-sysv", "dbus", "procps", "libnss-systemd", "libpam-systemd"),
    # What the package under test may depend on, as there is no network in the box.
    "ca-certificates",
    # What issuer.py and load.py run on, the latter with the gRPC that programs really use.
    *("python3", "python3-grpcio"),
)
# debootstrap does not see that this provides what python3-grpcio depends on.
PROVIDING = {"trixie": ("libre2-11",)}
# There is no terminal in a box: a getty would hang up its console. Nothing may happen on a timer during a measurement.
MASKED = (
    *("console-getty.service", "getty@.service", "serial-getty@.service", "container-getty@.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "fstrim.timer", "systemd-tmpfiles-clean.timer"),
)


def root(release):
    """Where the root of this release is kept."""
    return TARGET / release / "root"


def create(release):
    """Makes the root of a release, unless it is there and was made by this very program."""
    kept = TARGET / release
    packages = ",".join((*PACKAGES, *PROVIDING.get(release, ())))
    recipe = pathlib.Path(__file__).read_text()
    made_of = kept / "recipe"
    if made_of.is_file() and made_of.read_text() == recipe:
        return
    shutil.rmtree(kept, ignore_errors=True)
    new = kept / "new"
    # dpkg waits for the disk after each file otherwise, which takes most of the time; a root that a crash spoilt is
    # not used, as it has no recipe.
    eager = new / "etc/dpkg/dpkg.cfg.d/eager"
    eager.parent.mkdir(parents=True)
    eager.write_text("force-unsafe-io\n")
    mirror, keyring = archive(release)
    # In a mount namespace of its own: what it mounts ends with it.
    words = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={packages}", f"--keyring={keyring}"]
    words += [release, str(new), mirror]
    log = kept / "debootstrap.log"
    with open(log, "wb") as said:
        made = subprocess.run(words, env=proxies(), stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False)
    if made.returncode != 0:
        raise SystemExit(f"debootstrap {release} failed:\n{log.read_text(errors='replace')[-2000:]}")
    settle(new)
    new.rename(kept / "root")
    made_of.write_text(recipe)


def settle(new):
    """Takes out what is of no use in a box."""
    shutil.rmtree(new / "var/cache/apt/archives")
    shutil.rmtree(new / "var/lib/apt/lists")
    (new / "etc/resolv.conf").unlink(missing_ok=True)
    (new / "etc/fstab").write_text("")
    (new / "etc/hostname").write_text("box\n")
    (new / "etc/hosts").write_text("127.0.0.1 localhost box\n::1 localhost\n")
    # With it, the journal is kept over a reboot.
    (new / "var/log/journal").mkdir(exist_ok=True)
    for unit in MASKED:
        (new / "etc/systemd/system" / unit).symlink_to("/dev/null")


def archive(release):
    """The mirror that has this release, and the keys that its signature is checked with."""
    found = targets(release)
    if not found:  # apt knows what it may fetch only after it has fetched the lists
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
        found = targets(release)
    if not found:
        raise SystemExit("apt has no source that debootstrap could use")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    mirror, signed_by = found[0]
    return mirror, signed_by if os.path.isfile(signed_by) else keyring


def targets(release):
    """Mirror and keyring of each source with `main` of the release, or of the one that this machine runs."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(SIGNED_BY)"
    words = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    rows = [line.split(" ") for line in said.splitlines()]
    here = os_release().get("VERSION_CODENAME")
    # A mirror has all releases under one address, so the source of another one will do.
    return [
        (row[0].rstrip("/"), row[3])
        for wanted in (release, here)
        for row in rows
        if len(row) == 4 and row[1] == wanted and row[2] == "main"
    ]


def os_release():
    lines = pathlib.Path("/etc/os-release").read_text().splitlines()
    return dict(line.replace('"', "").split("=", 1) for line in lines if "=" in line)


def proxies():
    """This process's environment, with apt's proxies for those that do not know apt."""
    environment = dict(os.environ)
    for scheme in ("http", "https"):
        words = ["apt-config", "shell", "proxy", f"Acquire::{scheme}::Proxy"]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        proxy = said.removeprefix("proxy=").strip("'")
        if proxy and proxy != "DIRECT":
            environment[f"{scheme}_proxy"] = proxy
    return environment
