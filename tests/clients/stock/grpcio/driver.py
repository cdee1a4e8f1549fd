"""A stock client: grpcio with default options and generated code. One JSON command a line in, one answer a line out."""

import json
import queue
import sys
import threading

import grpc
from bearerd.v1 import token_broker_pb2 as pb
from bearerd.v1 import token_broker_pb2_grpc as broker
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2 as health
from grpc_health.v1 import health_pb2_grpc
from grpc_status import rpc_status


def error_json(error):
    """What the status and its google.rpc details say."""
    answer = {"ok": False, "code": error.code().name, "message": error.details()}
    answer.update(domain=None, reason=None, retry_after_s=None)
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info, retry = ErrorInfo(), RetryInfo()
        if detail.Unpack(info):
            answer.update(domain=info.domain, reason=info.reason)
        elif detail.Unpack(retry):
            answer["retry_after_s"] = retry.retry_delay.ToTimedelta().total_seconds()
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


class Stream:
    """An open stream, read by a thread of its own."""

    def __init__(self, call):
        self._answers = queue.Queue()
        threading.Thread(target=self._read, args=(call,), daemon=True).start()

    def _read(self, call):
        try:
            for message in call:
                self._answers.put({"ok": True, **news(message)})
            self._answers.put({"ok": False, "code": "OK", "message": "the stream ended"})
        except grpc.RpcError as error:
            self._answers.put(error_json(error))

    def next(self, timeout):
        try:
            return self._answers.get(timeout=timeout)
        except queue.Empty:
            return {"ok": False, "code": "DEADLINE_EXCEEDED", "message": f"nothing came within {timeout} s"}


class Driver:
    """Each method is a command."""

    def __init__(self, socket):
        channel = grpc.insecure_channel(f"unix://{socket}")
        self._broker = broker.TokenBrokerStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)
        self._streams = []

    def answer(self, command):
        do = command.pop("do")
        carry_out = getattr(self, f"do_{do}", None)
        if carry_out is None:
            return {"ok": False, "reason": "UNKNOWN_COMMAND"}
        try:
            return carry_out(**command)
        except grpc.RpcError as error:
            return error_json(error)

    def do_get(self, client, min_validity_s=None, rejected=None, timeout_s=None):
        request = pb.GetTokenRequest(client=client, rejected_token_id=rejected or "")
        if min_validity_s is not None:
            nanoseconds = round(min_validity_s * 1e9)
            request.min_validity.CopyFrom(Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9))
        response = self._broker.GetToken(request, timeout=timeout_s)
        rejection = pb.Rejection.Name(response.rejection).removeprefix("REJECTION_")
        headers = [header_json(header) for header in response.token.headers]
        token = {"id": response.token.id, "authorization": response.token.authorization}
        return {"ok": True, **token, "rejection": rejection, "headers": headers}

    def do_watch(self, client):
        return self._open(self._broker.WatchToken(pb.WatchTokenRequest(client=client)))

    def do_health_watch(self, service):
        return self._open(self._health.Watch(health.HealthCheckRequest(service=service)))

    def _open(self, call):
        self._streams.append(Stream(call))
        return self.do_next(watch=len(self._streams), timeout_s=10)

    def do_next(self, watch, timeout_s=None):
        answer = self._streams[watch - 1].next(timeout_s)
        return {**answer, "watch": watch} if answer["ok"] else answer

    def do_list(self):
        clients = self._broker.ListClients(pb.ListClientsRequest()).clients
        names = [(client.name, pb.ClientState.Name(client.state)) for client in clients]
        listed = [{"name": name, "state": state.removeprefix("CLIENT_STATE_")} for name, state in names]
        return {"ok": True, "clients": listed}

    def do_health(self, service):
        return {"ok": True, **news(self._health.Check(health.HealthCheckRequest(service=service)))}


def main():
    driver = Driver(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(driver.answer(json.loads(line))), flush=True)


main()
