"""Forks, each many times: what goes wrong here goes wrong sometimes."""

import http.client
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

import bearerd

FORKS = 30
PATIENCE = 20


def sockets():
    """The sockets among the open files of this process."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            pass  # The directory itself, which was read.
    return {name for name in names if name.startswith("socket:")}


def use(client):
    """Reads from memory, then over a connection: no token in memory is valid for so long."""
    token = client.token()
    assert client.token(min_validity=4000).id == token.id
    return token.id


def in_child(work):
    """The exit code of a child that does the work; fails if it hangs."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


@pytest.fixture
def client(broker):
    client = broker.client("demo")
    client.token()
    return client


def test_child_and_parent_go_on(client):
    for _ in range(FORKS):
        assert in_child(lambda: use(client)) == 0
        use(client)


def test_parent_that_does_nothing_in_between_can_fork_again(client):
    for _ in range(FORKS):
        assert in_child(lambda: use(client)) == 0


def test_grandchild(client):
    def work():
        use(client)
        assert in_child(lambda: use(client)) == 0
        use(client)

    assert in_child(work) == 0


def test_child_has_no_connection_of_its_parent(socket):
    others = sockets()
    with bearerd.Broker(socket) as broker:
        client = broker.client("demo")
        client.token()
        own = sockets() - others
        assert own

        def work():
            assert not sockets() & own
            use(client)
            assert not sockets() & own

        assert in_child(work) == 0


def test_fork_while_threads_read(client):
    stop = threading.Event()
    failures = []

    def reader(min_validity):
        while not stop.wait(0.0005):
            try:
                client.token(min_validity=min_validity)
            except bearerd.BearerdError as error:
                failures.append(error)

    # More validity than a token has left: each such read is a call.
    threads = [threading.Thread(target=reader, args=(wanted,)) for wanted in (None, None, 3590, 4000)]
    for thread in threads:
        thread.start()
    codes = [in_child(lambda: use(client)) for _ in range(FORKS)]
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not [thread for thread in threads if thread.is_alive()]
    assert (set(codes), failures) == ({0}, [])


def test_fork_of_a_closed_broker(socket):
    broker = bearerd.Broker(socket)
    client = broker.client("demo")
    client.token()
    broker.close()

    def work():
        with pytest.raises(bearerd.BearerdError) as caught:
            client.token()
        assert caught.value.reason == "CLOSED"

    assert in_child(work) == 0


def test_fork_without_a_daemon(tmp_path):
    with bearerd.Broker(str(tmp_path / "none.sock")) as broker:
        client = broker.client("demo")

        def work():
            with pytest.raises(bearerd.BearerdError) as caught:
                client.token()
            assert caught.value.reason == "DAEMON_UNREACHABLE"

        for _ in range(5):
            work()
            assert in_child(work) == 0


def _read_inherited(_):
    return use(_read_inherited.client)


def test_multiprocessing(client):
    _read_inherited.client = client
    fork = multiprocessing.get_context("fork")
    for _ in range(5):
        with fork.Pool(4) as pool:
            ids = pool.map_async(_read_inherited, range(20)).get(PATIENCE)
        assert set(ids) == {client.token().id}


def test_subprocesses_do_not_disturb_the_stream(client):
    watch = client._core._watch
    for _ in range(20):
        subprocess.run(["true"], check=True)
    assert client._core._watch is watch
    assert client.token()


APPLICATION = """
import json, os
import bearerd
client = bearerd.Broker().client("demo")
master = client.token()
parent = os.getpid()

def application(environ, start_response):
    token = client.token()
    same = client.token(min_validity=4000).id == token.id
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"forked": os.getpid() != parent, "same": same, "pid": os.getpid()}).encode()]
"""


def test_gunicorn_with_preload(socket, tmp_path):
    """Tokens are read in the master when the application is loaded, then by workers, some of which take the place of
    others: the master forks again and again."""
    (tmp_path / "application.py").write_text(APPLICATION)
    words = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "4", "--max-requests", "2"]
    words += ["--bind", "127.0.0.1:0", "application"]
    environment = {**os.environ, "BEARERD_SOCKET": socket}
    server = subprocess.Popen(
        words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        port = None
        log = []
        while port is None:
            line = server.stderr.readline()
            assert line, "".join(log)
            log.append(line)
            if found := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line):
                port = int(found[1])
        reader = threading.Thread(target=lambda: log.extend(server.stderr))
        reader.start()
        workers = set()
        for _ in range(40):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request("GET", "/")
            answer = json.load(connection.getresponse())
            connection.close()
            assert (answer["forked"], answer["same"]) == (True, True)
            workers.add(answer["pid"])
        assert len(workers) > 4, "no worker was replaced"
    finally:
        server.terminate()
        assert server.wait(PATIENCE) == 0
    reader.join()
    server.stderr.close()
    assert not [line for line in log if "Traceback" in line or "WORKER TIMEOUT" in line]
