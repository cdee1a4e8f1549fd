"""Stock gRPC clients of C-core against the built daemon: no channel options, every way to write the address.

    pip install -r tests/python/requirements.txt
    BEARERD_BIN=target/debug/bearerd python3 tests/python/test_stock_clients.py

C-core sends the percent-encoded path of the socket as `:authority`, which the HTTP/2 library of the daemon would
refuse; what Python gets here, C++, Ruby and PHP get as well.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import importlib.resources
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse
import urllib.request

import grpc
import grpc.aio
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("BEARERD_BIN", ROOT / "target/debug/bearerd")).resolve()
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
READINESS = "bearerd.v1.TokenBroker"
# Long enough that only something broken reaches it.
PATIENCE = 20


def generate_stubs():
    """Generates the stubs the way any project does, and imports them."""
    directory = tempfile.mkdtemp(prefix="bearerd-stubs-")
    files = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    with importlib.resources.as_file(importlib.resources.files("grpc_tools") / "_proto") as well_known:
        words = ["protoc", f"-I{ROOT / 'proto'}", f"-I{well_known}"]
        words += [f"--python_out={directory}", f"--grpc_python_out={directory}", *files]
        if protoc.main(words) != 0:
            raise RuntimeError("protoc failed")
    sys.path.append(directory)
    return directory


STUBS = generate_stubs()
from bearerd.v1 import admin_pb2, admin_pb2_grpc, token_broker_pb2, token_broker_pb2_grpc  # noqa: E402


def tearDownModule():
    shutil.rmtree(STUBS)


def drain(log):
    with log:
        collections.deque(log, maxlen=0)


class Daemon:
    """A daemon in a directory of its own; `socket` is where it listens."""

    def __init__(self, *words, config=None, folder="d", name="b.sock"):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-"))
        self.directory = self.base / folder
        self.directory.mkdir(mode=0o755)
        self.socket = self.directory / name
        if config is not None:
            (self.directory / "bearerd.toml").write_text(config.replace("@DIR@", str(self.directory)))
            words = ("run", "--config", str(self.directory / "bearerd.toml"), *words)
        else:
            words = ("dev", *words)
        self.words = words
        self.start()

    def start(self):
        """Starts it and returns when it serves."""
        words = [BIN, *self.words, "--socket", self.socket]
        environment = {"PATH": "/usr/bin:/bin"}
        self.process = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        log = self.process.stderr
        seen = []
        while " serving " not in (line := log.readline()):
            seen.append(line)
            if not line:
                raise RuntimeError(f"the daemon did not start: {''.join(seen)}")
        # `dev` has written its greeting by now, which fits into a pipe; `run` writes nothing.
        greeting = []
        while self.words[0] == "dev" and "Ctrl-C ends it." not in greeting:
            greeting.append(self.process.stdout.readline().rstrip("\n"))
        self.greeting = "\n".join(greeting)
        self.process.stdout.close()
        # Nobody needs the rest of the log, but its pipe must not fill up.
        self.drain = threading.Thread(target=drain, args=(log,))
        self.drain.start()

    def run(self, *words):
        """Runs the command line against it."""
        environment = {"PATH": "/usr/bin:/bin", "BEARERD_SOCKET": str(self.socket)}
        return subprocess.run([BIN, *words], env=environment, capture_output=True, text=True, check=False)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.drain.join()
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.drain.join()
        shutil.rmtree(self.base)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def broker(channel):
    return token_broker_pb2_grpc.TokenBrokerStub(channel)


def admin(channel):
    return admin_pb2_grpc.AdminStub(channel)


def health(channel):
    return health_pb2_grpc.HealthStub(channel)


def ask(client="demo", **fields):
    return token_broker_pb2.GetTokenRequest(client=client, **fields)


def details_of(error):
    """The details of a status by their type."""
    status = rpc_status.from_call(error)
    found = {}
    for detail in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo):
            if detail.Is(kind.DESCRIPTOR):
                message = kind()
                detail.Unpack(message)
                found[kind.__name__] = message
    return found


class WithDemo(unittest.TestCase):
    """Tests that share one `bearerd dev` with tokens that last longer than they take."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--lifetime", "10m")
        cls.addClassCleanup(cls.daemon.close)
        with grpc.insecure_channel(f"unix://{cls.daemon.socket}") as channel:
            broker(channel).GetToken(ask(), timeout=PATIENCE)

    def setUp(self):
        self.channel = self.enterContext(grpc.insecure_channel(f"unix://{self.daemon.socket}"))

    def fails(self, code, reason, request):
        """Expects a refusal with its details; returns it."""
        with self.assertRaises(grpc.RpcError) as caught:
            broker(self.channel).GetToken(request, timeout=PATIENCE)
        error = caught.exception
        details = details_of(error)
        info = details["ErrorInfo"]
        self.assertEqual((error.code(), info.reason, info.domain), (code, reason, "bearerd"))
        return error, details


class Tokens(WithDemo):
    def test_a_token_is_complete(self):
        answer = broker(self.channel).GetToken(ask(), timeout=PATIENCE)
        token = answer.token
        self.assertEqual(answer.rejection, token_broker_pb2.REJECTION_UNSPECIFIED)
        self.assertEqual((token.client, token.token_type, token.scope), ("demo", "Bearer", "demo"))
        self.assertEqual(token.access_token.count("."), 2)
        self.assertEqual(token.authorization, f"Bearer {token.access_token}")
        self.assertRegex(token.id, r"\A[0-9a-f]{16}-[0-9]+\Z")
        life = token.expires_at.ToNanoseconds() - token.issued_at.ToNanoseconds()
        self.assertLessEqual(life, 600 * 10**9)
        self.assertGreater(life, 590 * 10**9)
        self.assertEqual(list(token.headers), [])

    def test_the_command_line_prints_the_same_token(self):
        token = broker(self.channel).GetToken(ask(), timeout=PATIENCE).token
        line = self.daemon.run("token", "demo")
        self.assertEqual((line.returncode, line.stderr, line.stdout), (0, "", f"{token.access_token}\n"))

    def test_the_example_prints_the_same_token(self):
        token = broker(self.channel).GetToken(ask(), timeout=PATIENCE).token
        environment = os.environ | {"BEARERD_SOCKET": str(self.daemon.socket)}
        words = [sys.executable, "examples/get_token.py"]
        run = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
        self.assertEqual((run.returncode, run.stderr, run.stdout), (0, "", f"{token.authorization}\n"))
        text = (ROOT / "examples/get_token.py").read_text()
        code = [line for line in text.splitlines() if line and not line.startswith(("#", '"""'))]
        self.assertLessEqual(len(code), 10, "the README calls it short")

    def test_git_takes_the_token_as_a_password(self):
        token = broker(self.channel).GetToken(ask(), timeout=PATIENCE).token
        run = subprocess.run(
            ["git", "-c", f"credential.helper=!{BIN} credential git demo", "credential", "fill"],
            input="protocol=https\nhost=git.example\n\n",
            env={"PATH": "/usr/bin:/bin", "BEARERD_SOCKET": str(self.daemon.socket), "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        told = dict(line.split("=", 1) for line in run.stdout.splitlines())
        self.assertEqual((run.returncode, told.get("username"), told.get("password")), (0, "oauth2", token.access_token))

    def test_the_token_opens_the_protected_resource(self):
        url = next(line for line in self.daemon.greeting.split() if line.startswith("PARTNER_URL="))[12:] + "/api/hello"
        token = broker(self.channel).GetToken(ask(), timeout=PATIENCE).token
        request = urllib.request.Request(url, headers={"Authorization": token.authorization})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as response:
            self.assertEqual(response.status, 200)
            self.assertIn(b"demo", response.read())

    def test_a_young_token_is_kept(self):
        with Daemon("--lifetime", "10m") as daemon, grpc.insecure_channel(f"unix://{daemon.socket}") as channel:
            token = broker(channel).GetToken(ask(), timeout=PATIENCE).token
            answer = broker(channel).GetToken(ask(rejected_token_id=token.id), timeout=PATIENCE)
            self.assertEqual((answer.rejection, answer.token), (token_broker_pb2.REJECTION_TOO_YOUNG, token))

    def test_an_unknown_client_is_told_the_nearest_name(self):
        error, details = self.fails(grpc.StatusCode.NOT_FOUND, "CLIENT_UNKNOWN", ask("demi"))
        self.assertEqual(error.details(), "no client `demi` is configured; did you mean `demo`?")
        self.assertNotIn("RetryInfo", details)

    def test_more_validity_than_there_is_is_out_of_range(self):
        wish = duration_pb2.Duration(seconds=3_600)
        error, details = self.fails(grpc.StatusCode.OUT_OF_RANGE, "VALIDITY_UNATTAINABLE", ask(min_validity=wish))
        self.assertEqual(
            error.details(), "no token for `demo` is ever valid for 1h: its issuer's tokens live 10m; ask for less"
        )
        self.assertNotIn("RetryInfo", details)

    def test_malformed_requests_say_which_field(self):
        negative = ask(min_validity=duration_pb2.Duration(seconds=-1))
        for request, text in [
            (ask(""), "`client` is empty; name the client, as in `[clients.NAME]`"),
            (negative, "`min_validity` is negative or no duration; leave it out or set it to 0s or more"),
            (ask(rejected_token_id="x"), "`rejected_token_id`: not a token id; pass the `id` of a token as it came"),
        ]:
            error, _ = self.fails(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID", request)
            self.assertEqual(error.details(), text)

    def test_a_name_beyond_ascii_comes_back_as_it_was(self):
        # Details travel percent-encoded in a header (gRPC over HTTP/2, Status-Message).
        error, _ = self.fails(grpc.StatusCode.NOT_FOUND, "CLIENT_UNKNOWN", ask("d\u00e4m\u00f6 %41 \U0001f511"))
        self.assertIn("no client `d\u00e4m\u00f6 %41 \U0001f511` is configured", error.details())

    def test_the_list_and_the_facts(self):
        token = broker(self.channel).GetToken(ask(), timeout=PATIENCE).token
        status, _partner = broker(self.channel).ListClients(token_broker_pb2.ListClientsRequest(), timeout=PATIENCE).clients
        self.assertEqual((status.name, status.state, status.token_id, status.required),
                         ("demo", token_broker_pb2.CLIENT_STATE_FRESH, token.id, True))
        self.assertFalse(status.HasField("last_failure"))
        info = admin(self.channel).GetInfo(admin_pb2.GetInfoRequest(), timeout=PATIENCE)
        self.assertEqual((info.pid, info.clients), (self.daemon.process.pid, 2))
        self.assertIn(info.clients_usable, (1, 2), "the other client's turn may not have come")
        self.assertGreaterEqual(info.connections, 1)

    def test_metadata_and_deadlines_do_no_harm(self):
        metadata = (("x-id", "1"), ("authorization", "Bearer x"), ("trace-bin", b"\x00\xff"), ("many", "x" * 4_000))
        call = broker(self.channel).GetToken
        for options in [{"metadata": metadata}, {"timeout": None}, {"timeout": 3_600}, {"timeout": 10**8}]:
            self.assertEqual(call(ask(), **options).token.client, "demo")
        answer, finished = call.with_call(ask(), timeout=PATIENCE)
        self.assertEqual((answer.token.client, finished.code()), ("demo", grpc.StatusCode.OK))

    def test_too_much_metadata_is_refused_and_the_channel_goes_on(self):
        with self.assertRaises(grpc.RpcError) as caught:
            broker(self.channel).GetToken(ask(), metadata=(("big", "x" * 40_000),), timeout=PATIENCE)
        self.assertNotIn(caught.exception.code(), (grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED))
        self.assertEqual(broker(self.channel).GetToken(ask(), timeout=PATIENCE).token.client, "demo")

    def test_a_request_that_is_too_large_is_refused_and_the_channel_goes_on(self):
        with self.assertRaises(grpc.RpcError) as caught:
            broker(self.channel).GetToken(ask("x" * 100_000), timeout=PATIENCE)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(details_of(caught.exception)["ErrorInfo"].reason, "REQUEST_INVALID")
        self.assertEqual(broker(self.channel).GetToken(ask(), timeout=PATIENCE).token.client, "demo")

    def test_what_is_not_served_is_unimplemented(self):
        for method in ("/bearerd.v1.TokenBroker/Nothing", "/bearerd.v9.TokenBroker/GetToken", "/a/b"):
            with self.assertRaises(grpc.RpcError) as caught:
                self.channel.unary_unary(method)(b"", timeout=PATIENCE)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED, method)

    def test_a_cancelled_call_leaves_the_channel_in_order(self):
        stream = broker(self.channel).WatchToken(token_broker_pb2.WatchTokenRequest(client="demo"))
        self.assertEqual(next(stream).token.client, "demo")
        stream.cancel()
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.CANCELLED)
        self.assertEqual(broker(self.channel).GetToken(ask(), timeout=PATIENCE).token.client, "demo")

    def test_a_stream_lasts_as_long_as_its_deadline(self):
        request = token_broker_pb2.WatchTokenRequest(client="demo")
        stream = broker(self.channel).WatchToken(request, timeout=0.5)
        with self.assertRaises(grpc.RpcError) as caught:
            for state in stream:
                self.assertEqual(state.token.client, "demo")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


class Many(WithDemo):
    def requests_today(self):
        status, _partner = broker(self.channel).ListClients(token_broker_pb2.ListClientsRequest(), timeout=PATIENCE).clients
        return status.requests_today

    def test_two_hundred_calls_at_once_are_one_token(self):
        call = broker(self.channel).GetToken
        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            answers = list(pool.map(lambda _: call(ask(), timeout=PATIENCE), range(200)))
        self.assertEqual(len({answer.token.id for answer in answers}), 1)
        self.assertEqual(self.requests_today(), 1)

    def test_two_hundred_futures_on_one_connection(self):
        futures = [broker(self.channel).GetToken.future(ask(), timeout=PATIENCE) for _ in range(200)]
        self.assertEqual(len({future.result().token.id for future in futures}), 1)

    def test_fifty_channels_one_after_the_other(self):
        for _ in range(50):
            with grpc.insecure_channel(f"unix://{self.daemon.socket}") as channel:
                self.assertEqual(broker(channel).GetToken(ask(), timeout=PATIENCE).token.client, "demo")

    def test_fifty_streams_on_one_connection(self):
        request = token_broker_pb2.WatchTokenRequest(client="demo")
        streams = [broker(self.channel).WatchToken(request) for _ in range(50)]
        self.assertEqual({next(stream).token.client for stream in streams}, {"demo"})
        for stream in streams:
            stream.cancel()

    def test_fifty_processes_worth_of_connections(self):
        # Channels with equal addresses share a connection; a harmless argument that differs keeps them apart.
        with contextlib.ExitStack() as stack:
            channels = [
                stack.enter_context(grpc.insecure_channel(f"unix://{self.daemon.socket}", [("test.nth", nth)]))
                for nth in range(50)
            ]
            futures = [broker(channel).GetToken.future(ask(), timeout=PATIENCE) for channel in channels]
            self.assertEqual(len({future.result().token.id for future in futures}), 1)
            info = admin(channels[0]).GetInfo(admin_pb2.GetInfoRequest(), timeout=PATIENCE)
            self.assertGreaterEqual(info.connections, 50)


class Addresses(unittest.TestCase):
    def works(self, target):
        with grpc.insecure_channel(target) as channel:
            self.assertEqual(broker(channel).GetToken(ask(), timeout=PATIENCE).token.client, "demo", target)

    def test_every_way_to_write_the_address(self):
        with Daemon() as daemon:
            for target in (f"unix://{daemon.socket}", f"unix:{daemon.socket}"):
                self.assertRegex(target, r"\Aunix:(//)?/")
                self.works(target)
            with contextlib.chdir(daemon.directory):
                for target in ("unix:b.sock", "unix:./b.sock", "unix:../d/b.sock"):
                    self.works(target)

    def test_paths_that_need_escapes(self):
        for folder, name in [
            ("with space", "b.sock"),
            ("plus+and&more;", "c=d@e!(f)$g*h'i.sock"),
            ('q"<b>|{c}^`\\', "a%b"),
            ("d\u00e4mon-\U0001f511", "s\u00f6ck"),
            ("~-._", "a:1"),
            ("[::1]", "x"),
        ]:
            with self.subTest(folder=folder), Daemon(folder=folder, name=name) as daemon:
                self.works(f"unix:{daemon.socket}")
                self.works(f"unix://{daemon.socket}")
                with contextlib.chdir(daemon.directory):
                    self.works(f"unix:{name}")

    def test_paths_that_the_client_takes_for_something_else_unless_they_are_encoded(self):
        # To C-core a question mark begins a query and %41 is an A. (A comma separates addresses even when encoded.)
        with Daemon(folder="b#c?d", name="e%41") as daemon:
            self.works(f"unix://{urllib.parse.quote(str(daemon.socket))}")

    def test_the_longest_path_there_is(self):
        name = "x" * (107 - len(str(pathlib.Path(tempfile.gettempdir()) / "bearerd-12345678/d/")) - 1)
        with Daemon(name=name) as daemon:
            self.assertGreater(len(os.fsencode(daemon.socket)), 100)
            self.works(f"unix://{daemon.socket}")


class Rotation(unittest.TestCase):
    """The first waits for the five seconds between two successful requests, the second for most of a token's life."""

    def test_a_watcher_sees_an_ordered_rotation(self):
        with Daemon("--lifetime", "10m") as daemon, grpc.insecure_channel(f"unix://{daemon.socket}") as channel:
            first = broker(channel).GetToken(ask(), timeout=PATIENCE).token
            stream = broker(channel).WatchToken(token_broker_pb2.WatchTokenRequest(client="demo"), timeout=PATIENCE)
            self.assertEqual(next(stream).token, first)
            answer = admin(channel).RefreshClient(admin_pb2.RefreshClientRequest(client="demo"), timeout=PATIENCE)
            self.assertTrue(answer.renewed)
            second = next(stream).token
            self.assertEqual(second.id, answer.status.token_id)
            self.assertNotEqual((second.id, second.access_token), (first.id, first.access_token))
            self.assertEqual(broker(channel).GetToken(ask(), timeout=PATIENCE).token, second)
            stream.cancel()
            # A report of the old one meets the new one.
            old = broker(channel).GetToken(ask(rejected_token_id=first.id), timeout=PATIENCE)
            self.assertEqual((old.rejection, old.token), (token_broker_pb2.REJECTION_ALREADY_REPLACED, second))

    def test_a_watcher_of_the_aio_kind_sees_a_scheduled_rotation(self):
        async def watch(target):
            async with grpc.aio.insecure_channel(target) as channel:
                stream = broker(channel).WatchToken(token_broker_pb2.WatchTokenRequest(client="demo"))
                seen = []
                async for state in stream:
                    if state.HasField("token"):
                        seen.append(state.token)
                    if len(seen) == 2:
                        stream.cancel()
                        return seen
                return seen

        with Daemon("--lifetime", "10s") as daemon:
            first, second = asyncio.run(asyncio.wait_for(watch(f"unix://{daemon.socket}"), PATIENCE))
            self.assertNotEqual(first.id, second.id)
            # Renewed before it has ended, between 70 % and 80 % of its life.
            self.assertLess(second.issued_at.ToNanoseconds(), first.expires_at.ToNanoseconds())


class Asynchronous(WithDemo):
    def test_calls_and_streams(self):
        async def work(target):
            async with grpc.aio.insecure_channel(target) as channel:
                calls = [broker(channel).GetToken(ask(), timeout=PATIENCE) for _ in range(100)]
                ids = {answer.token.id for answer in await asyncio.gather(*calls)}
                stream = broker(channel).WatchToken(token_broker_pb2.WatchTokenRequest(client="demo"))
                state = await stream.read()
                stream.cancel()
                try:
                    await broker(channel).GetToken(ask("nobody"), timeout=PATIENCE)
                except grpc.aio.AioRpcError as error:
                    return ids, state.token.id, error.code()

        ids, watched, code = asyncio.run(work(f"unix://{self.daemon.socket}"))
        self.assertEqual((ids, code), ({watched}, grpc.StatusCode.NOT_FOUND))

    def test_a_task_that_is_cancelled_leaves_the_channel_in_order(self):
        async def work(target):
            async with grpc.aio.insecure_channel(target) as channel:
                stream = broker(channel).WatchToken(token_broker_pb2.WatchTokenRequest(client="demo"))
                await stream.read()
                waiting = asyncio.ensure_future(stream.read())
                await asyncio.sleep(0)
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting
                return await broker(channel).GetToken(ask(), timeout=PATIENCE)

        self.assertEqual(asyncio.run(work(f"unix://{self.daemon.socket}")).token.client, "demo")


class Health(WithDemo):
    def test_every_service_serves(self):
        for service in ("", READINESS, "clients/demo"):
            request = health_pb2.HealthCheckRequest(service=service)
            self.assertEqual(health(self.channel).Check(request, timeout=PATIENCE).status, SERVING, service)
            stream = health(self.channel).Watch(request, timeout=PATIENCE)
            self.assertEqual(next(stream).status, SERVING, service)
            stream.cancel()

    def test_an_unknown_service(self):
        request = health_pb2.HealthCheckRequest(service="clients/nobody")
        with self.assertRaises(grpc.RpcError) as caught:
            health(self.channel).Check(request, timeout=PATIENCE)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        stream = health(self.channel).Watch(request, timeout=PATIENCE)
        self.assertEqual(next(stream).status, SERVICE_UNKNOWN)
        stream.cancel()

    def test_a_client_becomes_healthy(self):
        with Daemon("--lifetime", "10m") as daemon, grpc.insecure_channel(f"unix://{daemon.socket}") as channel:
            stream = health(channel).Watch(health_pb2.HealthCheckRequest(service="clients/demo"), timeout=PATIENCE)
            seen = [next(stream).status]
            while seen[-1] != SERVING:
                seen.append(next(stream).status)
            # Not serving first, unless the first token was quicker than this test.
            self.assertIn(seen, ([NOT_SERVING, SERVING], [SERVING]))
            stream.cancel()


class Reflection(WithDemo):
    SERVICES = {
        "bearerd.v1.Admin",
        "bearerd.v1.TokenBroker",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }

    def test_v1alpha_describes_the_services(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.assertLessEqual(self.SERVICES - {"grpc.reflection.v1.ServerReflection"}, set(database.get_services()))
        file = database.FindFileContainingSymbol("bearerd.v1.TokenBroker.GetToken")
        self.assertEqual(file.name, "bearerd/v1/token_broker.proto")
        self.assertEqual({message.name for message in file.message_type} & {"Token"}, {"Token"})
        self.assertEqual(database.FindFileByName("bearerd/v1/admin.proto").package, "bearerd.v1")

    def test_v1_says_the_same(self):
        # The package has no v1 stubs; its messages are the same on the wire.
        method = self.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        [answer] = method(iter([request]), timeout=PATIENCE)
        names = {service.name for service in answer.list_services_response.service}
        self.assertLessEqual(self.SERVICES - {"grpc.reflection.v1alpha.ServerReflection"}, names)


UNAVAILABLE = """
[clients.down]
token_url = "http://127.0.0.1:{closed}/token"
client_id = "id"
client_secret = {{ file = "@DIR@/secret" }}
prefetch = false

[clients.silent]
token_url = "http://127.0.0.1:{silent}/token"
client_id = "id"
client_secret = {{ file = "@DIR@/secret" }}
prefetch = false

[clients.lost]
token_url = "http://127.0.0.1:{closed}/token"
client_id = "id"
client_secret = {{ file = "@DIR@/gone" }}
prefetch = false
"""


class Failures(WithDemo):
    """A daemon whose issuers refuse connections or say nothing."""

    @classmethod
    def setUpClass(cls):
        # Bound but not listening: refused, and nobody else gets the port. Listening but never accepting: silent.
        closed, silent = (cls.enterClassContext(socket.socket()) for _ in range(2))
        for one in (closed, silent):
            one.bind(("127.0.0.1", 0))
        silent.listen()
        cls.config = UNAVAILABLE.format(closed=closed.getsockname()[1], silent=silent.getsockname()[1])
        cls.daemon = Daemon(config=cls.config)
        cls.addClassCleanup(cls.daemon.close)
        secret = cls.daemon.directory / "secret"
        secret.write_text("hunter2")
        secret.chmod(0o600)

    def test_an_issuer_that_cannot_be_reached(self):
        error, details = self.fails(grpc.StatusCode.UNAVAILABLE, "ISSUER_UNREACHABLE", ask("down"))
        self.assertRegex(
            re.sub(r"127\.0\.0\.1:\d+", "ISSUER", error.details()),
            r"\Ano usable token for `down`: cannot connect to ISSUER: Connection refused \(os error 111\); check "
            r"network, name resolution and token_url; next try in \d+s\Z",
        )
        wait = details["RetryInfo"].retry_delay
        self.assertGreater(wait.ToNanoseconds(), 0)
        self.assertLessEqual(wait.ToSeconds(), 15)

    def test_a_secret_that_cannot_be_read(self):
        error, details = self.fails(grpc.StatusCode.FAILED_PRECONDITION, "SECRET_UNREADABLE", ask("lost"))
        self.assertIn("does not exist; write the secret to it", error.details())
        self.assertGreaterEqual(details["RetryInfo"].retry_delay.ToSeconds(), 29)

    def test_a_watcher_is_told_the_same(self):
        with self.assertRaises(grpc.RpcError):
            broker(self.channel).GetToken(ask("lost"), timeout=PATIENCE)
        request = token_broker_pb2.WatchTokenRequest(client="lost")
        stream = broker(self.channel).WatchToken(request, timeout=PATIENCE)
        state = next(stream).unavailable
        code = grpc.StatusCode.FAILED_PRECONDITION.value[0]
        self.assertEqual((state.code, state.reason), (code, "SECRET_UNREADABLE"))
        self.assertIn("does not exist", state.message)
        self.assertTrue(state.HasField("next_attempt_at"))
        stream.cancel()

    def test_a_deadline_that_passes_first(self):
        with self.assertRaises(grpc.RpcError) as caught:
            broker(self.channel).GetToken(ask("silent"), timeout=0.3)
        # The daemon and the client look at their own clocks; either may be first.
        codes = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
        self.assertIn(caught.exception.code(), codes)
        if caught.exception.code() == grpc.StatusCode.UNAVAILABLE:
            self.assertEqual(details_of(caught.exception)["ErrorInfo"].reason, "TOKEN_PENDING")

    def test_a_watcher_of_a_first_token_on_its_way(self):
        request = token_broker_pb2.WatchTokenRequest(client="silent")
        stream = broker(self.channel).WatchToken(request, timeout=PATIENCE)
        state = next(stream).unavailable
        self.assertEqual((state.code, state.reason), (grpc.StatusCode.UNAVAILABLE.value[0], "TOKEN_PENDING"))
        self.assertFalse(state.HasField("next_attempt_at"))
        stream.cancel()

    def test_unhealthy_clients_are_not_serving(self):
        for service in ("clients/down", "clients/lost", "clients/silent"):
            request = health_pb2.HealthCheckRequest(service=service)
            self.assertEqual(health(self.channel).Check(request, timeout=PATIENCE).status, NOT_SERVING, service)


class Lifecycle(unittest.TestCase):
    def test_a_channel_may_be_older_than_the_daemon(self):
        with Daemon("--lifetime", "10m") as daemon:
            daemon.stop()
            self.assertFalse(daemon.socket.exists())
            with grpc.insecure_channel(f"unix://{daemon.socket}") as channel:
                with self.assertRaises(grpc.RpcError) as caught:
                    broker(channel).GetToken(ask(), timeout=PATIENCE)
                self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
                waiting = broker(channel).GetToken.future(ask(), wait_for_ready=True, timeout=PATIENCE)
                daemon.start()
                self.assertEqual(waiting.result().token.client, "demo")

    def test_a_channel_survives_a_restart(self):
        with Daemon("--lifetime", "10m") as daemon, grpc.insecure_channel(f"unix://{daemon.socket}") as channel:
            first = broker(channel).GetToken(ask(), timeout=PATIENCE).token
            self.assertEqual(daemon.stop(), 0)
            daemon.start()
            second = broker(channel).GetToken(ask(), wait_for_ready=True, timeout=PATIENCE).token
            self.assertNotEqual(first.id, second.id)
            # An id from before the restart means nothing to this daemon.
            old = broker(channel).GetToken(ask(rejected_token_id=first.id), timeout=PATIENCE)
            self.assertEqual((old.rejection, old.token.id), (token_broker_pb2.REJECTION_ALREADY_REPLACED, second.id))

    def test_those_who_watch_are_told_that_the_daemon_goes(self):
        with Daemon("--lifetime", "10m") as daemon, grpc.insecure_channel(f"unix://{daemon.socket}") as channel:
            broker(channel).GetToken(ask(), timeout=PATIENCE)
            tokens = broker(channel).WatchToken(token_broker_pb2.WatchTokenRequest(client="demo"), timeout=PATIENCE)
            states = health(channel).Watch(health_pb2.HealthCheckRequest(service=""), timeout=PATIENCE)
            self.assertEqual((next(tokens).token.client, next(states).status), ("demo", SERVING))
            daemon.process.send_signal(signal.SIGTERM)
            with self.assertRaises(grpc.RpcError) as caught:
                next(tokens)
            details = details_of(caught.exception)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertEqual(details["ErrorInfo"].reason, "DRAINING")
            self.assertGreater(details["RetryInfo"].retry_delay.ToNanoseconds(), 0)
            self.assertEqual([state.status for state in states], [NOT_SERVING])
            self.assertEqual(daemon.process.wait(PATIENCE), 0)

    def test_a_reload_reaches_channels_that_were_there_before(self):
        config = '[clients.{}]\ntoken_url = "http://127.0.0.1:1/"\nclient_id = "x"\nclient_secret = {{ env = "X" }}\n'
        with Daemon(config=config.format("one")) as daemon, grpc.insecure_channel(f"unix://{daemon.socket}") as channel:
            (daemon.directory / "bearerd.toml").write_text(config.format("one") + config.format("two"))
            answer = admin(channel).Reload(admin_pb2.ReloadRequest(), timeout=PATIENCE)
            self.assertEqual((answer.applied, list(answer.added), answer.unchanged), (True, ["two"], 1))
            clients = broker(channel).ListClients(token_broker_pb2.ListClientsRequest(), timeout=PATIENCE).clients
            self.assertEqual([client.name for client in clients], ["one", "two"])
            (daemon.directory / "bearerd.toml").write_text("[clients.one]\ncolour = 1\n")
            answer = admin(channel).Reload(admin_pb2.ReloadRequest(), timeout=PATIENCE)
            self.assertFalse(answer.applied)
            self.assertIn(("clients.one.colour", "is not a known key"), [(p.path, p.message) for p in answer.problems])


if __name__ == "__main__":
    unittest.main()
