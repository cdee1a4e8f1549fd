import asyncio
import os
import threading

import pytest

import bearerd
import bearerd.aio
from bearerd import BearerdError, Rejection


def test_one_client_object_per_name(broker):
    assert broker.client("demo") is broker.client("demo")


def test_nothing_happens_before_the_first_read(tmp_path):
    before = threading.active_count()
    with bearerd.Broker(str(tmp_path / "none")) as broker:
        broker.client("demo")
        assert threading.active_count() == before


def test_reports_of_the_same_token_at_once_cost_one_replacement(broker):
    client = broker.client("demo")
    used = client.token()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(client.replace(used))) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.token.id for answer in answers}) == 1
    assert Rejection.REPLACED in {answer.rejection for answer in answers}
    assert client.token().id == answers[0].token.id != used.id
    assert client.replace(used.id).rejection is Rejection.ALREADY_REPLACED


def test_error_of_the_daemon_has_its_details(broker):
    with pytest.raises(BearerdError) as caught:
        broker.client("nobody").token()
    error = caught.value
    assert (error.reason, error.code, error.message) == ("CLIENT_UNKNOWN", "NOT_FOUND", "no client nobody")


def test_no_daemon_names_the_socket_and_what_to_do(tmp_path):
    path = str(tmp_path / "none.sock")
    with bearerd.Broker(path) as broker, pytest.raises(BearerdError) as caught:
        broker.client("demo").token()
    assert caught.value.reason == "DAEMON_UNREACHABLE"
    assert path in caught.value.message and "BEARERD_SOCKET" in caught.value.message


def test_timeout_while_the_first_token_is_pending(broker):
    with pytest.raises(BearerdError) as caught:
        broker.client("slow").token(timeout=1)
    assert caught.value.reason == "TOKEN_PENDING"


def test_socket_is_found_again_after_a_change_of_directory(socket, monkeypatch, tmp_path):
    monkeypatch.chdir(os.path.dirname(socket))
    with bearerd.Broker(os.path.basename(socket)) as broker:
        monkeypatch.chdir(tmp_path)
        assert broker.client("demo").token()


def test_close_wakes_readers_and_stays(socket):
    broker = bearerd.Broker(socket)
    client = broker.client("slow")
    outcomes = []

    def reader():
        try:
            client.token(timeout=30)
        except BearerdError as error:
            outcomes.append(error.reason)

    with pytest.raises(BearerdError):
        client.token(timeout=1)  # The watch stands now.
    thread = threading.Thread(target=reader)
    thread.start()
    broker.close()
    thread.join(10)
    assert outcomes == ["CLOSED"]
    broker.close()
    for name in ("slow", "demo"):
        with pytest.raises(BearerdError) as caught:
            broker.client(name).token()
        assert caught.value.reason == "CLOSED"


def test_threads_end_with_close(socket):
    before = threading.active_count()
    with bearerd.Broker(socket) as broker:
        broker.client("demo").token()
    assert [t.name for t in threading.enumerate() if t.name.startswith("bearerd")] == []
    assert threading.active_count() <= before + 1  # gRPC's own may take a moment.


def test_program_that_does_not_close_exits(run_program):
    assert run_program("import bearerd; print(bearerd.Broker().client('demo').token().id[:3])") == ["id-"]


def test_definitions_of_others_do_not_clash(run_program):
    program = """
from google.protobuf import descriptor_pb2, descriptor_pool
for name, package in [("bearerd/v1/token_broker.proto", "bearerd.v1"), ("google/rpc/status.proto", "google.rpc")]:
    other = descriptor_pb2.FileDescriptorProto(name=name, package=package)
    other.message_type.add(name="Token" if package == "bearerd.v1" else "Status")
    descriptor_pool.Default().AddSerializedFile(other.SerializeToString())
import bearerd
print(bearerd.Broker().client("demo").token().id[:3])
"""
    assert run_program(program) == ["id-"]


@pytest.mark.parametrize("implementation", ["python", "upb"])
def test_either_implementation_of_protobuf(run_program, implementation):
    program = """
from google.protobuf.internal import api_implementation
import bearerd
print(api_implementation.Type(), bearerd.Broker().client("demo").token().expires_at > 1e9)
"""
    assert run_program(program, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=implementation) == [f"{implementation} True"]


def test_proxy_variables_have_no_influence(run_program):
    names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
    variables = {name: "http://127.0.0.1:1" for name in (*names, *(name.upper() for name in names))}
    assert run_program("import bearerd; print(bearerd.Broker().client('demo').token().id[:3])", **variables) == ["id-"]


class TestAsyncio:
    def test_many_tasks_and_several_loops(self, socket):
        broker = bearerd.aio.Broker(socket)

        async def read():
            return {token.id for token in await asyncio.gather(*(broker.client("demo").token() for _ in range(1000)))}

        first = asyncio.run(read())
        assert len(first) == 1
        assert asyncio.run(read()) == first

        async def end():
            async with broker:
                pass
            with pytest.raises(BearerdError) as caught:
                await broker.client("demo").token()
            return caught.value.reason

        assert asyncio.run(end()) == "CLOSED"

    def test_reader_that_is_cancelled_does_not_disturb_others(self, socket):
        async def scenario():
            async with bearerd.aio.Broker(socket) as broker:
                client = broker.client("slow")
                readers = [asyncio.create_task(client.token(timeout=0.3)) for _ in range(2)]
                await asyncio.sleep(0)
                readers[0].cancel()
                return await asyncio.gather(*readers, return_exceptions=True)

        cancelled, late = asyncio.run(scenario())
        assert isinstance(cancelled, asyncio.CancelledError)
        assert late.reason == "TOKEN_PENDING"

    def test_event_loop_goes_on_while_a_reader_waits(self, socket):
        async def scenario():
            async with bearerd.aio.Broker(socket) as broker:
                reader = asyncio.create_task(broker.client("slow").token(timeout=0.2))
                turns = 0
                while not reader.done():
                    await asyncio.sleep(0.001)
                    turns += 1
                reader.exception()
                return turns

        assert asyncio.run(scenario()) > 20
