"""What is known about one client, and what a reader gets from that."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from typing import Any

from . import _api, _status
from ._connection import Connection, pending
from ._errors import CLOSED, Failure
from ._token import Proof, Rejection, Replacement, Token, token_of
from ._watch import Watch

log = logging.getLogger("bearerd")

ATTEMPT_INTERVAL = 1.0
"""Readers start no attempt to reach the daemon earlier than so many seconds after the last one ended."""


class Core:
    """The state of one client, behind the synchronous and the asyncio client alike.

    The methods named ``try_…`` never wait. They return the answer, a :class:`Failure`, or a future to wait for; its
    result is one of the first two, or None: then try again, something has changed.
    """

    def __init__(self, name: str, connection: Connection, lock: threading.RLock, broker: object) -> None:
        self.name = name
        # Who has a client need not have its broker, which must live on to be told of forks.
        self._broker = broker
        self.serving: Token | None = None
        """What readers get without any further question while it is usable. Read without the lock."""
        self._connection = connection
        self._lock = lock
        self._frozen = False
        self._forget_the_moment()
        self._token: Token | None = None
        self._newest = 0.0
        self._retired: str | None = None

    def _forget_the_moment(self) -> None:
        """Back to how it was before the first read, but for the token in memory."""
        self.serving = None
        self._watch: Watch | None = None
        self._standing = False
        self._unavailable: Failure | None = None
        self._attempt: Future[Any] | None = None
        self._attempt_failed: Failure | None = None
        self._attempt_ended = float("-inf")
        self._changed = pending()
        self._reads: dict[float | None, Future[Any]] = {}
        self._reports: dict[str, Future[Any]] = {}

    # What readers ask for.

    def current(self) -> Token | None:
        """The token in memory if it is good for the usual margin, without a lock."""
        token = self.serving
        return token if token is not None and time.time() < token.usable_until else None

    def try_token(self, min_validity: float | None, timeout: float) -> Any:
        """A token that is valid for so many seconds, or for the usual margin."""
        with self._lock:
            if self._frozen:
                return self._changed
            if self._watch is None:
                self._watch = Watch(self, self._connection)
                self._attempt = pending()
                self._watch.start()
            token = self._token
            if token is not None and token.usable(min_validity or 0.0):
                self._publish()
                return token if self.serving is not None else self._changed
            if self._reports:
                return self._changed
            if not self._standing:
                return self._next_attempt()
            if self._unavailable is not None:
                return self._changed if self._unavailable.reason == "TOKEN_PENDING" else self._unavailable
            return self._read(min_validity, timeout)

    def try_replacement(self, rejected: str, timeout: float) -> Any:
        """Another token than the one with that id, which an API refused."""
        with self._lock:
            if self._frozen:
                return self._changed
            token = self._token
            if token is not None and token.id != rejected and token.id not in self._reports and token.usable():
                return Replacement(token, Rejection.ALREADY_REPLACED)
            if rejected not in self._reports:
                request = _api.GetTokenRequest(client=self.name, rejected_token_id=rejected)
                outcome = self._reports[rejected] = pending()
                self._publish()
                self._connection.call(_api.GET_TOKEN, request, timeout).add_done_callback(
                    lambda answer: self._reported(rejected, answer.result(), outcome)
                )
            else:
                outcome = self._reports[rejected]
            return outcome

    def try_proof(self, method: str, url: str, nonce: str, timeout: float) -> Any:
        """A token that is bound to a key, with the proof for one API call."""
        with self._lock:
            if self._frozen:
                return self._changed
            request = _api.SignProofRequest(client=self.name, method=method, url=url, nonce=nonce)
            outcome = pending()
            self._connection.call(_api.SIGN_PROOF, request, timeout).add_done_callback(
                lambda answer: outcome.set_result(_proof_of(answer.result()))
            )
            return outcome

    def too_late(self) -> Failure:
        """Why a reader whose time is up got nothing."""
        with self._lock:
            if self._standing and self._unavailable is not None:
                return self._unavailable
            return _status.silent(self._connection.socket)

    def _next_attempt(self) -> Any:
        if self._attempt is None and time.monotonic() - self._attempt_ended >= ATTEMPT_INTERVAL:
            assert self._watch is not None
            self._attempt = pending()
            self._watch.hurry()
        return self._attempt or self._attempt_failed

    def _read(self, min_validity: float | None, timeout: float) -> Future[Any]:
        """One call for all who ask for the same."""
        outcome = self._reads.get(min_validity)
        if outcome is None:
            outcome = self._reads[min_validity] = pending()
            request = _api.GetTokenRequest(client=self.name)
            if min_validity is not None:
                whole, part = divmod(min_validity, 1)
                request.min_validity.seconds, request.min_validity.nanos = int(whole), int(part * 1e9)
            self._connection.call(_api.GET_TOKEN, request, timeout).add_done_callback(
                lambda answer: self._was_read(min_validity, answer.result(), outcome)
            )
        return outcome

    # What calls bring.

    def _was_read(self, min_validity: float | None, answer: Any, outcome: Future[Any]) -> None:
        with self._lock:
            if self._reads.get(min_validity) is outcome:
                del self._reads[min_validity]
            if answer is not None and not isinstance(answer, Failure):
                answer = token_of(answer.token)
                if answer.issued_at > self._newest:
                    self._keep(answer)
        outcome.set_result(answer)

    def _reported(self, rejected: str, answer: Any, outcome: Future[Any]) -> None:
        with self._lock:
            if self._reports.get(rejected) is outcome:
                del self._reports[rejected]
            if answer is not None and not isinstance(answer, Failure):
                answer = Replacement(token_of(answer.token), Rejection(answer.rejection))
                if answer.token.id != rejected:
                    # The stream may still be about to bring the old one.
                    self._retired = rejected
                    if self._token is None or self._token.id == rejected or answer.token.issued_at > self._newest:
                        self._keep(answer.token)
            self._publish()
            self._wake()
        outcome.set_result(answer)

    # What the stream brings.

    def attempt_began(self, watch: Watch) -> bool:
        """The stream is to be opened; whether that is still wanted."""
        with self._lock:
            if watch is not self._watch:
                return False
            if self._attempt is None:
                self._attempt = pending()
            return True

    def attempt_ended(self, watch: Watch, failure: Failure) -> None:
        """The stream could not be opened, or it ended."""
        with self._lock:
            if watch is not self._watch:
                return
            if self._standing:
                log.warning("%s: the watch was lost: %s", self.name, failure.message)
            elif self._attempt_failed is None or self._attempt_failed.reason != failure.reason:
                log.warning("%s: no watch: %s", self.name, failure.message)
            self._standing = False
            self._unavailable = None
            self._attempt_failed = failure
            self._attempt_ended = time.monotonic()
            if failure.code in _status.FAIL_CLOSED:
                self._keep(None)
            self._end_attempt(failure)
            self._wake()

    def state_told(self, watch: Watch, message: Any) -> None:
        """The stream brought the state of the client."""
        with self._lock:
            if watch is not self._watch:
                return
            if not self._standing:
                log.debug("%s: the watch stands", self.name)
            self._standing = True
            self._attempt_failed = None
            if message.HasField("token"):
                self._unavailable = None
                if message.token.id != self._retired:
                    self._keep(token_of(message.token))
            else:
                self._unavailable = _status.failure_told(message.unavailable)
                self._keep(None)
                log.debug("%s: no token: %s", self.name, self._unavailable.reason)
            self._end_attempt(None)
            self._wake()

    def _keep(self, token: Token | None) -> None:
        if token is not None:
            if self._token is None or self._token.id != token.id:
                log.debug("%s: token %s", self.name, token.id)
            self._newest = token.issued_at
            self._unavailable = None
        self._token = token
        self._publish()

    def _publish(self) -> None:
        token = self._token
        refused = token is None or token.id in self._reports
        self.serving = None if refused or self._frozen or self._watch is None else token

    def _end_attempt(self, failure: Failure | None) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.set_result(failure)

    def _wake(self) -> None:
        changed, self._changed = self._changed, pending()
        changed.set_result(None)

    # Forks and the end. The broker calls these.

    def freeze(self) -> Watch | None:
        """Lets nothing begin; returns the watch, which the caller ends."""
        with self._lock:
            self._frozen = True
            self.serving = None
            watch, self._watch = self._watch, None
            if watch is not None:
                watch.stop()
            return watch

    def thaw(self, *, child: bool) -> None:
        """After a fork: as before the first read, but with the token. Threads that wait exist in the parent only."""
        waiting = [] if child else self._waiting()
        self._frozen = False
        self._forget_the_moment()
        for future in waiting:
            future.set_result(None)

    def close(self) -> None:
        """For good: everybody who waits and everybody who comes gets CLOSED."""
        with self._lock:
            waiting = self._waiting()
            self._token = None
            self._forget_the_moment()
            self._frozen = True
            self._changed.set_result(CLOSED)
        for future in waiting:
            future.set_result(CLOSED)

    def _waiting(self) -> list[Future[Any]]:
        # Those of calls are served when the calls end, which they do when the connection is dropped.
        return [self._changed] if self._attempt is None else [self._changed, self._attempt]


def _proof_of(answer: Any) -> Any:
    return answer if answer is None or isinstance(answer, Failure) else Proof(token_of(answer.token), answer.proof)
