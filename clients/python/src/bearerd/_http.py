"""What the adapters have in common: which request may carry a token, and what an answer calls for."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from . import _headers
from ._errors import Failure
from ._token import Token

log = logging.getLogger("bearerd")

Origin = tuple[str, str, int]
"""Scheme, host and port (RFC 6454)."""

_PORTS = {"http": 80, "https": 443}
# A challenge's error is a token or a quoted text (RFC 9449 section 8).
_NONCE_WANTED = re.compile(r'(?:^|,)\s*DPoP\b.*\berror\s*=\s*"?use_dpop_nonce\b', re.IGNORECASE | re.DOTALL)


def origin(scheme: str, host: str, port: int | None) -> Origin:
    """The origin, with the port that the scheme stands for if there is none."""
    scheme = scheme.lower()
    return scheme, host.lower(), port or _PORTS.get(scheme, 0)


def check_secure(target: Origin, allow_http: bool) -> None:
    """Raises unless a token may be sent there."""
    scheme, host, _ = target
    if scheme == "https" or (scheme == "http" and (allow_http or _is_loopback(host))):
        return
    message = f"a token is not sent to {scheme}://{host} in the clear; use https, or allow_http if you must"
    raise Failure("URL_INSECURE", "FAILED_PRECONDITION", message).error()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback and (address.version == 4 or address == ipaddress.IPv6Address("::1"))


def wants_nonce(challenges: Iterable[str]) -> bool:
    """Whether a WWW-Authenticate header asks for a proof with the nonce that comes with it."""
    return any(_NONCE_WANTED.search(challenge) for challenge in challenges)


@dataclass(slots=True)
class Exchange:
    """One request of the application: what it was sent with, and what was done about the answers."""

    origin: Origin
    token: Token | None = None
    """What it was sent with last."""
    signed: tuple[str, str] | None = None
    """Method and URL that the proof was made for, if there is one."""
    replaced: bool = False
    """The token was reported."""
    nonce_given: bool = False
    """It was sent again with a nonce."""
    signed_again: bool = False
    """It was sent again with a proof for where a redirect led."""
    private: set[str] = field(default_factory=lambda: {"authorization", "dpop"})
    """Names of the headers that belong to the API's origin, in lower case."""

    def with_token(self, token: Token, given: Mapping[str, str]) -> dict[str, str]:
        """The headers to set for this token. Raises if the request lacks a header that each call must have."""
        _headers.check(token, given)
        self.token = token
        fixed = {header.name: header.value for header in token.headers if not header.per_call}
        self.private.update(name.lower() for name in fixed)
        return {"Authorization": token.authorization, **fixed}

    def carried(self, authorization: str | None) -> bool:
        """Whether a request with that Authorization header had the token: one that was redirected there and back has
        not, and says nothing about it."""
        return self.token is not None and authorization == self.token.authorization

    def remedy(self, method: str, url: str, challenges: Iterable[str]) -> str | None:
        """What to do about a 401 to this request: ``"sign"`` anew and send, ``"replace"`` the token, or nothing. Each
        happens at most once, whatever the answers are."""
        if self.signed is not None:
            if wants_nonce(challenges):
                # Whatever is wrong then, it is not the token.
                given, self.nonce_given = self.nonce_given, True
                return None if given else "sign"
            if not self.signed_again and self.signed != (method, url):
                self.signed_again = True
                return "sign"
        if not self.replaced:
            self.replaced = True
            return "replace"
        return None


class Nonces:
    """The newest DPoP nonce of each origin (RFC 9449 section 8.2)."""

    def __init__(self) -> None:
        self._newest: dict[Origin, str] = {}

    def note(self, target: Origin, nonce: str | None) -> None:
        """Remembers the value of a DPoP-Nonce header, if there was one."""
        if nonce:
            self._newest[target] = nonce

    def of(self, target: Origin) -> str:
        """What to sign with; empty without one."""
        return self._newest.get(target, "")
