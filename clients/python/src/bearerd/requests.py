"""Authorizes the requests of the ``requests`` library. Needs the extra: ``pip install bearerd[requests]``."""

from __future__ import annotations

from functools import partial
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

from requests import PreparedRequest, Response
from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar
from requests.sessions import SessionRedirectMixin
from requests.utils import rewind_body

from ._client import TIMEOUT, Client
from ._errors import BearerdError
from ._http import Exchange, Nonces, Origin, check_secure, log, origin
from ._token import Token

__all__ = ["BearerdAuth"]


class BearerdAuth(AuthBase):
    """Sends each request with the token of a client, and once more with a new one after a 401.

    >>> session.auth = BearerdAuth(broker.client("partner"))

    One object serves any number of sessions and threads. Per-call headers are given as ordinary headers of the request.
    A request raises :class:`bearerd.BearerdError`, and nothing is sent, if there is no token, if a header is missing or
    does not fit, or if the URL is neither https nor on this machine. Redirects to another origin do not get the token.
    """

    def __init__(self, client: Client, *, allow_http: bool = False, timeout: float = TIMEOUT) -> None:
        """``allow_http``: send tokens in the clear to other machines. ``timeout``: seconds to wait for a token."""
        self._client = client
        self._allow_http = allow_http
        self._timeout = timeout
        self._nonces = Nonces()

    def __repr__(self) -> str:
        return f"bearerd.requests.BearerdAuth({self._client!r})"

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        exchange = Exchange(_origin(r.url))
        check_secure(exchange.origin, self._allow_http)
        self._authorize(r, exchange, self._client.token(timeout=self._timeout))
        r.register_hook("response", partial(self._answered, exchange))
        return r

    def _authorize(self, request: PreparedRequest, exchange: Exchange, token: Token) -> None:
        given = {_text(name): _text(value) for name, value in request.headers.items()}
        headers = exchange.with_token(token, given)
        if token.proof_required:
            method, url = request.method or "", request.url or ""
            nonce = self._nonces.of(exchange.origin)
            proof = self._client.sign_proof(method, url, nonce=nonce, timeout=self._timeout)
            headers = {**exchange.with_token(proof.token, given), "DPoP": proof.proof}
            exchange.signed = (method, url)
        request.headers.update(headers)

    def _answered(self, exchange: Exchange, response: Response, **send: Any) -> Response:
        """The hook that a session calls with each answer, after a redirect too, but not with those to `_again`."""
        # The session makes the next request of a redirect from this one.
        sent = response.request
        if _origin(sent.url) != exchange.origin:
            return response
        while True:
            if exchange.signed is not None:
                self._nonces.note(exchange.origin, response.headers.get("DPoP-Nonce"))
            refused = response.status_code == 401 and exchange.carried(_header(response.request, "Authorization"))
            again = self._again(exchange, response, send) if refused else None
            if again is None:
                break
            response = again
        elsewhere = _leads_elsewhere(response, exchange.origin)
        for name in exchange.private:
            if elsewhere:
                sent.headers.pop(name, None)
            elif name in response.request.headers:
                sent.headers[name] = response.request.headers[name]
        return response

    def _again(self, exchange: Exchange, response: Response, send: dict[str, Any]) -> Response | None:
        request, used = response.request, exchange.token
        assert used is not None
        challenges = [response.headers.get("WWW-Authenticate", "")]
        remedy = exchange.remedy(request.method or "", request.url or "", challenges)
        if remedy is None:
            return None
        try:
            token = used
            if remedy == "replace":
                token = self._client.replace(used, timeout=self._timeout).token
                if token.id == used.id:
                    return None
            if not _is_repeatable(request):
                return None
            repeated = request.copy()
            self._authorize(repeated, exchange, token)
        except BearerdError as error:
            log.warning("%s: the answer 401 stays: %s", used.client, error)
            return None
        # What is left of the answer is read, so that its connection can be used again.
        response.content  # noqa: B018
        response.close()
        _renew(repeated, response)
        again: Response = response.connection.send(repeated, **send)
        again.history.append(response)
        again.request = repeated
        return again


def _leads_elsewhere(response: Response, home: Origin) -> bool:
    """Whether it is a redirect to another origin, or to where nobody knows."""
    target = SessionRedirectMixin().get_redirect_target(response)
    if target is None:
        return False
    try:
        return _origin(urljoin(response.url, target)) != home
    except ValueError:
        return True


def _origin(url: str | None) -> Origin:
    parts = urlsplit(url or "")
    return origin(parts.scheme, parts.hostname or "", parts.port)


def _renew(repeated: PreparedRequest, response: Response) -> None:
    """Prepares a copy of a request as requests' own HTTPDigestAuth does: from the beginning of the body, with the
    cookies of the answer."""
    # Not in the types, nor is there another way.
    inside = cast(Any, repeated)
    if inside._body_position is not None:
        rewind_body(repeated)
    extract_cookies_to_jar(inside._cookies, response.request, response.raw)
    repeated.prepare_cookies(inside._cookies)


def _is_repeatable(request: PreparedRequest) -> bool:
    """Whether the body is still there: a text, or a file that can be wound back."""
    if request.body is None or isinstance(request.body, (str, bytes, bytearray)):
        return True
    return isinstance(cast(Any, request)._body_position, int)


def _header(request: PreparedRequest, name: str) -> str | None:
    value = request.headers.get(name)
    return None if value is None else _text(value)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
