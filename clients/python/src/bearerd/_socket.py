"""Where the daemon's socket is, by the rules of the ``bearerd`` command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

SYSTEM = "/run/bearerd/bearerd.sock"
"""The socket of the system service."""


def find(environment: Mapping[str, str] = os.environ, system: str = SYSTEM) -> str:
    """``$BEARERD_SOCKET``; else the system service's if it is there; else the user's if that is there."""
    named = environment.get("BEARERD_SOCKET")
    if named:
        return named
    own = _of_user(environment)
    if own is not None and not os.path.lexists(system) and os.path.lexists(own):
        return own
    return system


def _of_user(environment: Mapping[str, str]) -> str | None:
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        return os.path.join(runtime, "bearerd", "bearerd.sock")
    home = environment.get("HOME", "")
    if os.path.isabs(home):
        return os.path.join(home, ".bearerd", "bearerd", "bearerd.sock")
    return None


def target(path: str) -> str:
    """The gRPC target of a socket. A target is a URI: what has a meaning there must be quoted in a path."""
    return "unix:" + quote(os.path.abspath(path))
