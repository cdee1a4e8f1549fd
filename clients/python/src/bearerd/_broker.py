"""What the synchronous and the asyncio broker have in common."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from typing import Any, Generic, TypeVar

from . import _fork
from ._connection import Connection
from ._core import Core

_JOIN = 2.0
"""How long to wait for the threads to end, in seconds. They end at once; nothing may hang because one does not."""
_SETTLE = 0.5
"""How long to let a connection come about that is being made at a fork, in seconds."""


class _HasCore:
    """A client, whichever way it is used."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def name(self) -> str:
        """Its name in the daemon's configuration."""
        return self._core.name

    def __repr__(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}({self.name!r})"


ClientT = TypeVar("ClientT", bound=_HasCore)


class BrokerBase(Generic[ClientT]):
    """One connection to the daemon, and the clients that are used through it."""

    _client_type: type[ClientT]

    def __init__(self, socket: str | None = None) -> None:
        """``socket``: path of the daemon's socket. Without it ``$BEARERD_SOCKET``, else where the ``bearerd`` command
        finds it. Does not connect: the first read does."""
        self._lock = threading.RLock()
        self._connection = Connection(socket, self._lock)
        self._clients: dict[str, ClientT] = {}
        self._closed = False
        _fork.protect(self)
        atexit.register(_close_at_exit, weakref.ref(self))

    def client(self, name: str) -> ClientT:
        """The client of that name in the daemon's configuration. Cheap; always the same object."""
        client = self._clients.get(name)
        if client is None:
            with self._lock:
                client = self._clients.get(name)
                if client is None:
                    core = Core(name, self._connection, self._lock, self)
                    if self._closed:
                        core.close()
                    client = self._clients[name] = self._client_type(core)
        return client

    def __repr__(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}({self._connection.socket!r})"

    def _close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            watches = [client._core.freeze() for client in self._clients.values()]
            for client in self._clients.values():
                client._core.close()
        self._end(watches)

    def _end(self, watches: list[Any]) -> None:
        self._connection.drop()
        deadline = time.monotonic() + _JOIN
        for watch in watches:
            if watch is not None:
                watch.join(max(0.0, deadline - time.monotonic()))

    def before_fork(self) -> bool:
        """Not for applications: ends all that goes on, and holds the lock. Whether gRPC can end its threads now."""
        with self._lock:
            watches = [client._core.freeze() for client in self._clients.values()]
        settled = self._connection.settle(_SETTLE)
        self._end(watches)
        self._lock.acquire()
        return settled

    def after_fork(self, *, child: bool) -> None:
        """Not for applications: lets it begin again."""
        if not self._closed:
            self._connection.reopen()
            for client in self._clients.values():
                client._core.thaw(child=child)
        self._lock.release()


def _close_at_exit(broker: weakref.ref[BrokerBase[Any]]) -> None:
    alive = broker()
    if alive is not None:
        alive._close()
