"""A daemon for the tests, in a process of its own: a gRPC server in the process under test would not let it fork.

Serves on the socket that is its argument. Client `demo` has tokens that live an hour, with a fixed and no other header;
a report replaces the token; `slow` has none yet; no other client exists. Prints a line when it serves.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

from bearerd import _api

LIFETIME = 3600


class Tokens:
    """The tokens of client demo."""

    def __init__(self):
        self.changed = threading.Condition()
        self.number = 1

    def message(self):
        token = _api.RESPONSES[_api.GET_TOKEN]().token
        token.client, token.id, token.token_type = "demo", f"id-{self.number}", "Bearer"
        token.access_token = f"secret-{self.number}"
        token.authorization = f"Bearer secret-{self.number}"
        token.issued_at.GetCurrentTime()
        token.expires_at.FromSeconds(int(time.time()) + LIFETIME)
        token.headers.add(name="X-Partner", value="acme")
        return token


def refuse(context, code, reason, text):
    """Ends a call with the details that the real daemon gives."""
    status = _api.Status(code=code.value[0], message=text)
    info = _api.ErrorInfo(domain="bearerd", reason=reason)
    status.details.add(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=info.SerializeToString())
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, text)


def unknown(context, client):
    refuse(context, grpc.StatusCode.NOT_FOUND, "CLIENT_UNKNOWN", f"no client {client}")


def serve(path):
    tokens = Tokens()

    def get_token(request, context):
        if request.client != "demo":
            unknown(context, request.client)
        with tokens.changed:
            answer = _api.RESPONSES[_api.GET_TOKEN]()
            if request.rejected_token_id:
                answer.rejection = 2
            if request.rejected_token_id == f"id-{tokens.number}":
                tokens.number += 1
                answer.rejection = 1
                tokens.changed.notify_all()
            answer.token.CopyFrom(tokens.message())
            return answer

    def watch_token(request, context):
        response = _api.RESPONSES[_api.WATCH_TOKEN]
        if request.client == "slow":
            pending = response()
            pending.unavailable.code, pending.unavailable.reason = 14, "TOKEN_PENDING"
            yield pending
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait()
            return
        if request.client != "demo":
            unknown(context, request.client)
        told = None
        context.add_callback(lambda: notify(tokens))
        while context.is_active():
            with tokens.changed:
                tokens.changed.wait_for(lambda: tokens.number != told or not context.is_active())
                told = tokens.number
                message = response(token=tokens.message())
            yield message

    def notify(tokens):
        with tokens.changed:
            tokens.changed.notify_all()

    handlers = {
        "GetToken": grpc.unary_unary_rpc_method_handler(
            get_token, _api.GetTokenRequest.FromString, _api.RESPONSES[_api.GET_TOKEN].SerializeToString
        ),
        "WatchToken": grpc.unary_stream_rpc_method_handler(
            watch_token, _api.WatchTokenRequest.FromString, _api.RESPONSES[_api.WATCH_TOKEN].SerializeToString
        ),
    }
    server = grpc.server(ThreadPoolExecutor(100))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bearerd.v1.TokenBroker", handlers),))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    serve(sys.argv[1])
