"""What an ended call says: the google.rpc details of its status."""

from __future__ import annotations

import time
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from . import _api
from ._errors import Failure

FAIL_CLOSED = frozenset(
    {
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "INVALID_ARGUMENT",
        "FAILED_PRECONDITION",
        "RESOURCE_EXHAUSTED",
        "UNIMPLEMENTED",
    }
)
"""The end of a stream with one of these takes the token away as well: the daemon says that there is none to have."""

_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}


def failure_of(call: Any, socket: str) -> Failure:
    """The failure of a call that ended; ``socket`` is where it went."""
    code: str = call.code().name
    text: str = call.details() or ""
    try:
        info, retry_delay = _details(call.trailing_metadata() or ())
    except DecodeError:  # Not from bearerd.
        info, retry_delay = None, None
    if info is not None:
        next_attempt_at = None if retry_delay is None else time.time() + retry_delay
        return Failure(info.reason, code, text, next_attempt_at)
    # Without the daemon's own details it comes from gRPC: there was no connection, or no longer.
    if code == "DEADLINE_EXCEEDED":
        return silent(socket)
    if code in ("UNAVAILABLE", "CANCELLED", "OK"):
        return unreachable(socket, text or "the connection was closed")
    return Failure(code, code, text or f"the call to {socket} ended with {code}")


def failure_told(unavailable: Any) -> Failure:
    """The failure in a bearerd.v1.Unavailable."""
    at = _api.seconds(unavailable.next_attempt_at) if unavailable.HasField("next_attempt_at") else None
    return Failure(unavailable.reason, _NAMES.get(unavailable.code, "UNKNOWN"), unavailable.message, at)


def unreachable(socket: str, why: str) -> Failure:
    """There is no daemon to talk to."""
    message = f"no bearerd answers on {socket} ({why}); start the daemon, or set BEARERD_SOCKET to where its socket is"
    return Failure("DAEMON_UNREACHABLE", "UNAVAILABLE", message)


def silent(socket: str) -> Failure:
    """There is a daemon, and it says nothing."""
    return unreachable(socket, "it did not answer in time")


def _details(metadata: Any) -> tuple[Any, float | None]:
    """The daemon's ErrorInfo and the seconds of RetryInfo, where the metadata have them."""
    info, retry_delay = None, None
    for key, value in metadata:
        if key != "grpc-status-details-bin":
            continue
        for detail in _api.Status.FromString(value).details:
            if detail.type_url.endswith("/google.rpc.ErrorInfo"):
                candidate = _api.ErrorInfo.FromString(detail.value)
                info = candidate if candidate.domain == "bearerd" else info
            elif detail.type_url.endswith("/google.rpc.RetryInfo"):
                retry_delay = _api.seconds(_api.RetryInfo.FromString(detail.value).retry_delay)
    return info, retry_delay
