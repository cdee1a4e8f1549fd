"""The connection to the daemon: a gRPC channel, made at the first call and made anew after it broke."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import grpc

from . import _api, _fork, _socket
from ._errors import Failure
from ._status import failure_of, unreachable

_OPTIONS = (
    # A channel of ours that is new tries at once, whatever happened to earlier ones.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


def pending() -> Future[Any]:
    """A future for several waiting readers: one of them that gives up does not cancel it."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def done(outcome: Any) -> Future[Any]:
    """A future that has its outcome."""
    future: Future[Any] = Future()
    future.set_result(outcome)
    return future


class _Channel:
    """A gRPC channel, and whether it is known how connecting came out."""

    def __init__(self, socket: str) -> None:
        self._grpc = grpc.insecure_channel(_socket.target(socket), _OPTIONS)
        self.heard = threading.Event()
        self.close = self._grpc.close

    def unary(self, method: str, request: Any, timeout: float) -> Any:
        """Begins a call with one answer."""
        begin = self._grpc.unary_unary(method, type(request).SerializeToString, _api.RESPONSES[method].FromString)
        return begin.future(request, timeout=timeout)

    def stream(self, method: str, request: Any) -> Any:
        """Begins a call with many answers."""
        begin = self._grpc.unary_stream(method, type(request).SerializeToString, _api.RESPONSES[method].FromString)
        return begin(request)


class Connection:
    """Calls to one daemon. Never raises for what happens to a call: outcomes are values."""

    def __init__(self, socket: str | None, lock: threading.RLock) -> None:
        # Absolute, so that a later change of the working directory does not matter.
        self._named = None if socket is None else os.path.abspath(socket)
        self._lock = lock
        self._channel: _Channel | None = None
        self._calls: set[Any] = set()
        self._open = True
        self.socket = self._named or _socket.find()
        """Where the last attempt went."""

    def call(self, method: str, request: Any, timeout: float) -> Future[Any]:
        """A future of the response, of a :class:`Failure`, or of None if the call was given up by :meth:`drop`."""
        outcome = pending()
        with self._lock:
            if not self._open:
                return done(None)
            channel = self._connected()
            call = channel.unary(method, request, timeout)
            self._calls.add(call)
        call.add_done_callback(lambda call: outcome.set_result(self._ended(channel, call, lambda: call.result())))
        return outcome

    def stream(self, method: str, request: Any, each: Callable[[Any], None]) -> Failure | None:
        """Hands each message of a stream on until it ends, and returns why, or None after :meth:`drop`."""
        with self._lock:
            if not self._open:
                return None
            channel = self._connected()
            call = channel.stream(method, request)
            self._calls.add(call)
        try:
            for message in call:
                channel.heard.set()
                each(message)
        except grpc.RpcError as error:
            # The call says the same: it is the exception. Its traceback would keep it, and gRPC's core with it, in a
            # cycle that only the garbage collector ends.
            error.__traceback__ = None
        outcome: Failure | None = self._ended(channel, call, lambda: unreachable(self.socket, "the stream ended"))
        return outcome

    def settle(self, timeout: float) -> bool:
        """Lets no call begin, and waits until it is known how connecting came out; whether it is. gRPC is slow to
        forget a connection that was given up before that: it keeps its threads for up to 20 s."""
        with self._lock:
            self._open = False
            channel = self._channel
        return channel is None or channel.heard.wait(timeout)

    def drop(self) -> None:
        """Gives up all calls and the channel, and lets no call begin until :meth:`reopen`."""
        with self._lock:
            self._open = False
            calls, self._calls = self._calls, set()
            channel, self._channel = self._channel, None
        for call in calls:
            call.cancel()
        if channel is not None:
            channel.close()

    def reopen(self) -> None:
        """Lets calls begin again."""
        self._open = True

    def _connected(self) -> _Channel:
        if self._channel is None:
            self.socket = self._named or _socket.find()
            self._channel = _Channel(self.socket)
            _fork.prepare()
        return self._channel

    def _ended(self, channel: _Channel, call: Any, ended_well: Callable[[], Any]) -> Any:
        channel.heard.set()
        with self._lock:
            # Only those that drop() gave up are not known any more.
            if call not in self._calls:
                return None
            self._calls.discard(call)
            if call.code() is grpc.StatusCode.OK:
                return ended_well()
            failure = failure_of(call, self.socket)
            broken = failure.reason == "DAEMON_UNREACHABLE" and self._channel is channel
            if broken:
                self._channel = None
        if broken:
            # Its other calls go the same way, and the next attempt is made without gRPC's own waiting time.
            channel.close()
        return failure
