"""Forks: gunicorn --preload, multiprocessing, os.fork.

gRPC's core does not survive a fork while it runs: its threads are missing in the child, which then hangs at its first
call. It does survive one while it is shut down, which it is as soon as the last channel of the process is closed. So
before a fork every broker ends its streams, its calls and its channel, and this module waits until gRPC's threads are
gone; that takes a few milliseconds. Afterwards, in the parent and in the child, each broker begins again with the next
read; tokens stay in memory meanwhile. subprocess does not run these hooks and needs nothing of the kind.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import Protocol

log = logging.getLogger("bearerd")


class Forking(Protocol):
    """What has to be quiet at a fork."""

    def before_fork(self) -> bool:
        """Ends everything that goes on and holds the lock; whether gRPC can end its threads now."""

    def after_fork(self, *, child: bool) -> None:
        """Lets it begin again."""


_PATIENCE = 0.5
"""How long to wait for gRPC's threads to end, in seconds."""
_THREADS = ("event_engine", "grpc_", "lifeguard", "default-execut", "resolver-execut", "timer_manager")
"""How the names of gRPC's threads begin."""

_one_at_a_time = threading.Lock()
_brokers: weakref.WeakSet[Forking] = weakref.WeakSet()
_quiet: list[Forking] = []
_prepared = False
_shared_with_others = False


def protect(broker: Forking) -> None:
    """Takes care of a broker."""
    _brokers.add(broker)


def prepare() -> None:
    """Registers the hooks, once a channel was made: hooks run in reverse order, and gRPC's own, which block its
    threads, must not run before these."""
    global _prepared
    if not _prepared:
        _prepared = True
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    _one_at_a_time.acquire()
    settled = True
    for broker in list(_brokers):
        settled &= broker.before_fork()
        _quiet.append(broker)
    _await_grpc(settled)


def _after_in_parent() -> None:
    _after(child=False)


def _after_in_child() -> None:
    _after(child=True)


def _after(*, child: bool) -> None:
    while _quiet:
        _quiet.pop().after_fork(child=child)
    _one_at_a_time.release()


def _await_grpc(settled: bool) -> None:
    global _shared_with_others
    deadline = time.monotonic() + (0 if _shared_with_others else _PATIENCE)
    while _grpc_runs():
        if time.monotonic() >= deadline:
            if settled and not _shared_with_others:
                _shared_with_others = True
                _warn()
            return
        # Nothing tells when a thread that is not Python's own has ended.
        time.sleep(0.0005)


def _warn() -> None:
    if not os.environ.get("GRPC_ENABLE_FORK_SUPPORT"):
        log.warning(
            "this process forks while something else in it uses gRPC: children may hang when they use it; set"
            " GRPC_ENABLE_FORK_SUPPORT=1 before grpc is imported, or close its channels before the fork"
        )


def _grpc_runs() -> bool:
    try:
        threads = os.listdir("/proc/self/task")
    except OSError:
        return False
    return any(_name(thread).startswith(_THREADS) for thread in threads)


def _name(thread: str) -> str:
    try:
        with open(f"/proc/self/task/{thread}/comm") as file:
            return file.read()
    except OSError:
        return ""
