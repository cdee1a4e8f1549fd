"""The background thread that keeps the stream of one client open."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from . import _api
from ._backoff import LONGEST, LONGEST_REFUSED, Backoff
from ._status import FAIL_CLOSED

if TYPE_CHECKING:
    from ._connection import Connection
    from ._core import Core


class Watch:
    """Follows one client until it is stopped."""

    def __init__(self, core: Core, connection: Connection) -> None:
        self._core = core
        self._connection = connection
        self._backoff = Backoff()
        self._wake = threading.Event()
        self._stopped = False
        # A daemon thread: a program that does not close the broker can still exit.
        self._thread = threading.Thread(target=self._run, name=f"bearerd-watch-{core.name}", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def hurry(self) -> None:
        """Makes the next attempt now."""
        self._wake.set()

    def stop(self) -> None:
        """Lets nothing more happen to the client. The thread ends when its stream does."""
        self._stopped = True
        self._wake.set()

    def join(self, timeout: float) -> bool:
        """Waits for the end of the thread; whether it came."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        request = _api.WatchTokenRequest(client=self._core.name)
        while not self._stopped:
            self._wake.clear()
            if not self._core.attempt_began(self):
                return
            failure = self._connection.stream(_api.WATCH_TOKEN, request, self._told)
            if failure is None or self._stopped:
                return
            self._core.attempt_ended(self, failure)
            refused = failure.code in FAIL_CLOSED
            self._wake.wait(self._backoff.next(LONGEST_REFUSED if refused else LONGEST))

    def _told(self, message: Any) -> None:
        self._backoff.reset()
        self._core.state_told(self, message)
