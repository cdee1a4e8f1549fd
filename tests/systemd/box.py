"""A box: a copy of a release's root in which that release's systemd runs as PID 1. It has its own processes, mounts,
users' sessions, control groups and a network with nothing but a loopback, and sees none of the machine's."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import roots

HERE = pathlib.Path(__file__).resolve().parent
# Long enough that only something broken reaches it.
PATIENCE = 60
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
    "TERM": "dumb",
}
# Enters the namespaces of PID 1, then its control group, whose namespace comes last so that the move is allowed.
JOIN = 'echo 0 >/sys/fs/cgroup/init.scope/cgroup.procs && exec nsenter -t 1 --cgroup -- "$@"'


class Box:
    """`with Box("bookworm") as box`: made, not yet booted; gone afterwards with all that it ran."""

    def __init__(self, release):
        self.release = release
        self.directory = roots.TARGET / release / "box"
        self.root = self.directory / "root"
        self.supervisor = None
        roots.TARGET.mkdir(parents=True, exist_ok=True)
        self.lock = open(roots.TARGET / f"{release}.lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AssertionError(f"another suite has the box of {release}") from None
        roots.create(release)
        # What one that was killed left.
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        subprocess.run(["cp", "-a", "--reflink=auto", roots.root(release), self.root], check=True)
        (self.root / "etc/machine-id").write_text(hashlib.md5(os.urandom(16)).hexdigest() + "\n")

    def boot(self):
        """Starts it, and waits until it runs; the seconds that it took."""
        began = time.monotonic()
        # So that what the supervisor mounts is nowhere else, and ends with it.
        words = ["unshare", "--mount", sys.executable, HERE / "supervisor.py", self.directory]
        with open(self.directory / "supervisor.log", "ab") as log:
            self.supervisor = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        self.wait(self.is_up, "to boot")
        return time.monotonic() - began

    def is_up(self):
        if self.supervisor.poll() is not None:
            raise AssertionError(f"the box ended while it booted: {self.console()}")
        try:
            pid = self.pid()
            comm = pathlib.Path(f"/proc/{pid}/comm").read_text()
        except FileNotFoundError:
            return False
        if comm != "systemd\n":
            return False
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def pid(self):
        """Its PID 1, as the machine counts."""
        return int((self.directory / "pid").read_text())

    def console(self):
        """The end of what the box and its supervisor said."""
        return "".join(
            (self.directory / name).read_text(errors="replace")[-2000:]
            for name in ("supervisor.log", "console.log")
            if (self.directory / name).exists()
        )

    def run(self, *words, check=True, text=True, timeout=PATIENCE, **settings):
        """Runs a command as root, in no unit but the box's init.scope."""
        variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        enter = ["nsenter", "-t", str(self.pid()), "--mount", "--uts", "--ipc", "--net", "--pid", "--"]
        enter += ["setpriv", "--pdeathsig", "KILL", "sh", "-c", JOIN, "sh", "env", "-i", *variables]
        if "input" not in settings:
            settings.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(
            [*enter, *map(str, words)], capture_output=True, text=text, timeout=timeout, check=False, **settings
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, words))}: {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def path(self, inside):
        """Where a file of the box is for the machine; not for what the box itself has mounted, /run, /proc and /tmp."""
        return self.root / str(inside).lstrip("/")

    def read(self, inside):
        return self.path(inside).read_text()

    def write(self, inside, text, mode=0o644):
        """A file of root's in the box, replaced at once."""
        goal = self.path(inside)
        goal.parent.mkdir(parents=True, exist_ok=True)
        new = goal.with_name(f".{goal.name}.new")
        new.write_text(text)
        new.chmod(mode)
        new.rename(goal)

    def copy(self, source, inside, mode=0o755):
        goal = self.path(inside)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, goal)
        goal.chmod(mode)

    def wait(self, condition, what, timeout=PATIENCE):
        """Polls until the condition holds; what it returned."""
        deadline = time.monotonic() + timeout
        while not (held := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for the box {what}")
            time.sleep(0.05)
        return held

    def reboot(self):
        """An orderly power-off, and another start; the seconds that the latter took."""
        os.kill(self.pid(), signal.SIGRTMIN + 4)
        self.supervisor.wait(PATIENCE)
        self.supervisor.stdin.close()
        return self.boot()

    def close(self):
        if self.supervisor is not None:
            self.supervisor.stdin.close()
            self.supervisor.wait(PATIENCE)
        shutil.rmtree(self.directory)
        self.lock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
