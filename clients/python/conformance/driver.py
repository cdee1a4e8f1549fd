"""The conformance driver: one JSON command a line on standard input, one answer a line on standard output."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import columns

import bearerd


def token_json(token: bearerd.Token) -> dict[str, Any]:
    """A token with everything in it."""
    names = ("id", "access_token", "authorization", "token_type", "issued_at", "expires_at", "scope", "proof_required")
    parts = ("name", "value", "per_call", "pattern")
    headers = [{part: getattr(header, part) for part in parts} for header in token.headers]
    return {**{name: getattr(token, name) for name in names}, "headers": headers}


def error_json(error: Exception) -> dict[str, Any]:
    """The answer to a command that failed."""
    if isinstance(error, bearerd.BearerdError):
        details = {"reason": error.reason, "code": error.code, "retry_after_s": error.retry_after}
        return {"ok": False, **details, "message": error.message}
    details = {"reason": type(error).__name__, "code": "UNKNOWN", "retry_after_s": None}
    return {"ok": False, **details, "message": str(error)}


class Driver:
    """Carries out commands in one column. Each method is a command."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer to one command."""
        do = str(command.pop("do", ""))
        carry_out = getattr(self, f"do_{do}", None)
        if carry_out is None:
            return {"ok": False, "reason": "UNKNOWN_COMMAND"}
        try:
            return {"ok": True, **carry_out(**command)}
        except Exception as error:
            if not isinstance(error, bearerd.BearerdError):
                logging.getLogger("driver").exception("%s", do)
            return error_json(error)

    def do_open(self, socket: str | None = None, allow_http: bool = False) -> dict[str, Any]:
        self._column.open(socket, allow_http)
        return {}

    def do_token(
        self, client: str, min_validity_s: float | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        timeout = {} if timeout_s is None else {"timeout": timeout_s}
        return {"token": token_json(self._column.token(client, min_validity=min_validity_s, **timeout))}

    def do_read(self, client: str, readers: int, times: int) -> dict[str, Any]:
        ids, failures = self._column.read(client, readers, times)
        return {"reads": readers * times, "ids": sorted(ids), "failures": failures}

    def do_report(self, client: str, id: str) -> dict[str, Any]:
        replacement = self._column.replace(client, id)
        return {"rejection": replacement.rejection.name, "token": token_json(replacement.token)}

    def do_headers(self, client: str, set: dict[str, str] | None = None) -> dict[str, Any]:
        return {"headers": self._column.headers(client, set or {})}

    def do_request(
        self,
        client: str,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: str | None = None,
        stream_body: bool = False,
        follow: bool = False,
    ) -> dict[str, Any]:
        status, text, received = self._column.request(client, method, url, headers or {}, body, stream_body, follow)
        return {"status": status, "body": text, "headers": {name.lower(): value for name, value in received.items()}}

    def do_burst(
        self, client: str, method: str, url: str, headers: dict[str, str] | None = None, count: int = 1
    ) -> dict[str, Any]:
        statuses, failures = self._column.burst(client, method, url, headers or {}, count)
        return {"statuses": statuses, "failures": failures}

    def do_describe(self, client: str) -> dict[str, Any]:
        return {"text": self._column.describe(client)}

    def do_close(self) -> dict[str, Any]:
        self._column.close()
        return {}

    def do_bench(self, client: str, reads: int) -> dict[str, Any]:
        return {"ns_per_read": self._column.bench(client, reads)}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in columns.COLUMNS:
        print(f"usage: driver.py {'|'.join(columns.COLUMNS)}", file=sys.stderr)
        return 2
    # Not the HTTP libraries' own: httpcore logs all headers.
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("bearerd").setLevel(logging.DEBUG)
    driver = Driver(columns.COLUMNS[sys.argv[1]]())
    for line in sys.stdin:
        print(json.dumps(driver.answer(json.loads(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
