"""Boots a root file system with its own systemd as PID 1, in namespaces, and sees to it that all of it ends.

    unshare --mount supervisor.py DIRECTORY

DIRECTORY/root is the root file system. The number of its PID 1 is put into DIRECTORY/pid, and what is written to its
console into DIRECTORY/console.log.

It ends when the box does. When whoever started it closes its standard input, by dying for instance, it ends the box.
"""

import ctypes
import hashlib
import os
import pathlib
import pty
import select
import signal
import subprocess
import sys
import time

CLONE_NEWCGROUP = 0x02000000
LIBC = ctypes.CDLL(None, use_errno=True)
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
# What acts on the machine as a whole: its modules, clock, ports, log of the kernel, audit.
NOT_THE_BOX = "-sys_module,-sys_time,-sys_rawio,-syslog,-audit_control,-audit_read,-mac_admin"


def supervise(directory):
    """Runs the box until it ends, or until standard input does."""
    group = control_group(directory)
    # Both sides stay open here: systemd opens its console only when it writes.
    master, slave = pty.openpty()
    me = str(pathlib.Path(__file__).resolve())
    # Ends with this process even if that is killed, and the box with it.
    words = ["setpriv", "--pdeathsig", "KILL"]
    words += ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net"]
    words += [sys.executable, me, "--init", str(directory), str(group)]
    box = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave)
    try:
        follow(box, master, directory / "console.log")
    finally:
        box.kill()
        box.wait()
        remove(group)
        (directory / "pid").unlink(missing_ok=True)


def follow(box, master, console):
    """Keeps what the box writes to its console, until it ends or is to end."""
    with open(console, "ab", buffering=0) as log:
        while box.poll() is None:
            for readable in select.select([0, master], [], [], 0.1)[0]:
                read = os.read(readable, 65536)
                if readable == master:
                    log.write(read)
                elif not read:
                    return


def control_group(directory):
    """An empty control group for the box, in a view of the whole hierarchy that is this process's own."""
    hierarchy = directory / "cgroup"
    hierarchy.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "cgroup2", "-o", "nosuid,nodev,noexec", "cgroup2", hierarchy], check=True)
    name = "bearerd-box-" + hashlib.sha256(bytes(directory)).hexdigest()[:12]
    group = hierarchy / name
    if group.exists():
        remove(group)
    group.mkdir()
    return group


def remove(group):
    """Removes a control group with all below it, and ends what still runs in it: nothing else ever joined it."""
    deadline = time.monotonic() + 10
    (group / "cgroup.kill").write_text("1")
    while group.exists():
        for directory, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                if time.monotonic() > deadline:
                    raise
        time.sleep(0.02)


def init(directory, group):
    """The box's PID 1, from its first moment until it becomes systemd."""
    root = directory / "root"
    # What is mounted at /proc still shows the machine's processes, this one with the number that it has there.
    told = directory / "pid.new"
    told.write_text(os.readlink("/proc/self"))
    told.rename(directory / "pid")
    # systemd wants the root of a hierarchy: join an empty group, then see nothing above it.
    (group / "cgroup.procs").write_text("0")
    if LIBC.unshare(CLONE_NEWCGROUP) != 0:
        raise OSError(ctypes.get_errno(), "no control group namespace")
    console = os.ttyname(0)
    furnish(root, console)
    os.chdir(root)
    run("pivot_root", ".", "run")
    os.chdir("/")
    run("umount", "-l", "/run")
    run("mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=755", "tmpfs", "/run")
    # systemd leaves this to whoever makes the container; without it, it makes no directories for credentials.
    run("mount", "--make-rshared", "/")
    environment = {
        "container": "box",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TERM": "dumb",
    }
    words = ["setpriv", "--inh-caps=-all", f"--bounding-set={NOT_THE_BOX}", "/lib/systemd/systemd", "--system"]
    os.execvpe("setpriv", words, environment)


def furnish(root, console):
    """Mounts what a container has; /proc/sys and /sys cannot be written, since they are the machine's."""
    run("mount", "--bind", root, root)
    run("mount", "-t", "proc", "-o", "nosuid,nodev,noexec", "proc", root / "proc")
    run("mount", "--bind", root / "proc/sys", root / "proc/sys")
    run("mount", "--bind", root / "proc/sys/net", root / "proc/sys/net")
    run("mount", "-o", "remount,bind,ro,nosuid,nodev,noexec", root / "proc/sys")
    for dangerous in ("sysrq-trigger", "kcore"):
        if (root / "proc" / dangerous).exists():
            run("mount", "--bind", "/dev/null", root / "proc" / dangerous)
    run("mount", "-t", "sysfs", "-o", "ro,nosuid,nodev,noexec", "sysfs", root / "sys")
    run("mount", "-t", "cgroup2", "-o", "nosuid,nodev,noexec", "cgroup2", root / "sys/fs/cgroup")
    dev = root / "dev"
    run("mount", "-t", "tmpfs", "-o", "mode=755,nosuid,size=4m", "tmpfs", dev)
    for name, (major, minor) in DEVICES.items():
        os.mknod(dev / name, 0o020666, os.makedev(major, minor))
        os.chmod(dev / name, 0o666)
    for name, goal in LINKS.items():
        os.symlink(goal, dev / name)
    (dev / "pts").mkdir()
    (dev / "shm").mkdir()
    run("mount", "-t", "devpts", "-o", "newinstance,nosuid,noexec,mode=620,gid=5,ptmxmode=666", "devpts", dev / "pts")
    run("mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=1777", "tmpfs", dev / "shm")
    (dev / "console").touch()
    run("mount", "--bind", console, dev / "console")


def run(*words):
    subprocess.run([str(word) for word in words], check=True)


if __name__ == "__main__":
    if sys.argv[1] == "--init":
        init(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
    else:
        # Ctrl-C at a terminal is for whoever started it, whose end is noticed then.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        supervise(pathlib.Path(sys.argv[1]).resolve())
