"""A stock client: grpclib, an HTTP/2 stack in pure Python, with default options and generated code. One JSON command a
line in, one answer a line out."""

import asyncio
import json
import sys

from bearerd.v1 import token_broker_pb2 as pb
from bearerd.v1.token_broker_grpc import TokenBrokerStub
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpclib.client import Channel
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.health.v1 import health_pb2 as health
from grpclib.health.v1.health_grpc import HealthStub


def error_json(error):
    """What the status and its google.rpc details say."""
    answer = {"ok": False, "domain": None, "reason": None, "retry_after_s": None}
    if not isinstance(error, GRPCError):
        # Not a status of the daemon: no connection, or it broke; or the client's own deadline.
        code = "DEADLINE_EXCEEDED" if isinstance(error, asyncio.TimeoutError) else "UNAVAILABLE"
        return {**answer, "code": code, "message": str(error)}
    answer.update(code=error.status.name, message=error.message)
    for detail in error.details or ():
        if isinstance(detail, ErrorInfo):
            answer.update(domain=detail.domain, reason=detail.reason)
        elif isinstance(detail, RetryInfo):
            answer["retry_after_s"] = detail.retry_delay.ToTimedelta().total_seconds()
    return answer


def header_json(header):
    return {name: getattr(header, name) for name in ("name", "value", "per_call", "pattern")}


def news(message):
    """What a message of a stream says."""
    if isinstance(message, health.HealthCheckResponse):
        return {"status": health.HealthCheckResponse.ServingStatus.Name(message.status)}
    if message.WhichOneof("state") == "token":
        return {"id": message.token.id}
    return {"unavailable": message.unavailable.reason}


class Watch:
    """An open stream, read by a task of its own."""

    def __init__(self, method, request):
        self._answers = asyncio.Queue()
        self._task = asyncio.create_task(self._read(method, request))

    async def _read(self, method, request):
        try:
            async with method.open() as stream:
                await stream.send_message(request, end=True)
                async for message in stream:
                    await self._answers.put({"ok": True, **news(message)})
            await self._answers.put({"ok": False, "code": "OK", "message": "the stream ended"})
        except (GRPCError, StreamTerminatedError, OSError) as error:
            await self._answers.put(error_json(error))

    async def next(self, timeout):
        try:
            return await asyncio.wait_for(self._answers.get(), timeout)
        except asyncio.TimeoutError:
            return {"ok": False, "code": "DEADLINE_EXCEEDED", "message": f"nothing came within {timeout} s"}

    async def end(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Driver:
    """Each method is a command."""

    def __init__(self, channel):
        self._broker = TokenBrokerStub(channel)
        self._health = HealthStub(channel)
        self._watches = []

    async def answer(self, command):
        do = command.pop("do")
        carry_out = getattr(self, f"do_{do}", None)
        if carry_out is None:
            return {"ok": False, "reason": "UNKNOWN_COMMAND"}
        try:
            return await carry_out(**command)
        except (GRPCError, StreamTerminatedError, OSError, asyncio.TimeoutError) as error:
            return error_json(error)

    async def do_get(self, client, min_validity_s=None, rejected=None, timeout_s=None):
        request = pb.GetTokenRequest(client=client, rejected_token_id=rejected or "")
        if min_validity_s is not None:
            nanoseconds = round(min_validity_s * 1e9)
            request.min_validity.CopyFrom(Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9))
        response = await self._broker.GetToken(request, timeout=timeout_s)
        rejection = pb.Rejection.Name(response.rejection).removeprefix("REJECTION_")
        headers = [header_json(header) for header in response.token.headers]
        token = {"id": response.token.id, "authorization": response.token.authorization}
        return {"ok": True, **token, "rejection": rejection, "headers": headers}

    async def do_watch(self, client):
        return await self._open(self._broker.WatchToken, pb.WatchTokenRequest(client=client))

    async def do_health_watch(self, service):
        return await self._open(self._health.Watch, health.HealthCheckRequest(service=service))

    async def _open(self, method, request):
        self._watches.append(Watch(method, request))
        return await self.do_next(watch=len(self._watches), timeout_s=10)

    async def do_next(self, watch, timeout_s=None):
        answer = await self._watches[watch - 1].next(timeout_s)
        return {**answer, "watch": watch} if answer["ok"] else answer

    async def do_list(self):
        clients = (await self._broker.ListClients(pb.ListClientsRequest())).clients
        names = [(client.name, pb.ClientState.Name(client.state)) for client in clients]
        listed = [{"name": name, "state": state.removeprefix("CLIENT_STATE_")} for name, state in names]
        return {"ok": True, "clients": listed}

    async def do_health(self, service):
        return {"ok": True, **news(await self._health.Check(health.HealthCheckRequest(service=service)))}

    async def end(self):
        for watch in self._watches:
            await watch.end()


async def main():
    async with Channel(path=sys.argv[1]) as channel:
        driver = Driver(channel)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await driver.answer(json.loads(line))), flush=True)
        await driver.end()


asyncio.run(main())
