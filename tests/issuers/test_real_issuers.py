"""The built daemon against authorization servers that others wrote: panva's oidc-provider, and Keycloak.

    tests/issuers/run target/debug/bearerd

Each method of client authentication mints, refreshes, is refused with the wrong key, is cured, and is rotated without a
gap; what only one server can do is tested there. Scenarios run at the same time, since they mostly wait.
"""

import concurrent.futures
import pathlib
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest

import keys
from daemon import Daemon
from servers import Keycloak, OidcProvider

SCENARIOS = ("mints_and_refreshes", "is_refused_and_cured", "rotates_without_a_gap", "check_online_is_content")
AUTHORITY = keys.Authority()
AT_ONCE = 6
SAID = []
MATRIX = {}
RUNNING = {}
LOCK = threading.Lock()


def server(kind):
    """The server of this kind, started when it is first wanted."""
    with LOCK:
        started = RUNNING.setdefault(kind, concurrent.futures.Future())
        first = not started.done() and not getattr(started, "claimed", False)
        started.claimed = True
    if first:
        try:
            started.set_result(kind(AUTHORITY))
        except Exception as error:
            started.set_exception(error)
    return started.result(150)


def tearDownModule():
    for started in RUNNING.values():
        if started.exception() is None:
            started.result().stop()
            shutil.rmtree(started.result().directory)


class Secret:
    """What a client has that authenticates it, and how to give it to the daemon and to the server."""

    def __init__(self, client_id, method, algorithm, directory):
        self.client_id, self.method, self.algorithm = client_id, method, algorithm
        self.directory = directory
        self.forbidden = []

    def make(self):
        """A new secret, key, or key with a certificate."""
        if self.method.startswith("client_secret"):
            made = secrets.token_urlsafe(60)
            self.forbidden.append(made)
            return made
        key = keys.new_key(self.algorithm or "ES256")
        self.forbidden += keys.pem(key).splitlines()[1:-1]
        if self.method == "private_key_jwt":
            return key
        issue = AUTHORITY.issue if self.method == "tls_client_auth" else keys.certificate
        return key, issue(key, f"{self.client_id}.test")

    def give(self, made, name="secret"):
        """Puts it where the daemon reads it, as a careful person does: at once."""
        if isinstance(made, tuple):
            self.write("certificate", keys.certificate_pem(made[1]))
            self.write("key", keys.pem(made[0]))
        else:
            self.write(name, made if isinstance(made, str) else keys.pem(made))

    def write(self, name, text):
        fresh = self.directory / f"{name}.new"
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        fresh.rename(self.directory / name)

    def settings(self):
        if self.method.startswith("client_secret"):
            return {"client_secret": {"file": self.directory / "secret"}} | self.signing()
        if self.method == "private_key_jwt":
            return {"private_key": {"file": self.directory / "secret"}} | self.signing()
        return {}

    def signing(self):
        return {"signing_algorithm": self.algorithm} if self.algorithm else {}

    def tls(self):
        if not self.method.endswith("tls_client_auth"):
            return {}
        return {"certificate_file": self.directory / "certificate", "key_file": self.directory / "key"}

    def registration(self, made):
        """What the server must know; `made` may be a list of those that are valid, but of secrets there is one."""
        if self.method.startswith("client_secret"):
            return {"client_secret": made}
        if self.method == "private_key_jwt":
            return {"key": made}
        return {"certificate": made} if self.method == "self_signed_tls_client_auth" else {}


class Scenario(unittest.TestCase):
    """One client of one server; afterwards nothing that the daemon said may hold a secret or a token."""

    kind = OidcProvider

    def setUp(self):
        self.server = server(self.kind)
        self.client_id = f"client-{secrets.token_hex(4)}"
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="secrets-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def secret(self, method, algorithm=None):
        return Secret(self.client_id, method, algorithm, self.directory)

    def register(self, secret, made, **more):
        self.server.register(self.client_id, secret.method, secret.algorithm, **secret.registration(made), **more)

    def daemon(self, secret, **settings):
        """A daemon that knows the server by its issuer identifier alone."""
        tls = {"ca_file": self.server.ca_file} | secret.tls()
        basics = {"issuer": self.server.issuer, "client_id": self.client_id, "auth_method": secret.method, "tls": tls}
        daemon = Daemon(**(basics | secret.settings() | settings))
        self.addCleanup(self.search, daemon, secret)
        self.addCleanup(daemon.close)
        return daemon

    def search(self, daemon, secret):
        text = "\n".join(daemon.said)
        SAID.append((text, [*secret.forbidden, *daemon.tokens]))
        leaked = [one[:4] for one in [*secret.forbidden, *daemon.tokens] if one in text]
        self.assertEqual(leaked, [], "the daemon said what it must never say")

    def active(self, token):
        answer = self.server.introspect(token)
        self.assertTrue(answer.get("active"), answer)
        self.assertEqual(answer["client_id"], self.client_id)
        return answer

    def mints_and_refreshes(self, method, algorithm=None, **settings):
        secret = self.secret(method, algorithm)
        made = secret.make()
        secret.give(made)
        self.register(secret, made)
        daemon = self.daemon(secret, **settings)
        first = daemon.token()
        self.active(first)
        second = daemon.refresh()
        self.active(second)
        self.assertNotEqual(first, second)
        self.assertEqual(daemon.status()["state"], "FRESH")

    def is_refused_and_cured(self, method, algorithm=None):
        secret = self.secret(method, algorithm)
        right, wrong = secret.make(), secret.make()
        self.register(secret, right)
        secret.give(wrong)
        daemon = self.daemon(secret)
        status = daemon.wait_for("REJECTED")
        self.assertEqual(status["last_failure"]["reason"], "CREDENTIALS_REFUSED")
        self.assertRegex(status["last_failure"]["text"], r"\w+ \w+ \w+")
        self.assertEqual(daemon.run("token", "it").returncode, 69)
        self.assertNotEqual(daemon.run("check", "--config", str(daemon.config), "--online").returncode, 0)
        secret.give(right)
        daemon.wait_for("FRESH")
        self.active(daemon.token())

    def rotates_without_a_gap(self, method, algorithm=None):
        secret = self.secret(method, algorithm)
        old, new = secret.make(), secret.make()
        secret.give(old)
        # The server takes any certificate with the right name, so the token must say which one was used.
        bound = self.server.BOUND if method == "tls_client_auth" else {}
        self.register(secret, old, **bound)
        daemon = self.daemon(secret)
        before = daemon.token()
        with Watching(daemon):
            if not method.startswith("client_secret"):
                self.register(secret, [old, new], **bound)
            secret.give(new)
            self.register(secret, new, **bound)
            after = daemon.refresh()
        said = self.active(after)
        if bound:
            self.assertEqual(said["cnf"]["x5t#S256"], keys.thumbprint(new[1]))
        self.assertNotEqual(before, after)

    def check_online_is_content(self, method, algorithm=None):
        secret = self.secret(method, algorithm)
        made = secret.make()
        secret.give(made)
        self.register(secret, made)
        daemon = self.daemon(secret)
        answer = daemon.run("check", "--config", str(daemon.config), "--online")
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)


class Watching:
    """Asks for the token all the time, and fails if there was none once."""

    def __init__(self, daemon):
        self.daemon, self.done, self.failures = daemon, threading.Event(), []

    def ask(self):
        while not self.done.wait(0.1):
            try:
                self.daemon.token()
            except AssertionError as error:
                self.failures.append(error)

    def __enter__(self):
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        if self.failures:
            raise self.failures[0]


def each_method(*methods):
    """Gives a class the scenarios that every method must pass, one test method for each."""

    def add(case):
        for method, algorithm in methods:
            for scenario in SCENARIOS:
                if method == "tls_client_auth" and scenario == "is_refused_and_cured":
                    # Any certificate of the authority with the right name is right.
                    continue
                name = "_".join(filter(None, ["test", method, algorithm, scenario]))
                setattr(case, name, lambda self, s=scenario, m=method, a=algorithm: getattr(self, s)(m, a))
        return case

    return add


@each_method(
    ("client_secret_post", None),
    ("client_secret_basic", None),
    ("client_secret_jwt", None),
    ("client_secret_jwt", "HS512"),
    ("private_key_jwt", "RS256"),
    ("private_key_jwt", "PS256"),
    ("private_key_jwt", "ES256"),
    ("private_key_jwt", "ES384"),
    ("private_key_jwt", "EdDSA"),
    ("tls_client_auth", None),
    ("self_signed_tls_client_auth", None),
)
class WithOidcProvider(Scenario):
    def client(self, method="client_secret_basic", **registration):
        """A registered client with its secret in place."""
        secret = self.secret(method)
        made = secret.make()
        secret.give(made)
        self.register(secret, made, **registration)
        return secret, made

    def test_the_token_url_alone_suffices(self):
        secret, _ = self.client("client_secret_post")
        tls = {"ca_file": self.server.ca_file}
        settings = {"token_url": self.server.token_url, "client_id": self.client_id, "tls": tls}
        daemon = Daemon(**settings, **secret.settings())
        self.addCleanup(self.search, daemon, secret)
        self.addCleanup(daemon.close)
        self.active(daemon.token())

    def test_the_second_of_two_secrets_is_used_until_the_first_is_valid(self):
        secret, old = self.client()
        new = secret.make()
        secret.give(new, "new")
        files = [{"file": self.directory / "new"}, {"file": self.directory / "secret"}]
        daemon = self.daemon(secret, client_secret=files)
        daemon.token()
        self.assertEqual(daemon.status()["secret_in_use"], 2)
        with Watching(daemon):
            self.register(secret, new)
            self.active(daemon.refresh())
        self.assertEqual(daemon.status()["secret_in_use"], 1)

    def test_a_token_is_bound_to_the_certificate(self):
        secret, (_, certificate) = self.client("tls_client_auth", tls_client_certificate_bound_access_tokens=True)
        daemon = self.daemon(secret)
        self.assertEqual(self.active(daemon.token())["cnf"], {"x5t#S256": keys.thumbprint(certificate)})

    def test_a_resource_becomes_the_audience(self):
        secret, _ = self.client()
        daemon = self.daemon(secret, resource="https://api.example/v1")
        headers = {"Authorization": f"Bearer {daemon.token()}"}
        answer = self.server.call(f"{self.server.issuer}/api", headers=headers)
        self.assertEqual((answer.get("client_id"), answer.get("audience")), (self.client_id, "https://api.example/v1"), answer)

    def dpop(self, **registration):
        secret, _ = self.client(dpop_bound_access_tokens=True, **registration)
        daemon = self.daemon(secret, dpop=True)
        first = daemon.token()
        self.assertEqual(self.active(first)["token_type"], "DPoP")
        url = f"{self.server.issuer}/api"
        lines = daemon.run("headers", "it", "--method", "GET", "--url", url).stdout.splitlines()
        answer = self.server.call(url, headers=dict(line.split(": ", 1) for line in lines))
        self.assertEqual(answer.get("client_id"), self.client_id, answer)
        self.assertNotEqual(daemon.refresh(), first)

    def test_dpop_proves_the_key_to_the_issuer_and_to_the_api(self):
        self.dpop()

    def test_dpop_with_a_nonce_that_the_issuer_demands(self):
        self.dpop(nonce=True)

    def test_an_assertion_file_is_read_at_each_request(self):
        key = keys.new_key("ES256")
        self.server.register(self.client_id, "private_key_jwt", "ES256", key)
        secret = self.secret("client_assertion_file")

        def assertion():
            now = int(time.time())
            claims = {"iss": self.client_id, "sub": self.client_id, "aud": self.server.issuer}
            made = keys.sign(key, claims | {"iat": now, "exp": now + 300, "jti": secrets.token_hex(8)}, kid="k0")
            secret.forbidden.append(made)
            secret.write("assertion", made)

        assertion()
        daemon = self.daemon(secret, client_assertion_file=self.directory / "assertion")
        first = daemon.token()
        assertion()
        self.assertNotEqual(daemon.refresh(), first)

    def revocation(self, **settings):
        secret, _ = self.client()
        daemon = self.daemon(secret, **settings)
        token = daemon.token()
        self.active(token)
        daemon.stop()
        return self.server.introspect(token)["active"]

    def test_revoke_on_stop_makes_the_token_inactive(self):
        self.assertFalse(self.revocation(revoke_on_stop=True))

    def test_without_revoke_on_stop_the_token_lives_on(self):
        self.assertTrue(self.revocation())


@each_method(
    ("client_secret_post", None),
    ("client_secret_basic", None),
    ("client_secret_jwt", "HS256"),
    ("private_key_jwt", "RS256"),
    ("private_key_jwt", "PS256"),
    ("private_key_jwt", "ES256"),
    ("private_key_jwt", "EdDSA"),
    ("tls_client_auth", None),
)
class WithKeycloak(Scenario):
    kind = Keycloak

    def test_dpop(self):
        secret = self.secret("client_secret_basic")
        made = secret.make()
        secret.give(made)
        self.register(secret, made, **{"dpop.bound.access.tokens": "true"})
        daemon = self.daemon(secret, dpop=True)
        self.assertIn("jkt", self.active(daemon.token())["cnf"])

    def test_a_token_is_exchanged(self):
        secret = self.secret("client_secret_basic")
        made = secret.make()
        secret.give(made)
        self.register(secret, made, **{"standard.token.exchange.enabled": "true"})
        form = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": made}
        subject = self.server.call(self.server.token_url, form=form)["access_token"]
        secret.forbidden.append(subject)
        secret.write("subject", subject)
        kind = "urn:ietf:params:oauth:token-type:access_token"
        settings = {"grant": "token_exchange", "subject_token_file": self.directory / "subject"}
        daemon = self.daemon(secret, subject_token_type=kind, **settings)
        token = daemon.token()
        self.active(token)
        self.assertNotEqual(token, subject)

    def test_revoke_on_stop_makes_the_token_inactive(self):
        secret = self.secret("client_secret_basic")
        made = secret.make()
        secret.give(made)
        self.register(secret, made)
        daemon = self.daemon(secret, revoke_on_stop=True)
        token = daemon.token()
        daemon.stop()
        self.assertFalse(self.server.introspect(token)["active"])


class NothingLeaks(unittest.TestCase):
    def test_nothing_that_was_said_in_any_scenario_holds_a_secret_or_a_token_of_any_other(self):
        self.assertTrue(SAID, "no scenario ran")
        everything = "\n".join(text for text, _ in SAID)
        leaked = [one[:4] for _, forbidden in SAID for one in forbidden if one in everything]
        self.assertEqual(leaked, [])


def run_one(test):
    began, result = time.monotonic(), unittest.TestResult()
    test.run(result)
    failures = [text for _, text in result.failures + result.errors]
    MATRIX.setdefault(type(test).__name__, {})[test._testMethodName[5:]] = not failures
    print(f"{'FAIL' if failures else 'ok  '} {time.monotonic() - began:5.1f} s {test.id()}", flush=True)
    for text in failures:
        print(text, flush=True)
    return not failures


def main():
    """All scenarios, several at a time, then the search through all that was said."""
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    scenarios = [test for case in (WithOidcProvider, WithKeycloak) for test in load(case)]
    scenarios = [test for test in scenarios if all(word in test.id() for word in sys.argv[1:])]
    # So that the servers are stopped whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            passed = list(pool.map(run_one, scenarios))
        passed += [run_one(test) for test in load(NothingLeaks)]
    finally:
        tearDownModule()
    for case, outcomes in MATRIX.items():
        print(f"\n{case}")
        for name, good in sorted(outcomes.items()):
            print(f"  {name.replace('_', ' '):75} {'ok' if good else 'FAILED'}")
    print(f"\n{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
