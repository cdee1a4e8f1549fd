"""Stock grpcio against the built binary, with no channel options: what any Python program does.

Needs BEARERD_BIN, the path of the binary, and the packages of requirements.txt.
"""

import asyncio
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE = 20


def generate(directory):
    """Makes the stubs as any project does."""
    known = pathlib.Path(protoc.__file__).with_name("_proto")
    words = ["protoc", f"-I{known}", f"-I{ROOT}/proto", f"--python_out={directory}", f"--grpc_python_out={directory}"]
    code = protoc.main(words + [f"{ROOT}/proto/bearerd/v1/{name}.proto" for name in ("token_broker", "admin")])
    if code:
        raise RuntimeError(f"protoc ended with {code}")
    sys.path.insert(0, directory)


class StockClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp()
        generate(cls.directory)
        from bearerd.v1 import admin_pb2, admin_pb2_grpc, token_broker_pb2, token_broker_pb2_grpc

        cls.pb, cls.admin_pb = token_broker_pb2, admin_pb2
        cls.broker_stub, cls.admin_stub = token_broker_pb2_grpc.TokenBrokerStub, admin_pb2_grpc.AdminStub
        cls.socket = os.path.join(cls.directory, "b.sock")
        cls.daemon = subprocess.Popen(
            [os.environ["BEARERD_BIN"], "dev", "--socket", cls.socket, "--lifetime", "10s"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        cls.greeting = ""
        while "Ctrl-C ends it." not in cls.greeting:
            line = cls.daemon.stdout.readline()
            if not line:
                raise RuntimeError(f"the daemon ended:\n{cls.greeting}")
            cls.greeting += line

    @classmethod
    def tearDownClass(cls):
        cls.daemon.terminate()
        code = cls.daemon.wait(timeout=DEADLINE)
        cls.daemon.stdout.close()
        shutil.rmtree(cls.directory)
        if code:
            raise RuntimeError(f"the daemon ended with {code}")

    def channel(self, address=None):
        channel = grpc.insecure_channel(address or f"unix://{self.socket}")
        self.addCleanup(channel.close)
        return channel

    def broker(self):
        return self.broker_stub(self.channel())

    def get(self, broker, **fields):
        return broker.GetToken(self.pb.GetTokenRequest(**{"client": "demo"} | fields), timeout=DEADLINE)

    def test_every_form_of_address(self):
        relative = os.path.relpath(self.socket)
        for address in (f"unix://{self.socket}", f"unix:{self.socket}", f"unix:{relative}"):
            with self.subTest(address=address):
                token = self.get(self.broker_stub(self.channel(address))).token
                self.assertEqual(token.authorization, f"Bearer {token.access_token}")
                self.assertEqual((token.client, token.token_type, token.scope), ("demo", "Bearer", "demo"))
                self.assertGreater(token.expires_at.ToSeconds(), token.issued_at.ToSeconds())

    def test_many_calls_on_one_channel_and_many_channels(self):
        broker = self.broker()
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda _: self.get(broker).token.client, range(200)))
        self.assertEqual(answers, ["demo"] * 200)
        for _ in range(50):
            self.assertTrue(self.get(self.broker()).token.id)

    def test_a_rotation_reaches_a_watcher(self):
        self.get(self.broker())  # the first token is there
        stream = self.broker().WatchToken(self.pb.WatchTokenRequest(client="demo"), timeout=DEADLINE)
        first, second = next(stream), next(stream)
        stream.cancel()
        self.assertEqual((first.WhichOneof("state"), second.WhichOneof("state")), ("token", "token"))
        self.assertNotEqual(first.token.id, second.token.id)
        self.assertNotEqual(first.token.access_token, second.token.access_token)

    def test_errors_have_details(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.get(self.broker(), client="dmeo")
        error = caught.exception
        self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)
        self.assertEqual(error.details(), "no client `dmeo` is configured; did you mean `demo`?")
        info = error_details_pb2.ErrorInfo()
        [detail] = rpc_status.from_call(error).details
        self.assertTrue(detail.Unpack(info))
        self.assertEqual((info.domain, info.reason), ("bearerd", "CLIENT_UNKNOWN"))

    def test_a_validity_that_cannot_be_had(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.get(self.broker(), min_validity={"seconds": 3600})
        self.assertEqual(caught.exception.code(), grpc.StatusCode.OUT_OF_RANGE)

    def test_a_young_token_is_kept(self):
        broker = self.broker()
        self.admin_stub(self.channel()).RefreshClient(self.admin_pb.RefreshClientRequest(client="demo"), timeout=DEADLINE)
        token = self.get(broker).token
        response = self.get(broker, rejected_token_id=token.id)
        self.assertEqual(response.rejection, self.pb.REJECTION_TOO_YOUNG)
        self.assertEqual(response.token.id, token.id)

    def test_health(self):
        health = health_pb2_grpc.HealthStub(self.channel())
        self.get(self.broker())
        for service in ("", "bearerd.v1.TokenBroker", "clients/demo"):
            request = health_pb2.HealthCheckRequest(service=service)
            answer = health.Check(request, timeout=DEADLINE)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING, service)
            watched = health.Watch(request, timeout=DEADLINE)
            self.assertEqual(next(watched).status, health_pb2.HealthCheckResponse.SERVING, service)
            watched.cancel()
        with self.assertRaises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="clients/nobody"), timeout=DEADLINE)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_reflection(self):
        reflection = reflection_pb2_grpc.ServerReflectionStub(self.channel())
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        [answer] = reflection.ServerReflectionInfo(iter([request]), timeout=DEADLINE)
        names = {service.name for service in answer.list_services_response.service}
        self.assertLessEqual({"bearerd.v1.TokenBroker", "bearerd.v1.Admin", "grpc.health.v1.Health"}, names)
        # The same messages under the name of version 1.
        call = self.channel().stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        [answer] = call(iter([request]), timeout=DEADLINE)
        self.assertIn("bearerd.v1.TokenBroker", {s.name for s in answer.list_services_response.service})

    def test_asyncio(self):
        async def ask():
            async with grpc.aio.insecure_channel(f"unix://{self.socket}") as channel:
                broker = self.broker_stub(channel)
                request = self.pb.GetTokenRequest(client="demo")
                return await asyncio.gather(*(broker.GetToken(request, timeout=DEADLINE) for _ in range(50)))

        self.assertEqual({answer.token.client for answer in asyncio.run(ask())}, {"demo"})

    def test_the_example(self):
        environment = os.environ | {"BEARERD_SOCKET": self.socket}
        words = [sys.executable, "examples/get_token.py"]
        run = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertRegex(run.stdout, r"\ABearer eyJ\S+\n\Z")

    def test_the_token_opens_the_protected_resource(self):
        url = next(word for word in self.greeting.split() if word.endswith("/api/hello"))
        headers = {"Authorization": self.get(self.broker()).token.authorization}
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=DEADLINE) as response:
            self.assertEqual(response.status, 200)
            self.assertIn(b"demo", response.read())


if __name__ == "__main__":
    unittest.main()
