"""The columns of the conformance matrix: this library with requests, with httpx, and with asyncio."""

from __future__ import annotations

import asyncio
import collections
import pprint
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import requests

import bearerd
import bearerd.aio
import bearerd.httpx
import bearerd.requests

POOL = 100
"""As many connections to the API as requests are sent at once."""


def texts_of(token: bearerd.Token, auth: object, client: object) -> str:
    """All text forms in which they could end up in a log."""
    replacement = bearerd.Replacement(token, bearerd.Rejection.REPLACED)
    forms = [repr(token), str(token), f"{token}", "%s %r" % (token, token), pprint.pformat([token])]
    return "\n".join([*forms, repr(replacement), repr(auth), repr(client)])


class Threads:
    """What requests and httpx.Client have in common: the synchronous broker."""

    def __init__(self) -> None:
        self._broker: bearerd.Broker | None = None
        self._sessions: dict[str, Any] = {}
        self._allow_http = False

    def session(self, client: bearerd.Client) -> Any:
        """A session of the HTTP library for one client."""
        raise NotImplementedError

    def send(self, session: Any, method: str, url: str, headers: dict[str, str], body: Any, follow: bool) -> Any:
        """The response to one request."""
        raise NotImplementedError

    def open(self, socket: str | None, allow_http: bool) -> None:
        self._broker = bearerd.Broker(socket)
        self._sessions = {}
        self._allow_http = allow_http

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()
        self._sessions = {}
        if self._broker is not None:
            self._broker.close()

    def client(self, name: str) -> bearerd.Client:
        assert self._broker is not None
        return self._broker.client(name)

    def token(self, client: str, **options: Any) -> bearerd.Token:
        return self.client(client).token(**options)

    def replace(self, client: str, token_id: str) -> bearerd.Replacement:
        return self.client(client).replace(token_id)

    def headers(self, client: str, per_call: dict[str, str]) -> dict[str, str]:
        return self.client(client).headers(per_call)

    def read(self, client: str, readers: int, times: int) -> tuple[set[str], dict[str, int]]:
        ids: set[str] = set()
        failures: collections.Counter[str] = collections.Counter()
        lock = threading.Lock()
        start = threading.Barrier(readers)

        def reader() -> None:
            start.wait()
            for _ in range(times):
                try:
                    token_id = self.token(client).id
                except bearerd.BearerdError as error:
                    with lock:
                        failures[error.reason] += 1
                else:
                    ids.add(token_id)

        threads = [threading.Thread(target=reader) for _ in range(readers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ids, dict(failures)

    def _session(self, client: str) -> Any:
        if client not in self._sessions:
            self._sessions[client] = self.session(self.client(client))
        return self._sessions[client]

    def request(
        self, client: str, method: str, url: str, headers: dict[str, str], body: str | None, once: bool, follow: bool
    ) -> tuple[int, str, dict[str, str]]:
        content = _once(body) if once else None if body is None else body.encode()
        response = self.send(self._session(client), method, url, headers, content, follow)
        return response.status_code, response.text, dict(response.headers)

    def burst(
        self, client: str, method: str, url: str, headers: dict[str, str], count: int
    ) -> tuple[dict[str, int], dict[str, int]]:
        session = self._session(client)
        statuses: collections.Counter[str] = collections.Counter()
        failures: collections.Counter[str] = collections.Counter()
        with ThreadPoolExecutor(count) as pool:
            sent = [pool.submit(self.send, session, method, url, headers, None, False) for _ in range(count)]
        for future in sent:
            _count(future.result, statuses, failures)
        return dict(statuses), dict(failures)

    def describe(self, client: str) -> str:
        return texts_of(self.token(client), self._session(client).auth, self.client(client))

    def bench(self, client: str, reads: int) -> float:
        read = self.client(client).token
        for _ in range(1000):
            read()
        begun = time.perf_counter()
        for _ in range(reads):
            read()
        return (time.perf_counter() - begun) / reads * 1e9


class Requests(Threads):
    """requests.Session."""

    def session(self, client: bearerd.Client) -> requests.Session:
        session = requests.Session()
        session.auth = bearerd.requests.BearerdAuth(client, allow_http=self._allow_http)
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=POOL)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def send(self, session: Any, method: str, url: str, headers: dict[str, str], body: Any, follow: bool) -> Any:
        try:
            return session.request(method, url, headers=headers, data=body, allow_redirects=follow, timeout=30)
        except requests.exceptions.InvalidHeader as error:
            # requests refuses some values by itself, before it asks the library.
            raise bearerd.BearerdError(str(error), reason="HEADER_INVALID", code="INVALID_ARGUMENT") from error


class Httpx(Threads):
    """httpx.Client."""

    def session(self, client: bearerd.Client) -> httpx.Client:
        auth = bearerd.httpx.BearerdAuth(client, allow_http=self._allow_http)
        return httpx.Client(auth=auth, timeout=30, limits=httpx.Limits(max_connections=POOL))

    def send(self, session: Any, method: str, url: str, headers: dict[str, str], body: Any, follow: bool) -> Any:
        return session.request(method, url, headers=headers, content=body, follow_redirects=follow)


class Asyncio:
    """httpx.AsyncClient with bearerd.aio."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._broker: bearerd.aio.Broker | None = None
        self._sessions: dict[str, httpx.AsyncClient] = {}
        self._allow_http = False

    def open(self, socket: str | None, allow_http: bool) -> None:
        self._broker = bearerd.aio.Broker(socket)
        self._sessions = {}
        self._allow_http = allow_http

    def close(self) -> None:
        self._runner.run(self._close())

    async def _close(self) -> None:
        for session in self._sessions.values():
            await session.aclose()
        self._sessions = {}
        if self._broker is not None:
            await self._broker.aclose()

    def client(self, name: str) -> bearerd.aio.Client:
        assert self._broker is not None
        return self._broker.client(name)

    def token(self, client: str, **options: Any) -> bearerd.Token:
        return self._runner.run(self.client(client).token(**options))

    def replace(self, client: str, token_id: str) -> bearerd.Replacement:
        return self._runner.run(self.client(client).replace(token_id))

    def headers(self, client: str, per_call: dict[str, str]) -> dict[str, str]:
        return self._runner.run(self.client(client).headers(per_call))

    def read(self, client: str, readers: int, times: int) -> tuple[set[str], dict[str, int]]:
        ids: set[str] = set()
        failures: collections.Counter[str] = collections.Counter()

        async def reader() -> None:
            for _ in range(times):
                try:
                    ids.add((await self.client(client).token()).id)
                except bearerd.BearerdError as error:
                    failures[error.reason] += 1

        async def everybody() -> None:
            await asyncio.gather(*(reader() for _ in range(readers)))

        self._runner.run(everybody())
        return ids, dict(failures)

    def _session(self, client: str) -> httpx.AsyncClient:
        if client not in self._sessions:
            auth = bearerd.httpx.BearerdAuth(self.client(client), allow_http=self._allow_http)
            limits = httpx.Limits(max_connections=POOL)
            self._sessions[client] = httpx.AsyncClient(auth=auth, timeout=30, limits=limits)
        return self._sessions[client]

    def request(
        self, client: str, method: str, url: str, headers: dict[str, str], body: str | None, once: bool, follow: bool
    ) -> tuple[int, str, dict[str, str]]:
        async def send() -> httpx.Response:
            content: Any = _async_once(body) if once else None if body is None else body.encode()
            return await self._session(client).request(
                method, url, headers=headers, content=content, follow_redirects=follow
            )

        response = self._runner.run(send())
        return response.status_code, response.text, dict(response.headers)

    def burst(
        self, client: str, method: str, url: str, headers: dict[str, str], count: int
    ) -> tuple[dict[str, int], dict[str, int]]:
        statuses: collections.Counter[str] = collections.Counter()
        failures: collections.Counter[str] = collections.Counter()

        async def send() -> list[Any]:
            session = self._session(client)
            requests = (session.request(method, url, headers=headers) for _ in range(count))
            return await asyncio.gather(*requests, return_exceptions=True)

        for outcome in self._runner.run(send()):
            _count(lambda outcome=outcome: _unwrap(outcome), statuses, failures)
        return dict(statuses), dict(failures)

    def describe(self, client: str) -> str:
        return texts_of(self.token(client), self._session(client).auth, self.client(client))

    def bench(self, client: str, reads: int) -> float:
        async def measure() -> float:
            read = self.client(client).token
            for _ in range(1000):
                await read()
            begun = time.perf_counter()
            for _ in range(reads):
                await read()
            return (time.perf_counter() - begun) / reads * 1e9

        return self._runner.run(measure())


def _once(body: str | None) -> Iterator[bytes]:
    """A body that can be read only once."""
    yield (body or "").encode()


async def _async_once(body: str | None) -> Any:
    yield (body or "").encode()


def _unwrap(outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _count(outcome: Callable[[], Any], statuses: collections.Counter[str], failures: collections.Counter[str]) -> None:
    try:
        statuses[str(outcome().status_code)] += 1
    except bearerd.BearerdError as error:
        failures[error.reason] += 1
    except Exception as error:
        failures[type(error).__name__] += 1


COLUMNS: dict[str, Any] = {"requests": Requests, "httpx": Httpx, "asyncio": Asyncio}
