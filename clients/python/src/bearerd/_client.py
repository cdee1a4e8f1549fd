"""The synchronous broker and its clients."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from . import _headers
from ._broker import BrokerBase, _HasCore
from ._core import Core
from ._errors import Failure
from ._token import Proof, Replacement, Token

TIMEOUT = 10.0
"""How long a read waits by default, in seconds."""


def wait(core: Core, attempt: Callable[[float], Any], timeout: float) -> Any:
    """The answer of one of the ``try_…`` methods, waiting in this thread."""
    deadline = time.monotonic() + timeout
    while True:
        left = max(0.0, deadline - time.monotonic())
        outcome = attempt(left)
        if isinstance(outcome, Future):
            try:
                outcome = outcome.result(left)
            except FutureTimeoutError:
                outcome = core.too_late()
        if outcome is None and left <= 0:
            outcome = core.too_late()
        if isinstance(outcome, Failure):
            raise outcome.error()
        if outcome is not None:
            return outcome


class Client(_HasCore):
    """The tokens of one client. Safe for use by many threads at a time."""

    def token(self, *, min_validity: float | None = None, timeout: float = TIMEOUT) -> Token:
        """A token to use now, from memory while there is a good one.

        ``min_validity``: how many seconds it must at least be valid from now. Without it the smaller of 30 s and a
        tenth of its life. ``timeout``: how many seconds to wait for the first token or for the daemon.

        Raises :class:`BearerdError`.
        """
        core = self._core
        if min_validity is None and (token := core.current()) is not None:
            return token
        answer: Token = wait(core, lambda left: core.try_token(min_validity, left), timeout)
        return answer

    def replace(self, rejected: Token | str, *, timeout: float = TIMEOUT) -> Replacement:
        """Reports that an API answered 401 to a token (or the token of that id), and returns the one to use now.

        It has another ``id``, unless the daemon decided that the same token stays. Call it once per 401, and do not
        repeat a request whose token stayed the same.

        Raises :class:`BearerdError`.
        """
        core = self._core
        token_id = rejected if isinstance(rejected, str) else rejected.id
        answer: Replacement = wait(core, lambda left: core.try_replacement(token_id, left), timeout)
        return answer

    def sign_proof(self, method: str, url: str, *, nonce: str = "", timeout: float = TIMEOUT) -> Proof:
        """A token that is bound to a key, with the proof for one API call (DPoP, RFC 9449).

        ``nonce``: what the API gave in its DPoP-Nonce header last. Raises :class:`BearerdError`.
        """
        core = self._core
        answer: Proof = wait(core, lambda left: core.try_proof(method, url, nonce, left), timeout)
        return answer

    def headers(
        self,
        per_call: Mapping[str, str] | None = None,
        *,
        method: str | None = None,
        url: str | None = None,
        nonce: str = "",
        timeout: float = TIMEOUT,
    ) -> dict[str, str]:
        """All headers of one API call: Authorization, the fixed ones, and those given in ``per_call``.

        ``method`` and ``url`` of the call are needed for a token that is bound to a key.

        Raises :class:`BearerdError`: also HEADER_MISSING and HEADER_INVALID if ``per_call`` is not what the API wants,
        and PROOF_REQUIRED.
        """
        token = self.token(timeout=timeout)
        result = _headers.complete(token, per_call or {})
        if not token.proof_required:
            return {"Authorization": token.authorization, **result}
        if method is None or url is None:
            raise _headers.proof_required(token).error()
        proof = self.sign_proof(method, url, nonce=nonce, timeout=timeout)
        return {"Authorization": proof.token.authorization, "DPoP": proof.proof, **result}


class Broker(BrokerBase[Client]):
    """One connection to the daemon. Make one per process, at import time if you like: it connects when it is used.

    It may be used by many threads, and forked. ``with`` closes it; a program that does not can exit all the same.
    """

    _client_type = Client

    def close(self) -> None:
        """Ends the connection and the threads. Readers that wait, and all later ones, get CLOSED."""
        self._close()

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
