"""The authorization servers: each is started on loopback, and knows its clients in its own way.

A server `register`s a client (again, to change it), and says by `introspect` what it thinks of a token.
"""

import base64
import contextlib
import json
import os
import pathlib
import secrets
import select
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import keys

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "target/issuers"
START_PATIENCE = 120


class Server:
    """What both have in common: a directory with certificates, a process, and calls of its endpoints."""

    def __init__(self, authority):
        self.authority = authority
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="issuer-"))
        self.ca_file = self.directory / "ca.pem"
        self.ca_file.write_text(keys.certificate_pem(authority.certificate))
        key = keys.new_key("ES256")
        (self.directory / "server.key").write_text(keys.pem(key))
        (self.directory / "server.pem").write_text(keys.certificate_pem(authority.issue(key, "localhost")))
        self.tls = ssl.create_default_context(cafile=str(self.ca_file))
        self.log = open(self.directory / "log", "wb")
        self.lock = threading.Lock()
        self.inspector_secret = secrets.token_hex(16)
        self.process = None
        try:
            self.start()
        except BaseException:
            if self.process is not None:
                self.stop()
            raise

    def call(self, url, form=None, body=None, headers=None, method=None):
        """The parsed answer, whatever its status."""
        data = urllib.parse.urlencode(form).encode() if form is not None else body and json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.tls))
        try:
            with opener.open(request, timeout=20) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            with error:
                if method is not None:
                    raise RuntimeError(f"{method} {url}: {error.code} {error.read()[:500]}") from None
                answer = error.read()
        return json.loads(answer or "{}")

    def introspect(self, token):
        basic = base64.b64encode(f"inspector:{self.inspector_secret}".encode()).decode()
        return self.call(self.introspection_url, form={"token": token}, headers={"Authorization": f"Basic {basic}"})

    def stop(self):
        """Ends the process and those that it started: both servers come with a script around them."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        self.log.close()


class OidcProvider(Server):
    """panva's oidc-provider. Its clients are in a file which it reads at each request."""

    # Binds each token to the certificate of its request (RFC 8705).
    BOUND = {"tls_client_certificate_bound_access_tokens": True}

    def start(self):
        self.clients, self.nonces = {}, []
        self.register("inspector", "client_secret_basic", client_secret=self.inspector_secret)
        words = [TOOLS / "venv/bin/node", TOOLS / "oidc-provider/server.mjs", self.directory]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
                                        start_new_session=True)
        ready, _, _ = select.select([self.process.stdout], [], [], START_PATIENCE)
        line = self.process.stdout.readline() if ready else b""
        self.process.stdout.close()
        if not line.startswith(b"{"):
            raise RuntimeError(f"oidc-provider did not start: {(self.directory / 'log').read_text()[-2000:]}")
        said = json.loads(line)
        self.issuer, self.mutual = said["issuer"], said["mutual"]
        self.token_url = f"{self.issuer}/token"
        self.introspection_url = f"{self.issuer}/token/introspection"

    def register(self, client_id, method, algorithm=None, key=None, certificate=None, nonce=False, **metadata):
        """`key` and `certificate`: one, or a list of those that are valid."""
        client = {"client_id": client_id, "grant_types": ["client_credentials"], "redirect_uris": []}
        client |= {"response_types": [], "token_endpoint_auth_method": method, "scope": "read write"} | metadata
        if key is not None:
            client["jwks"] = {"keys": [keys.jwk(one, use="sig", kid=f"k{n}") for n, one in enumerate(listed(key))]}
        if algorithm is not None:
            client["token_endpoint_auth_signing_alg"] = algorithm
        if method == "tls_client_auth":
            client["tls_client_auth_san_dns"] = f"{client_id}.test"
        if method == "self_signed_tls_client_auth":
            found = enumerate(listed(certificate))
            client["jwks"] = {"keys": [self.certified(one, n) for n, one in found]}
        with self.lock:
            self.clients[client_id] = client
            self.nonces += [client_id] if nonce else []
            text = json.dumps({"clients": list(self.clients.values()), "require_nonce": self.nonces})
            fresh = self.directory / "clients.new"
            fresh.write_text(text)
            fresh.rename(self.directory / "clients.json")

    @staticmethod
    def certified(pair, number):
        key, certificate = pair
        return keys.jwk(key, kid=f"c{number}", x5c=[keys.x5c(certificate)])


class Keycloak(Server):
    """Keycloak, in memory. Its realm and its clients are made through its administration API."""

    BOUND = {"tls.client.certificate.bound.access.tokens": "true"}
    REALM = "tests"

    def start(self):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        password = secrets.token_hex(16)
        words = [TOOLS / "keycloak/bin/kc.sh", "start", "--optimized", "--http-host=127.0.0.1", f"--https-port={port}"]
        words += ["--hostname-strict=false", f"--https-certificate-file={self.directory}/server.pem"]
        words += [f"--https-certificate-key-file={self.directory}/server.key", f"--truststore-paths={self.ca_file}"]
        environment = os.environ | {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": password}
        self.process = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        base = f"https://127.0.0.1:{port}"
        self.issuer = f"{base}/realms/{self.REALM}"
        self.token_url = f"{self.issuer}/protocol/openid-connect/token"
        self.introspection_url = f"{self.token_url}/introspect"
        self.wait(f"{base}/realms/master")
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": password}
        url = f"{base}/realms/master/protocol/openid-connect/token"
        self.admin, self.login = f"{base}/admin/realms", (url, form)
        realm = {"realm": self.REALM, "enabled": True, "accessTokenLifespan": 60}
        self.order("POST", "", realm)
        self.register("inspector", "client_secret_basic", client_secret=self.inspector_secret)

    def wait(self, url):
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.call(url).get("realm"):
                    return
            except (OSError, ValueError):
                time.sleep(0.3)
        raise RuntimeError(f"Keycloak did not start: {(self.directory / 'log').read_text()[-2000:]}")

    def order(self, method, path, body):
        token = self.call(self.login[0], form=self.login[1])["access_token"]
        return self.call(f"{self.admin}{path}", body=body, headers={"Authorization": f"Bearer {token}"}, method=method)

    def register(self, client_id, method, algorithm=None, key=None, client_secret=None, **attributes):
        kind = {"private_key_jwt": "client-jwt", "client_secret_jwt": "client-secret-jwt", "tls_client_auth": "client-x509"}
        client = {"id": client_id, "clientId": client_id, "serviceAccountsEnabled": True, "standardFlowEnabled": False}
        client |= {"clientAuthenticatorType": kind.get(method, "client-secret"), "secret": client_secret}
        if method == "private_key_jwt":
            jwks = {"keys": [keys.jwk(one, use="sig", alg=algorithm, kid=f"k{n}") for n, one in enumerate(listed(key))]}
            attributes |= {"use.jwks.string": "true", "jwks.string": json.dumps(jwks)}
        if method == "tls_client_auth":
            attributes |= {"x509.subjectdn": f"CN={client_id}.test", "x509.allow.regex.pattern.comparison": "false"}
        if algorithm is not None:
            attributes["token.endpoint.auth.signing.alg"] = algorithm
        client["attributes"] = attributes
        known = client_id in self.__dict__.setdefault("known", set())
        self.known.add(client_id)
        if known:
            self.order("PUT", f"/{self.REALM}/clients/{client_id}", client)
        else:
            # Whoever asks about a token must be in its audience.
            audience = {"included.client.audience": "inspector", "access.token.claim": "true", "introspection.token.claim": "true"}
            mapper = {"name": "inspector", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper"}
            self.order("POST", f"/{self.REALM}/clients", client | {"protocolMappers": [mapper | {"config": audience}]})


def listed(one_or_more):
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]
