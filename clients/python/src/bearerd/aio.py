"""The broker for asyncio. A token in memory is read without waiting; nothing here blocks the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from . import _headers
from ._broker import BrokerBase, _HasCore
from ._client import TIMEOUT
from ._core import Core
from ._errors import Failure
from ._token import Proof, Replacement, Token

__all__ = ["Broker", "Client"]


async def wait(core: Core, attempt: Callable[[float], Any], timeout: float) -> Any:
    """The answer of one of the ``try_…`` methods, waiting in this task."""
    deadline = time.monotonic() + timeout
    while True:
        left = max(0.0, deadline - time.monotonic())
        outcome = attempt(left)
        if isinstance(outcome, Future):
            try:
                outcome = await asyncio.wait_for(asyncio.wrap_future(outcome), left)
            except asyncio.TimeoutError:
                outcome = core.too_late()
        if outcome is None and left <= 0:
            outcome = core.too_late()
        if isinstance(outcome, Failure):
            raise outcome.error()
        if outcome is not None:
            return outcome


class Client(_HasCore):
    """The tokens of one client. Safe for use by many tasks, also of several event loops."""

    async def token(self, *, min_validity: float | None = None, timeout: float = TIMEOUT) -> Token:
        """As :meth:`bearerd.Client.token`."""
        core = self._core
        if min_validity is None and (token := core.current()) is not None:
            return token
        answer: Token = await wait(core, lambda left: core.try_token(min_validity, left), timeout)
        return answer

    async def replace(self, rejected: Token | str, *, timeout: float = TIMEOUT) -> Replacement:
        """As :meth:`bearerd.Client.replace`."""
        core = self._core
        token_id = rejected if isinstance(rejected, str) else rejected.id
        answer: Replacement = await wait(core, lambda left: core.try_replacement(token_id, left), timeout)
        return answer

    async def sign_proof(self, method: str, url: str, *, nonce: str = "", timeout: float = TIMEOUT) -> Proof:
        """As :meth:`bearerd.Client.sign_proof`."""
        core = self._core
        answer: Proof = await wait(core, lambda left: core.try_proof(method, url, nonce, left), timeout)
        return answer

    async def headers(
        self,
        per_call: Mapping[str, str] | None = None,
        *,
        method: str | None = None,
        url: str | None = None,
        nonce: str = "",
        timeout: float = TIMEOUT,
    ) -> dict[str, str]:
        """As :meth:`bearerd.Client.headers`."""
        token = await self.token(timeout=timeout)
        result = _headers.complete(token, per_call or {})
        if not token.proof_required:
            return {"Authorization": token.authorization, **result}
        if method is None or url is None:
            raise _headers.proof_required(token).error()
        proof = await self.sign_proof(method, url, nonce=nonce, timeout=timeout)
        return {"Authorization": proof.token.authorization, "DPoP": proof.proof, **result}


class Broker(BrokerBase[Client]):
    """One connection to the daemon, for asyncio. Not bound to an event loop: make one per process."""

    _client_type = Client

    async def aclose(self) -> None:
        """Ends the connection and the threads. Readers that wait, and all later ones, get CLOSED."""
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    async def __aenter__(self) -> Broker:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
