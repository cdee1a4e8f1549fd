"""What the conformance suite does not show of the adapters."""

import asyncio
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import httpx
import pytest
import requests

import bearerd
import bearerd.aio
import bearerd.httpx
import bearerd.requests


class Api(BaseHTTPRequestHandler):
    """Notes what came. /refuse answers 401 to every token, other paths to those that `refused` has; /to redirects."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append((self.path, self.headers.get("Authorization"), self.headers.get("X-Partner"), body))
        status, location = 200, None
        if self.path.startswith("/to?"):
            status, location = 307, unquote(self.path[4:])
        elif self.path == "/refuse" or self.headers.get("Authorization") in self.server.refused:
            status = 401
        answer = json.dumps(dict(self.headers)).encode()
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def serve():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.calls, server.refused = [], set()
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    return server


@pytest.fixture
def api():
    with serve() as server:
        yield server
        server.shutdown()


@pytest.fixture
def elsewhere():
    with serve() as server:
        yield server
        server.shutdown()


def with_requests(client, method, url, body=None):
    with requests.Session() as session:
        session.auth = bearerd.requests.BearerdAuth(client)
        response = session.request(method, url, data=body, timeout=10)
        response.content  # noqa: B018
        return response


def with_httpx(client, method, url, body=None):
    with httpx.Client(auth=bearerd.httpx.BearerdAuth(client), follow_redirects=True) as http:
        return http.request(method, url, content=body)


def with_async_httpx(client, method, url, body=None):
    async def send():
        async with httpx.AsyncClient(auth=bearerd.httpx.BearerdAuth(client), follow_redirects=True) as http:
            return await http.request(method, url, content=body)

    return asyncio.run(send())


@pytest.fixture(params=[with_requests, with_httpx, with_async_httpx])
def send(request):
    return request.param


def test_fixed_headers_and_token_stay_at_their_origin(send, broker, api, elsewhere):
    response = send(broker.client("demo"), "GET", f"{api.url}/to?{elsewhere.url}/there")
    assert response.status_code == 200
    assert [call[2] for call in api.calls] == ["acme"]
    assert elsewhere.calls == [("/there", None, None, b"")]


def test_there_and_back_again(send, broker, api, elsewhere):
    client = broker.client("demo")
    before = client.token().id
    response = send(client, "GET", f"{api.url}/to?{elsewhere.url}/to?{api.url}/refuse")
    assert response.status_code == 401
    assert [call[1:3] for call in elsewhere.calls] == [(None, None)]
    # It came back without a token: no reason to report one.
    assert [call[0] for call in api.calls][1:] == ["/refuse"]
    assert client.token().id == before


def test_replayed_once_and_no_more(send, broker, api):
    client = broker.client("demo")
    before = client.token().id
    assert send(client, "POST", f"{api.url}/refuse", b"body").status_code == 401
    assert [call[3] for call in api.calls] == [b"body", b"body"]
    assert api.calls[0][1] != api.calls[1][1]
    assert client.token().id != before


def test_token_replaced_before_a_redirect_is_followed(send, broker, api):
    client = broker.client("demo")
    api.refused.add(client.token().authorization)
    response = send(client, "GET", f"{api.url}/to?/there")
    # The redirect itself is answered without a look at the token.
    assert response.status_code == 200
    assert api.calls[-1][1] == client.token().authorization


def test_redirect_after_a_replay_has_the_new_token(broker, api):
    class First401(requests.adapters.HTTPAdapter):
        """Answers the first request with 401, as an API that redirects only those it knows."""

        sent = 0

        def send(self, request, **options):
            self.sent += 1
            response = super().send(request, **options)
            if self.sent == 1:
                response.status_code = 401
                del response.headers["Location"]
            return response

    client = broker.client("demo")
    with requests.Session() as session:
        session.auth = bearerd.requests.BearerdAuth(client)
        session.mount("http://", First401())
        assert session.get(f"{api.url}/to?/there", timeout=10).status_code == 200
    assert [call[0] for call in api.calls] == ["/to?/there", "/to?/there", "/there"]
    assert api.calls[0][1] != api.calls[1][1] == api.calls[2][1]


def test_file_is_wound_back(broker, api):
    with_requests(broker.client("demo"), "POST", f"{api.url}/refuse", io.BytesIO(b"a file"))
    assert [call[3] for call in api.calls] == [b"a file", b"a file"]


def test_stream_that_may_be_used_up_is_not_sent_again(broker, api):
    with_httpx(broker.client("demo"), "POST", f"{api.url}/refuse", io.BytesIO(b"a file"))
    assert [call[3] for call in api.calls] == [b"a file"]


def test_authorization_of_the_application_is_replaced(broker, api):
    client = broker.client("demo")
    with requests.Session() as session:
        session.auth = bearerd.requests.BearerdAuth(client)
        session.get(api.url, headers={"authorization": "Basic x", "x-partner": "evil"}, timeout=10)
    with httpx.Client(auth=bearerd.httpx.BearerdAuth(client)) as http:
        http.get(api.url, headers={"authorization": "Basic x", "x-partner": "evil"})
    assert [call[1:3] for call in api.calls] == [(client.token().authorization, "acme")] * 2


@pytest.mark.parametrize("broker_type", [bearerd.Broker, bearerd.aio.Broker])
def test_httpx_auth_takes_either_kind_of_client(broker_type, socket, api):
    broker = broker_type(socket)
    for send in (with_httpx, with_async_httpx):
        assert send(broker.client("demo"), "GET", api.url).status_code == 200
    broker._close()


def test_trace_of_the_application_is_called_too(broker, api):
    events = []
    with httpx.Client(auth=bearerd.httpx.BearerdAuth(broker.client("demo"))) as http:
        http.get(api.url, extensions={"trace": lambda event, info: events.append(event)})
    assert "http11.send_request_headers.started" in events


def test_no_event_loop_is_blocked_by_the_first_token(socket, api):
    async def scenario():
        with bearerd.Broker(socket) as broker:
            auth = bearerd.httpx.BearerdAuth(broker.client("slow"), timeout=0.2)
            async with httpx.AsyncClient(auth=auth) as http:
                request = asyncio.create_task(http.get(api.url))
                turns = 0
                while not request.done():
                    await asyncio.sleep(0.001)
                    turns += 1
            return request.exception().reason, turns

    reason, turns = asyncio.run(scenario())
    assert reason == "TOKEN_PENDING" and turns > 20
    assert api.calls == []


def test_text_forms_of_the_adapters(broker):
    client = broker.client("demo")
    client.token()
    forms = repr(bearerd.requests.BearerdAuth(client)) + repr(bearerd.httpx.BearerdAuth(client)) + repr(broker)
    assert "demo" in forms and "secret" not in forms
