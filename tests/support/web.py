"""HTTP servers on loopback ports that the kernel chooses."""

import dataclasses
import http.server
import json
import socket
import threading
import urllib.parse

from .waiting import PATIENCE


@dataclasses.dataclass
class Request:
    """A request as it came; names of headers in lower case."""

    method: str
    target: str
    headers: dict
    body: bytes

    @property
    def path(self):
        return urllib.parse.urlsplit(self.target).path

    @property
    def form(self):
        return dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclasses.dataclass
class Answer:
    """A response; the body is sent as JSON."""

    status: int = 200
    body: object = None
    headers: dict = dataclasses.field(default_factory=dict)


# In place of an answer: the connection is closed without a word.
SILENCE = None


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # Of ThreadingMixIn: do not wait for connections that are kept open.
    block_on_close = False
    # A burst must not meet a full queue.
    request_queue_size = 512

    def handle_error(self, *_):
        """Callers that go away, killed ones for instance, are no errors."""


class Site:
    """Serves what `self.answer(request)` returns, on a thread for each connection."""

    def __init__(self):
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 4 * PATIENCE
            disable_nagle_algorithm = True

            def handle_any(self):
                site._serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        self._http = _Server(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def answer(self, request):
        raise NotImplementedError

    def _serve(self, handler):
        body = _body(handler)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        answer = self.answer(Request(handler.command, handler.path, headers, body))
        if answer is SILENCE:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        data = json.dumps(answer.body if answer.body is not None else {}).encode()
        handler.send_response(answer.status)
        fixed = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        for name, value in (fixed | answer.headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    def close(self):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def _body(handler):
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    parts = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        pass
    return b"".join(parts)
