"""Authorizes the requests of the ``httpx`` library. Needs the extra: ``pip install bearerd[httpx]``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from typing import Any

import httpx

from . import _client, aio
from ._errors import BearerdError
from ._http import Exchange, Nonces, Origin, check_secure, log, origin
from ._token import Proof, Replacement, Token

__all__ = ["BearerdAuth"]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Something from the daemon: one of the ``try_…`` methods."""

    attempt: Callable[[float], Any]


_Flow = Generator["_Wanted | httpx.Request", Any, None]


class BearerdAuth(httpx.Auth):
    """Sends each request with the token of a client, and once more with a new one after a 401.

    >>> http = httpx.Client(auth=BearerdAuth(broker.client("partner")))

    The same object serves ``httpx.Client`` and ``httpx.AsyncClient``, whichever kind of broker the client is of, and
    any number of threads and tasks; it never blocks an event loop. Per-call headers are given as ordinary headers of
    the request. A request raises :class:`bearerd.BearerdError`, and nothing is sent, if there is no token, if a header
    is missing or does not fit, or if the URL is neither https nor on this machine. Redirects to another origin do not
    get the token.
    """

    def __init__(
        self, client: _client.Client | aio.Client, *, allow_http: bool = False, timeout: float = _client.TIMEOUT
    ) -> None:
        """``allow_http``: send tokens in the clear to other machines. ``timeout``: seconds to wait for a token."""
        self._client = client
        self._core = client._core
        self._allow_http = allow_http
        self._timeout = timeout
        self._nonces = Nonces()

    def __repr__(self) -> str:
        return f"bearerd.httpx.BearerdAuth({self._client!r})"

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """For ``httpx.Client``."""
        flow = self._flow(request, _guard)
        step = next(flow, None)
        while step is not None:
            if isinstance(step, _Wanted):
                try:
                    answer = _client.wait(self._core, step.attempt, self._timeout)
                except BearerdError as error:
                    step = _throw(flow, error)
                else:
                    step = _send(flow, answer)
            else:
                step = _send(flow, (yield step))

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """For ``httpx.AsyncClient``."""
        flow = self._flow(request, _async_guard)
        step = next(flow, None)
        while step is not None:
            if isinstance(step, _Wanted):
                try:
                    answer = await aio.wait(self._core, step.attempt, self._timeout)
                except BearerdError as error:
                    step = _throw(flow, error)
                else:
                    step = _send(flow, answer)
            else:
                step = _send(flow, (yield step))

    def _flow(self, request: httpx.Request, guard: Callable[[Exchange, Any], Any]) -> _Flow:
        exchange = Exchange(_origin(request.url))
        check_secure(exchange.origin, self._allow_http)
        yield from self._authorize(request, exchange)
        request.extensions = {**request.extensions, "trace": guard(exchange, request.extensions.get("trace"))}
        while True:
            response: httpx.Response = yield request
            # Not always the request above: httpx follows redirects in between.
            request = response.request
            if _origin(request.url) != exchange.origin:
                return
            if exchange.signed is not None:
                self._nonces.note(exchange.origin, response.headers.get("DPoP-Nonce"))
            if response.status_code != 401 or not exchange.carried(request.headers.get("Authorization")):
                return
            try:
                again = yield from self._prepare_again(request, exchange, response)
            except BearerdError as error:
                log.warning("%s: the answer 401 stays: %s", self._core.name, error)
                return
            if not again:
                return

    def _authorize(self, request: httpx.Request, exchange: Exchange, token: Token | None = None) -> _Flow:
        if token is None:
            token = self._core.current()
        if token is None:
            token = yield _Wanted(lambda left: self._core.try_token(None, left))
        headers = exchange.with_token(token, request.headers)
        if token.proof_required:
            method, url = request.method, str(request.url)
            nonce = self._nonces.of(exchange.origin)
            proof: Proof = yield _Wanted(lambda left: self._core.try_proof(method, url, nonce, left))
            headers = {**exchange.with_token(proof.token, request.headers), "DPoP": proof.proof}
            exchange.signed = (method, url)
        request.headers.update(headers)

    def _prepare_again(
        self, request: httpx.Request, exchange: Exchange, response: httpx.Response
    ) -> Generator[_Wanted | httpx.Request, Any, bool]:
        """Does what the 401 calls for; whether the request is to be sent again."""
        token = exchange.token
        assert token is not None
        used = token.id
        challenges = response.headers.get_list("WWW-Authenticate")
        remedy = exchange.remedy(request.method, str(request.url), challenges)
        if remedy is None:
            return False
        if remedy == "replace":
            replacement: Replacement = yield _Wanted(lambda left: self._core.try_replacement(used, left))
            token = replacement.token
            if token.id == used:
                return False
        # Any other stream can be read only once, or does not say.
        if not isinstance(request.stream, httpx.ByteStream):
            return False
        yield from self._authorize(request, exchange, token)
        return True


def _send(flow: _Flow, answer: Any) -> _Wanted | httpx.Request | None:
    try:
        return flow.send(answer)
    except StopIteration:
        return None


def _throw(flow: _Flow, error: BearerdError) -> _Wanted | httpx.Request | None:
    try:
        return flow.throw(error)
    except StopIteration:
        return None


def _origin(url: httpx.URL) -> Origin:
    return origin(url.scheme, url.host, url.port)


def _guard(exchange: Exchange, chained: Callable[[str, Any], Any] | None) -> Callable[[str, Any], None]:
    """A trace extension that keeps the headers of the API's origin from other origins.

    httpx takes away Authorization itself when it follows a redirect to another host, but not the other headers, and the
    request of a redirect does not pass through Auth. Its extensions are those of the first request, so that this is
    called just before it is sent.
    """

    def trace(event: str, info: Any) -> None:
        _strip(exchange, event, info)
        if chained is not None:
            chained(event, info)

    return trace


def _async_guard(exchange: Exchange, chained: Callable[[str, Any], Any] | None) -> Callable[[str, Any], Any]:
    async def trace(event: str, info: Any) -> None:
        _strip(exchange, event, info)
        if chained is not None:
            await chained(event, info)

    return trace


def _strip(exchange: Exchange, event: str, info: Any) -> None:
    if not event.endswith(".send_request_headers.started"):
        return
    request = info["request"]
    # Through a proxy for plain http the target is the whole URL.
    target = bytes(request.url.target)
    if target.startswith((b"http://", b"https://")):
        where = _origin(httpx.URL(target.decode("ascii")))
    else:
        where = origin(request.url.scheme.decode("ascii"), request.url.host.decode("ascii"), request.url.port)
    if where != exchange.origin:
        private = {name.encode("ascii") for name in exchange.private}
        request.headers = [(name, value) for name, value in request.headers if name.lower() not in private]
