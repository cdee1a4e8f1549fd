import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import bearerd

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def socket():
    """The socket of a daemon that serves as long as the tests run."""
    # Not tmp_path: a socket's path has to be short.
    with tempfile.TemporaryDirectory(prefix="bearerd-") as directory:
        path = os.path.join(directory, "b.sock")
        words = [sys.executable, str(HERE / "fake_daemon.py"), path]
        daemon = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert daemon.stdout.readline() == "serving\n"
            yield path
        finally:
            daemon.kill()
            daemon.wait()
            daemon.stdout.close()


@pytest.fixture
def broker(socket):
    with bearerd.Broker(socket) as broker:
        yield broker


@pytest.fixture
def run_program(socket):
    """Runs a program in a Python of its own, with the daemon where it looks for it, and returns what it printed."""

    def run(text, **environment):
        settings = {**os.environ, "BEARERD_SOCKET": socket, **environment}
        words = [sys.executable, "-W", "error", "-c", text]
        done = subprocess.run(words, env=settings, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[:-1]

    return run
