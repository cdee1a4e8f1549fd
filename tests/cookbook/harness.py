"""What the tests of the cookbook stand on: its configurations, an HTTP server for a fake vendor, and the daemon."""

import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import tomllib
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("BEARERD_BIN", ROOT / "target/debug/bearerd")).resolve()
COOKBOOK = ROOT / "docs/cookbook.md"
# Long enough that only something broken reaches it.
PATIENCE = 15


def sections():
    """The sections of the cookbook: title, text, and the TOML in it."""
    parts = re.split(r"(?m)^## (.+)\n", COOKBOOK.read_text())[1:]
    return [
        (title, text, re.findall(r"(?ms)^```toml\n(.*?)^```$", text))
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def blocks():
    """Every TOML of the cookbook, with the name of the client in it."""
    return [(name_of(block), block) for _, _, found in sections() for block in found]


def name_of(block):
    [name] = tomllib.loads(block)["clients"]
    return name


def filled(block, values, directory, origin):
    """A block for a run: its placeholders filled in, its files in `directory`, its issuer at `origin`."""

    def value(found):
        return values[found[0]]

    # Hosts have placeholders of their own, which go away with the host.
    text = re.sub(r'(?m)^((?:token_url|issuer)\s*=\s*)"https://[^/"]+', rf'\1"{origin}', block)
    text = re.sub(r"\bYOUR_[A-Z0-9_]+\b", value, text)
    return re.sub(r'"(/[^"]+)"', rf'"{directory}\1"', text)


class Request:
    """A request as a fake vendor sees it; each field of the form once."""

    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers = method, path, headers
        pairs = urllib.parse.parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body), encoding="ascii")
        self.form = dict(pairs)
        self.repeated = len(self.form) != len(pairs)


class Server:
    """Serves what `vendor.answer(request)` returns: status, headers, and a body that is JSON unless it is text."""

    def __init__(self, vendor):
        self.vendor, self.lock = vendor, threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = PATIENCE

            def do_GET(self):
                server.serve(self)

            def do_POST(self):
                server.serve(self)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self.http.server_port}"
        vendor.origin = self.origin
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def serve(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode()
        with self.lock:
            try:
                request = Request(handler.command, handler.path, handler.headers, body)
                status, headers, body = self.vendor.answer(request)
            except Exception as error:  # noqa: BLE001: a fake that breaks must not look like one that refuses
                self.vendor.broken.append(error)
                status, headers, body = 500, {}, "the fake is broken"
        kind = "text/plain" if isinstance(body, str) else "application/json"
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        handler.send_response(status)
        for name, text in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(data)

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


class Daemon:
    """`bearerd run` with one block of the cookbook, in a directory of its own."""

    def __init__(self, block, values, files, origin):
        self.name = name_of(block)
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-"))
        self.config, self.socket = self.base / "bearerd.toml", self.base / "b.sock"
        self.process = None
        try:
            for path, text in files.items():
                file = self.base / path.lstrip("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch(mode=0o600)
                file.write_text(text)
            self.config.write_text(filled(block, values, self.base, origin))
            self.checked = self.run("check", "--json", "--config", self.config)
        except BaseException:
            self.close()
            raise

    def start(self):
        """Starts it and returns when it serves."""
        words = [BIN, "run", "--config", self.config, "--socket", self.socket]
        self.process = subprocess.Popen(
            words, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        # It says that it serves, or ends; one that does neither is killed.
        watchdog = threading.Timer(PATIENCE, self.process.kill)
        watchdog.start()
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            if " serving " in line:
                break
        watchdog.cancel()
        if not seen or " serving " not in seen[-1]:
            raise RuntimeError(f"the daemon did not start: {''.join(seen)}")
        # Nobody needs the rest of the log, but its pipe must not fill up.
        self.drain = threading.Thread(target=self.process.stderr.read)
        self.drain.start()

    def environment(self):
        # `{ credential = … }` is looked for where systemd would put it.
        return {"PATH": "/usr/bin:/bin", "BEARERD_SOCKET": str(self.socket), "CREDENTIALS_DIRECTORY": str(self.base)}

    def run(self, *words):
        """Runs the command line against it."""
        return subprocess.run(
            [BIN, *words], env=self.environment(), capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def status(self):
        out = self.run("status", "--json")
        if out.returncode != 0:
            raise RuntimeError(out.stderr)
        [client] = json.loads(out.stdout)["clients"]
        return client

    def close(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            if hasattr(self, "drain"):
                self.drain.join()
            self.process.stderr.close()
        shutil.rmtree(self.base)
