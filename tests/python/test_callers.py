"""Real users, groups, processes and control groups against the built daemon, and what a hostile one can do to it.

    BEARERD_BIN=target/debug/bearerd python3 tests/python/test_callers.py

Needs root: it makes processes of other users and moves some into control groups of systemd's naming.
"""

import contextlib
import os
import pathlib
import random
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

from test_stock_clients import BIN, PATIENCE, Daemon

NOBODY, OTHER, GROUP = 65534, 61234, 61235
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, CONTINUATION = 0, 1, 3, 4, 9


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


BLOCK = b"".join(
    literal(name, value)
    for name, value in [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/bearerd.v1.TokenBroker/GetToken"),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
)


def systemd_hierarchy():
    """Where control groups that systemd would make are made: version 2, or the named hierarchy of version 1."""
    for place in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if pathlib.Path(place, "cgroup.procs").exists() and os.access(place, os.W_OK):
            return pathlib.Path(place)
    raise RuntimeError("no control group hierarchy can be written here")


@contextlib.contextmanager
def control_group(path):
    """A control group of this path, removed afterwards with what was made above it."""
    root = systemd_hierarchy()
    made = []
    for depth in range(1, len(pathlib.PurePath(path).parts)):
        step = root.joinpath(*pathlib.PurePath(path).parts[1 : depth + 1])
        if not step.exists():
            step.mkdir()
            made.append(step)
    try:
        yield root / path.lstrip("/")
    finally:
        for step in reversed(made):
            # The last process has ended, but may still be being buried.
            for _ in range(200):
                try:
                    step.rmdir()
                    break
                except OSError:
                    time.sleep(0.02)


class Callers(unittest.TestCase):
    """A daemon of root, its binary where every user can run it, and clients with all kinds of rules."""

    @classmethod
    def setUpClass(cls):
        assert os.geteuid() == 0, "these tests make processes of other users and need root"
        cls.tag = f"bearerd-test-{os.getpid()}"
        cls.bin = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-bin-"))
        cls.bin.chmod(0o755)
        cls.program = cls.bin / "bearerd"
        shutil.copy(BIN, cls.program)
        cls.program.chmod(0o755)
        cls.other_program = cls.bin / "other"
        shutil.copy(BIN, cls.other_program)
        cls.other_program.chmod(0o755)
        rules = {
            "uid": f"uid = {NOBODY}",
            "gid": f"gid = {GROUP}",
            "both": f"uid = {NOBODY}, gid = {GROUP}",
            "unit": f'unit = "{cls.tag}.service"',
            "template": f'unit = "{cls.tag}@.service"',
            "slice": f'slice = "{cls.tag}.slice"',
            "user-unit": f'uid = {NOBODY}, user_unit = "{cls.tag}.service"',
            "cgroup": f'cgroup = "/{cls.tag}.slice/*"',
            "exe": f'uid = {NOBODY}, exe = "{cls.program}"',
            "any": "any = true",
            "none": "",
        }
        config = "".join(
            f'[clients.{name}]\ntoken_url = "http://127.0.0.1:9/"\nclient_id = "demo"\nprefetch = false\nrequired = false\n'
            f'client_secret = {{ env = "UNUSED" }}\nallow = [{{ {rule} }}]\n'.replace("[{  }]", "[]")
            for name, rule in rules.items()
        )
        cls.daemon = Daemon(config=config)
        cls.daemon.base.chmod(0o755)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()
        shutil.rmtree(cls.bin)

    def may(self, client, *, uid=NOBODY, gid=NOBODY, groups=(), group=None, program=None):
        """Whether such a process is let in. Whether the issuer then gives a token is another matter."""

        def become():
            if group is not None:
                (group / "cgroup.procs").write_text(str(os.getpid()))
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)

        ended = subprocess.run(
            [program or self.program, "--socket", self.daemon.socket, "token", client],
            preexec_fn=become,
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertIn(ended.returncode, (69, 75, 77), ended.stderr)
        # No variable UNUSED is set: whoever is let in learns that the secret cannot be read.
        self.assertIn("CALLER_NOT_ALLOWED" if ended.returncode == 77 else "SECRET_UNREADABLE", ended.stderr)
        self.last = ended.stderr
        return ended.returncode != 77

    def test_users_and_groups(self):
        self.assertTrue(self.may("uid"))
        self.assertFalse(self.may("uid", uid=OTHER))
        self.assertTrue(self.may("gid", uid=OTHER, gid=GROUP))
        self.assertTrue(self.may("gid", uid=OTHER, groups=(1, GROUP, 7)), "supplementary groups count")
        self.assertFalse(self.may("gid", uid=OTHER, groups=(1, 7)))
        self.assertTrue(self.may("gid", uid=OTHER, groups=tuple(range(70_000, 70_200)) + (GROUP,)), "many of them")
        self.assertTrue(self.may("both", groups=(GROUP,)))
        self.assertFalse(self.may("both"))
        self.assertFalse(self.may("both", uid=OTHER, gid=GROUP))
        self.assertTrue(self.may("any", uid=OTHER))
        self.assertFalse(self.may("none"))
        self.assertTrue(self.may("none", uid=0, gid=0), "root may")

    def test_programs(self):
        self.assertTrue(self.may("exe"))
        self.assertFalse(self.may("exe", program=self.other_program))
        self.assertFalse(self.may("exe", uid=OTHER))

    def test_units(self):
        tag = self.tag
        with control_group(f"/system.slice/{tag}.service") as group:
            self.assertTrue(self.may("unit", group=group))
            self.assertFalse(self.may("template", group=group))
            self.assertIn(f"unit {tag}.service", self.last, "a refused caller is told where it is")
        with control_group(f"/system.slice/{tag}@7.service/below") as group:
            self.assertTrue(self.may("template", group=group))
            self.assertFalse(self.may("unit", group=group))
        with control_group(f"/{tag}.slice/{tag}-x.slice/other.service") as group:
            self.assertTrue(self.may("slice", group=group))
            self.assertTrue(self.may("cgroup", group=group))
            self.assertFalse(self.may("unit", group=group))
        self.assertFalse(self.may("slice"))
        self.assertFalse(self.may("cgroup"))

    def test_units_of_users(self):
        below = f"/user.slice/user-{NOBODY}.slice/user@{NOBODY}.service/app.slice/{self.tag}.service"
        with control_group(below) as group:
            self.assertTrue(self.may("user-unit", group=group))
            self.assertFalse(self.may("unit", group=group), "a user's unit is none of the system's")
        with control_group(f"/user.slice/user@{OTHER}.service/{self.tag}.service") as group:
            self.assertFalse(self.may("user-unit", group=group), "the manager of somebody else")

    def test_a_descriptor_keeps_the_identity_of_who_connected(self):
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(self.daemon.socket))
            socket.send_fds(theirs, [b"x"], [connection.fileno()])
            # It lives until the other side has used what it was given.
            theirs.recv(1)
            os._exit(0)
        _, (passed,), _, _ = socket.recv_fds(ours, 1, 1)
        with socket.socket(fileno=passed) as connection:
            code = code_of(trailers_of(connection))
        ours.send(b"x")
        ours.close()
        theirs.close()
        os.waitpid(child, 0)
        self.assertEqual(code, 7, "PERMISSION_DENIED to root, who holds what another user connected")


def trailers_of(connection):
    """Asks for the token of `uid` and returns the header block that ends the answer."""
    message = b"\x0a\x03uid"
    ask = frame(DATA, 1, 1, b"\0" + struct.pack(">I", len(message)) + message)
    connection.settimeout(PATIENCE)
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 4, 1, BLOCK) + ask)
    seen = b""
    while True:
        seen += connection.recv(65536)
        for kind, flags, payload in frames(seen):
            if kind == HEADERS and flags & 1:
                return payload


def code_of(trailers):
    """The `grpc-status` in a header block: a literal whose value is Huffman coded, a digit filled up with ones."""
    digits = {0x07: 0, 0x0F: 1, 0x17: 2, 0x67: 3, 0x6B: 4, 0x6F: 5, 0x73: 6, 0x77: 7, 0x7B: 8, 0x7F: 9}
    name = bytes.fromhex("9acac8b21234da8f")
    at = trailers.index(bytes([0x80 | len(name)]) + name) + 1 + len(name)
    assert trailers[at] == 0x81, trailers[at:]
    return digits[trailers[at + 1]]


def frames(data):
    at = 0
    while at + 9 <= len(data):
        length = int.from_bytes(data[at : at + 3], "big")
        if at + 9 + length > len(data):
            return
        yield data[at + 3], data[at + 4], data[at + 9 : at + 9 + length]
        at += 9 + length


class Hostile(unittest.TestCase):
    """What one process can throw at the daemon; others are served meanwhile, and nothing of it stays."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(
            config='[clients.demo]\ntoken_url = "http://127.0.0.1:9/"\nclient_id = "x"\nclient_secret = { env = "U" }\n'
            'prefetch = false\nallow = [{ unit = "no-such.service" }, { any = true }]\n'
        )
        cls.daemon.base.chmod(0o755)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def setUp(self):
        self.assert_serves()
        self.before = self.used()

    def tearDown(self):
        self.assert_serves()
        # What was closed a moment ago is given back when the daemon has seen it.
        for _ in range(100):
            descriptors, memory = self.used()
            if descriptors <= self.before[0] and memory <= self.before[1] + 24 * 1024:
                return
            time.sleep(0.05)
        self.fail(f"descriptors and KiB before {self.before}, afterwards {(descriptors, memory)}")

    def used(self):
        pid = self.daemon.process.pid
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return len(os.listdir(f"/proc/{pid}/fd")), int(resident.split()[1])

    def assert_serves(self):
        ended = self.daemon.run("status", "--json")
        self.assertEqual(ended.returncode, 0, ended.stderr)

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        connection.connect(str(self.daemon.socket))
        return connection

    def send_until_closed(self, pieces):
        """How many bytes were sent until the daemon had enough."""
        sent = 0
        with self.connect() as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    sent += len(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
        return sent

    def test_a_hundred_thousand_rapid_resets(self):
        resets = 0
        while resets < 100_000:
            pairs = (
                frame(HEADERS, 4, 2 * number + 1, BLOCK) + frame(RST_STREAM, 0, 2 * number + 1, b"\0\0\0\x08")
                for number in range(5_000)
            )
            with self.connect() as connection:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + b"".join(pairs))
            resets += 5_000

    def test_64_mebibytes_of_headers(self):
        block = literal(b"x", b"y" * 200) * 70
        endless = (frame(CONTINUATION, 0, 1, block) for _ in range(64 * 1024 * 1024 // len(block)))
        sent = self.send_until_closed([PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 0, 1, BLOCK), *endless])
        self.assertLess(sent, 8 * 1024 * 1024, "it did not listen to all of that")

    def test_random_bytes(self):
        seed = random.randrange(2**32)
        print(f"seed of the random bytes: {seed}")
        noise = random.Random(seed)
        for _ in range(100):
            self.send_until_closed([noise.randbytes(noise.randrange(1, 20_000))])
            self.send_until_closed([PREFACE, noise.randbytes(noise.randrange(1, 20_000))])
            kind, length = noise.randrange(12), noise.randrange(200)
            broken = frame(kind, noise.randrange(256), noise.randrange(4), noise.randbytes(length))
            self.send_until_closed([PREFACE, frame(SETTINGS, 0, 0), broken])

    def test_half_open_and_silent_connections(self):
        held = [self.connect() for _ in range(150)]
        for number, connection in enumerate(held):
            connection.sendall((PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 4, 1, BLOCK))[: number % 90])
        self.assert_serves()
        for connection in held:
            connection.close()

    def test_a_reader_that_takes_nothing(self):
        with self.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.settimeout(0.5)
            with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
                connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
                for number in range(20_000):
                    stream = 2 * number + 1
                    connection.sendall(frame(HEADERS, 4, stream, BLOCK) + frame(DATA, 1, stream, b"\0\0\0\0\0"))
            self.assert_serves()

    def test_five_thousand_connections_of_one_user(self):
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_NOFILE, (6_000, 6_000))
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            held = []
            for _ in range(5_000):
                connection = socket.socket(socket.AF_UNIX)
                with contextlib.suppress(OSError):
                    connection.setblocking(False)
                    connection.connect(str(self.daemon.socket))
                    connection.send(PREFACE)
                held.append(connection)
            time.sleep(1)
            os._exit(0)
        served = 0
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            self.assert_serves()
            served += 1
        self.assertGreater(served, 2, "root was served while it went on")

    def test_ten_thousand_callers_that_connect_and_die(self):
        path = str(self.daemon.socket)
        for _ in range(100):
            children = []
            for _ in range(100):
                child = os.fork()
                if child == 0:
                    with contextlib.suppress(OSError):
                        connection = socket.socket(socket.AF_UNIX)
                        connection.connect(path)
                        connection.send(PREFACE)
                    os._exit(0)
                children.append(child)
            for child in children:
                os.waitpid(child, 0)


if __name__ == "__main__":
    unittest.main()
