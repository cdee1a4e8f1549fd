"""The headers of an API call beside Authorization."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ._errors import Failure
from ._token import RequestHeader, Token

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check(token: Token, given: Mapping[str, str]) -> None:
    """Raises unless all per-call headers of the token are among those given, with values that fit."""
    values = {name.lower(): value for name, value in given.items()}
    for header in token.headers:
        if header.per_call:
            failure = _problem(token.client, header, values.get(header.name.lower()))
            if failure is not None:
                raise failure.error()


def complete(token: Token, given: Mapping[str, str]) -> dict[str, str]:
    """All headers of one API call but for Authorization and the proof. Raises as :func:`check` does."""
    check(token, given)
    fixed = {header.name: header.value for header in token.headers if not header.per_call}
    taken = {name.lower() for name in fixed} | {"authorization", "dpop"}
    return {**{name: value for name, value in given.items() if name.lower() not in taken}, **fixed}


def _problem(client: str, header: RequestHeader, value: str | None) -> Failure | None:
    if value is None:
        return Failure(
            "HEADER_MISSING",
            "FAILED_PRECONDITION",
            f"each call with a token of {client} needs a header {header.name}; the request has none",
        )

    def invalid(why: str) -> Failure:
        return Failure("HEADER_INVALID", "INVALID_ARGUMENT", f"the header {header.name} for {client} {why}")

    if not value.strip():
        return invalid("is empty")
    if _CONTROL.search(value):
        return invalid("has control characters")
    if header.pattern:
        try:
            fits = re.fullmatch(header.pattern, value)
        except re.error:
            return invalid(f"cannot be checked: Python does not understand its pattern {header.pattern}")
        if fits is None:
            return invalid(f"does not match {header.pattern}")
    return None


def proof_required(token: Token) -> Failure:
    """The call cannot be authorized without knowing which it is."""
    message = f"tokens of {token.client} are bound to a key: method and url of the API call are needed as well"
    return Failure("PROOF_REQUIRED", "FAILED_PRECONDITION", message)
