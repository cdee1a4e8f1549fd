"""An authorization server inside the box: http://127.0.0.1:8080/token, client credentials, a secret for each client.

What it is to do is read from files in its directory at each request, and each request is one line of JSON in
`requests`, so that the scenario steers and reads it without a call:

mode      what is answered: `up`; `refuse`, the credentials; `busy`, 503; `slow`, as `up` after `delay` seconds
delay     those seconds
lifetime  how long tokens live, in seconds
"""

import http.server
import json
import pathlib
import secrets
import sys
import time
import urllib.parse

DIRECTORY = pathlib.Path(sys.argv[1])
REFUSED = {"error": "invalid_client", "error_description": "nobody here has this secret"}


class Issuer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        client = form.get("client_id", [""])[0]
        proven = form.get("client_secret") == [f"{setting('secret')}-{client}"]
        mode = setting("mode")
        if mode == "slow":
            time.sleep(float(setting("delay")))
        token = f"{setting('token')}-{client}-{secrets.token_urlsafe(24)}"
        status, answer = 200, {"access_token": token, "token_type": "Bearer", "expires_in": int(setting("lifetime"))}
        if mode == "busy":
            status, answer = 503, {"error": "temporarily_unavailable"}
        elif mode == "refuse" or not proven or form.get("grant_type") != ["client_credentials"]:
            status, answer = 401, REFUSED
        with open(DIRECTORY / "requests", "a", encoding="ascii") as log:
            log.write(json.dumps({"client": client, "status": status}) + "\n")
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing: the journal is searched for what must not be in it."""


class Server(http.server.ThreadingHTTPServer):
    # A hundred clients ask at once.
    request_queue_size = 256
    daemon_threads = True


def setting(name):
    return (DIRECTORY / name).read_text().strip()


Server(("127.0.0.1", 8080), Issuer).serve_forever()
