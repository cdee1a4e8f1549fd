"""The token as applications see it."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field
from typing import Any

from ._api import seconds


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """A header that the API wants on each call beside Authorization."""

    name: str
    value: str = field(repr=False)
    """The fixed value; empty with ``per_call``."""
    per_call: bool
    """The application gives the value, anew for each call."""
    pattern: str
    """Regular expression that a per-call value must match as a whole; empty: any."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and what is needed to use it. Its text forms show neither it nor the Authorization header."""

    client: str
    """Name of the client in the daemon's configuration."""
    id: str
    """Tells two tokens apart. Safe to log."""
    access_token: str = field(repr=False)
    """The token itself. Secret."""
    authorization: str = field(repr=False)
    """The complete value of the Authorization header. Secret."""
    token_type: str
    """Normally ``"Bearer"`` (RFC 6750); ``"DPoP"`` for a token bound to a key (RFC 9449)."""
    issued_at: float
    """When the request that brought the token was sent, Unix time in seconds."""
    expires_at: float
    """When it stops being valid, Unix time in seconds."""
    scope: str
    """The granted scope, space separated (RFC 6749 section 3.3); empty if the issuer did not say."""
    headers: tuple[RequestHeader, ...]
    """What else each API call must carry."""
    proof_required: bool
    """Bound to a key: each API call needs a proof of its own (RFC 9449)."""
    usable_until: float = field(init=False, repr=False, compare=False)
    """Until when it is handed out to those who ask for no other validity: the smaller of 30 s and a tenth of its life
    before it expires. Unix time in seconds."""

    def __post_init__(self) -> None:
        margin = min(30.0, (self.expires_at - self.issued_at) / 10)
        object.__setattr__(self, "usable_until", self.expires_at - max(0.0, margin))

    def usable(self, min_validity: float = 0.0) -> bool:
        """Whether it is valid for the margin and for ``min_validity`` seconds from now."""
        return time.time() < min(self.usable_until, self.expires_at - min_validity)


class Rejection(enum.Enum):
    """What became of the report that an API refused a token."""

    UNSPECIFIED = 0
    """The daemon did not say."""
    REPLACED = 1
    """The token was retired and replaced."""
    ALREADY_REPLACED = 2
    """A newer token was there already."""
    TOO_YOUNG = 3
    """The token is less than 5 s old: clocks may differ, try it again. Same token."""
    RATE_LIMITED = 4
    """Too many renewals were forced. Same token."""
    SAME_TOKEN = 5
    """The issuer was asked and returned the very same token. Same token."""

    @classmethod
    def _missing_(cls, value: object) -> Rejection:
        # A later daemon may say more.
        return cls.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Replacement:
    """The answer to the report that an API refused a token."""

    token: Token
    """The token to use now. Its ``id`` says whether it is another one."""
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof that an API call comes from where the token's key is (DPoP, RFC 9449). For one call, within seconds."""

    token: Token
    """The token that the proof goes with."""
    proof: str = field(repr=False)
    """The value of the ``DPoP`` header."""


def token_of(message: Any) -> Token:
    """The token in a bearerd.v1.Token."""
    return Token(
        client=message.client,
        id=message.id,
        access_token=message.access_token,
        authorization=message.authorization,
        token_type=message.token_type,
        issued_at=seconds(message.issued_at),
        expires_at=seconds(message.expires_at),
        scope=message.scope,
        headers=tuple(RequestHeader(h.name, h.value, h.per_call, h.pattern) for h in message.headers),
        proof_required=message.proof_required,
    )
