"""A daemon whose issuers misbehave, each in a way of its own: what the status says of each, when it tries again, and that
neither memory nor a client of a good issuer suffers. Standard library only; BEARERD_BIN names the binary."""

import datetime
import gzip
import json
import os
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from test_stock_clients import Daemon

#: Seconds in which anything healthy is over.
PATIENCE = 30
#: What a request may take, as configured below; with room for a slow machine.
ATTEMPT = 2
MIB = 1024 * 1024


def answer(status, body=b"", *headers):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def token(**fields):
    good = {"access_token": "t", "token_type": "Bearer", "expires_in": 3600}
    return answer(200, json.dumps(good | fields).encode(), "Content-Type: application/json")


def error(status, code, *headers):
    return answer(status, json.dumps({"error": code}).encode(), "Content-Type: application/json", *headers)


def said(reply):
    return lambda connection, _: connection.sendall(reply)


def never(connection, over):
    over.wait(PATIENCE)


def a_byte_a_second(connection, over):
    for byte in token():
        if over.wait(1):
            return
        connection.sendall(bytes([byte]))


def endless(connection, over):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    while not over.is_set():
        connection.sendall(b"x" * 65536)


def reset(connection, _):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def half(connection, _):
    connection.sendall(token()[:-20])


def many_headers(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n")


def bomb():
    return answer(200, gzip.compress(b"x" * (256 * MIB), 9), "Content-Encoding: gzip")


def dated(offset):
    then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset)
    text = then.strftime("%a, %d %b %Y %H:%M:%S GMT")
    body = json.dumps({"access_token": "t", "token_type": "Bearer", "expires_in": 3600}).encode()
    return answer(200, body, f"Date: {text}")


class Alternating:
    """Failure, success, failure, ..."""

    def __init__(self):
        self.count = 0

    def __call__(self, connection, _):
        self.count += 1
        connection.sendall(error(503, "temporarily_unavailable") if self.count % 2 else token())


BUSY, INVALID, LOST, REFUSED = "ISSUER_BUSY", "ISSUER_ANSWER_INVALID", "ISSUER_UNREACHABLE", "CREDENTIALS_REFUSED"
#: Name: what the issuer does, the reason, a part of the text, seconds until the next try at least and at most.
FAILING = {
    "silent": (never, LOST, "no complete answer from", 0, 15),
    "slow": (a_byte_a_second, LOST, "no complete answer from", 0, 15),
    "endless": (endless, INVALID, "a body over 1 MiB", 0, 15),
    "bomb": (said(bomb()), INVALID, "1 MiB", 0, 15),
    "headers": (many_headers, LOST, "message head is too large", 0, 15),
    "reset": (reset, LOST, "reset by peer", 0, 15),
    "half": (half, LOST, "broke off", 0, 15),
    "nothing": (said(b""), LOST, "broke off", 0, 15),
    "no-http": (said(b"220 mail.example ESMTP\r\n"), INVALID, "does not speak HTTP", 0, 15),
    "loop": (said(answer(302, b"", "Location: /token")), INVALID, "redirect", 0, 15),
    "html": (said(answer(200, b"<html>login</html>", "Content-Type: text/html")), INVALID, "HTML", 0, 15),
    "no-utf8": (said(answer(200, b'{"access_token":"\xff\xfe"}')), INVALID, "UTF-8", 0, 15),
    "control": (said(token(access_token="a\u0007b")), INVALID, "no header can carry", 0, 15),
    "empty": (said(answer(200)), INVALID, "empty body", 0, 15),
    "no-token": (said(token(access_token="")), INVALID, "empty access_token", 0, 15),
    "storm": (said(error(429, "slow_down")), BUSY, "HTTP 429", 55, 125),
    "wait": (said(error(429, "slow_down", "Retry-After: 600")), BUSY, "HTTP 429", 590, 605),
    "down": (said(error(503, "temporarily_unavailable")), BUSY, "HTTP 503", 0, 15),
    "refused": (said(error(401, "invalid_client")), REFUSED, "invalid_client (check client_id", 25, 35),
}
#: Name: what the issuer does, a part of the warning, the least and the most seconds that the token then lives.
ODD = {
    "text": (said(token(expires_in=" 600 ")), None, 590, 600),
    "null": (said(token(expires_in=None)), "does not say how long", 290, 300),
    "negative": (said(token(expires_in=-5)), "does not say how long", 290, 300),
    "zero": (said(token(expires_in=0)), "does not say how long", 290, 300),
    "words": (said(token(expires_in="soon")), "expires_in", 290, 300),
    "list": (said(token(expires_in=[3600])), "expires_in", 290, 300),
    "fraction": (said(token(expires_in=600.9)), None, 590, 601),
    "huge": (said(token(expires_in=3600 * 24 * 1000)), "implausible; 1 day is used", 86_000, 86_400),
    "ahead": (said(dated(7200)), "s ahead of this machine's", 3590, 3600),
    "behind": (said(dated(-7200)), "s behind this machine's", 3590, 3600),
}


class Issuer:
    """A listener that does the same to everybody."""

    def __init__(self, conduct, certificate=None):
        self.conduct, self.over, self.tls = conduct, threading.Event(), None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.threads = []
        self.accepting = threading.Thread(target=self.accept)
        self.accepting.start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(connection,))
            thread.start()
            self.threads.append(thread)

    def serve(self, connection):
        connection.settimeout(PATIENCE)
        try:
            with connection, self.tls.wrap_socket(connection, server_side=True) if self.tls else connection as stream:
                while not (self.tls is None and self.conduct is reset) and b"client_secret=" not in stream.recv(65536):
                    pass
                self.conduct(stream, self.over)
        except OSError:
            # The daemon hangs up on most of these.
            pass

    def close(self):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.accepting.join(PATIENCE)
        for thread in self.threads:
            thread.join(PATIENCE)


def client(name, port, scheme="http", more=""):
    return f"""
[clients.{name}]
token_url = "{scheme}://127.0.0.1:{port}/token"
client_id = "acme"
client_secret = {{ file = "@DIR@/secret" }}
timeouts = {{ connect = "1s", attempt = "{ATTEMPT}s" }}
required = false
{more}
"""


def memory(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


class HostileIssuers(unittest.TestCase):
    def start(self, issuers, config):
        for issuer in issuers:
            self.addCleanup(issuer.close)
        daemon = Daemon("--log", "warn,bearerd=info", config=config)
        self.addCleanup(daemon.close)
        secret = daemon.directory / "secret"
        secret.write_text("hunter2")
        secret.chmod(0o600)
        return daemon

    def status(self, daemon, settled):
        """The clients by name, once all of them are as they should be."""
        until = time.monotonic() + PATIENCE
        while True:
            # For the first time the secret was perhaps not there yet: that is noticed within seconds.
            clients = {one["name"]: one for one in json.loads(daemon.run("status", "--json").stdout)["clients"]}
            if all(settled(one) for one in clients.values()):
                return clients
            if time.monotonic() > until:
                self.fail(f"not settled: {[one for one in clients.values() if not settled(one)]}")
            time.sleep(0.2)

    def test_each_failure_has_its_state_its_text_and_its_next_try_and_harms_nobody_else(self):
        issuers = {name: Issuer(conduct) for name, (conduct, *_) in FAILING.items()}
        good = Issuer(said(token()))
        config = "".join(client(name, issuer.port) for name, issuer in issuers.items()) + client("good", good.port)
        daemon = self.start([*issuers.values(), good], config)

        def settled(one):
            failure = one.get("last_failure")
            return one["state"] == "FRESH" or (failure and failure["reason"] != "SECRET_UNREADABLE")

        clients = self.status(daemon, settled)
        self.assertEqual(clients["good"]["state"], "FRESH")
        for name, (_, reason, text, least, most) in FAILING.items():
            with self.subTest(name):
                one = clients[name]
                self.assertEqual(one["state"], "REJECTED" if reason == REFUSED else "UNAVAILABLE")
                self.assertEqual(one["last_failure"]["reason"], reason, one)
                self.assertIn(text, one["last_failure"]["text"])
                self.assertNotIn("hunter2", json.dumps(one))
                failed, tries = (datetime.datetime.fromisoformat(at) for at in (one["last_failure"]["at"], one["next_attempt_at"]))
                wait = (tries - failed).total_seconds()
                self.assertTrue(least - 1 <= wait <= most + 1, f"the next try is {wait} s after the failure")
        self.assertLess(memory(daemon.process.pid), 100 * 1024, "KiB at most")

    def test_each_oddity_is_survived_and_said(self):
        issuers = {name: Issuer(conduct) for name, (conduct, *_) in ODD.items()}
        config = "".join(client(name, issuer.port) for name, issuer in issuers.items())
        daemon = self.start(list(issuers.values()), config)
        clients = self.status(daemon, lambda one: one["state"] == "FRESH")
        for name, (_, warning, least, most) in ODD.items():
            with self.subTest(name):
                one = clients[name]
                lives = datetime.datetime.fromisoformat(one["expires_at"]) - datetime.datetime.fromisoformat(one["issued_at"])
                self.assertTrue(least <= lives.total_seconds() <= most + 1, lives)
                if warning:
                    self.assertIn(warning, " ".join(one["warnings"]))
                else:
                    self.assertEqual(one["warnings"], [])

    def test_success_after_failure_after_success_never_takes_the_token_away(self):
        issuer = Issuer(Alternating())
        daemon = self.start([issuer], client("demo", issuer.port))
        first = self.status(daemon, lambda one: one["state"] == "FRESH")["demo"]
        daemon.run("refresh", "demo")
        failed = self.status(daemon, lambda one: one["state"] == "DEGRADED")["demo"]
        self.assertEqual((failed["token_id"], failed["last_failure"]["reason"]), (first["token_id"], BUSY))
        self.assertEqual(daemon.run("token", "demo").stdout, "t\n")
        again = self.status(daemon, lambda one: one["state"] == "FRESH")["demo"]
        self.assertEqual(again["consecutive_failures"], 0)

    def test_certificates_that_do_not_count_are_named(self):
        with tempfile.TemporaryDirectory() as folder:

            def certificate(name, subject, address, days):
                key, asked, made = (os.path.join(folder, f"{name}.{kind}") for kind in ("key", "csr", "pem"))
                new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
                new += ["-subj", f"/CN={subject}", "-addext", f"subjectAltName={address}", "-out", asked]
                signed = ["x509", "-req", "-in", asked, "-signkey", key, "-days", days, "-copy_extensions", "copy"]
                for words in (new, [*signed, "-out", made]):
                    subprocess.run(["openssl", *words], check=True, capture_output=True)
                return made, key

            expired = certificate("expired", "issuer", "IP:127.0.0.1", "-1")
            other = certificate("other", "other", "DNS:other.example", "1")
            unknown = certificate("unknown", "issuer", "IP:127.0.0.1", "1")
            made = {"expired": expired, "other": other, "unknown": unknown}
            issuers = {name: Issuer(said(token()), certificate) for name, certificate in made.items()}
            config = "".join(
                client(name, issuers[name].port, "https", f'tls = {{ ca_file = "{ca}" }}')
                for name, ca in (("expired", expired[0]), ("other", other[0]), ("unknown", expired[0]))
            )
            daemon = self.start(list(issuers.values()), config)
            clients = self.status(
                daemon, lambda one: one.get("last_failure") and one["last_failure"]["reason"] != "SECRET_UNREADABLE"
            )
        for name, text in (("expired", "expired"), ("other", "not for 127.0.0.1"), ("unknown", "set tls.ca_file")):
            with self.subTest(name):
                failure = clients[name]["last_failure"]
                self.assertEqual((failure["reason"], text in failure["text"]), (LOST, True), failure)


if __name__ == "__main__":
    unittest.main()
