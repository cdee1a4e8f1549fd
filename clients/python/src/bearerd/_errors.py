"""The one error of this library, and the record of a failure that it is made from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any


class BearerdError(Exception):
    """Why there is no token, or why a request was not sent.

    ``reason`` is stable and made for programs: the daemon's own (``CLIENT_UNKNOWN``, ``ISSUER_UNREACHABLE``, …, see
    token_broker.proto), or one of the library's: ``DAEMON_UNREACHABLE``, ``TOKEN_PENDING``, ``CLOSED``,
    ``HEADER_MISSING``, ``HEADER_INVALID``, ``URL_INSECURE``, ``PROOF_REQUIRED``.
    """

    reason: str
    """What happened, for programs."""
    code: str
    """The name of the gRPC status code, such as ``"NOT_FOUND"``."""
    message: str
    """What happened and what to do, for a person. Never contains a token."""
    retry_after: float | None
    """After how many seconds it makes sense to try again; None when that is not known."""

    def __init__(self, message: str, *, reason: str, code: str, retry_after: float | None = None) -> None:
        super().__init__(f"{message} [{reason}]")
        self.message = message
        self.reason = reason
        self.code = code
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments would otherwise get lost on the way between processes.
        return _restore, (self.message, self.reason, self.code, self.retry_after)


def _restore(message: str, reason: str, code: str, retry_after: float | None) -> BearerdError:
    return BearerdError(message, reason=reason, code=code, retry_after=retry_after)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as it is remembered. Each reader gets an exception of its own, with its own traceback."""

    reason: str
    code: str
    message: str
    next_attempt_at: float | None = None
    """When trying again makes sense, Unix time in seconds."""

    def error(self) -> BearerdError:
        """The exception to raise now."""
        retry_after = None if self.next_attempt_at is None else max(0.0, self.next_attempt_at - time.time())
        return BearerdError(self.message, reason=self.reason, code=self.code, retry_after=retry_after)


CLOSED = Failure("CLOSED", "CANCELLED", "the broker was closed")
