"""Every configuration of docs/cookbook.md, filled in and run against a fake of its vendor.

    tests/cookbook/run target/debug/bearerd

A recipe that is added to the cookbook needs a class here; `Complete` says so.
"""

import getpass
import json
import re
import unittest

import harness
import jose
import vendors
from harness import COOKBOOK, Daemon, Server

KEY, EC_KEY, OTHER_KEY = jose.Key("the-kid"), jose.Key("the-kid", "EC"), jose.Key("the-kid")


class Recipe:
    """What holds for each: checked without problems, it gets a token, or says what is wrong with the credentials."""

    # The client of the configuration, and what its placeholders are filled with.
    name = None
    # Whether it is the recipe as it is written.
    recipe = True
    values = {}
    # What the credentials are in, as good and as bad ones.
    good, bad = {}, {}
    # What the status warns of, as patterns; and what a refusal must tell to look at.
    warnings = []
    cure = "secret"
    scheme = "Bearer"

    def vendor(self):
        raise NotImplementedError

    def block(self):
        return dict(harness.blocks())[self.name]

    def daemon(self, files, vendor=None):
        """A daemon with this recipe, checked, beside its vendor."""
        vendor = vendor or self.vendor()
        server = Server(vendor)
        self.addCleanup(server.close)
        values = {"YOUR_CLIENT_ID": vendor.client, "YOUR_SERVICE_USER": getpass.getuser()} | self.values
        daemon = Daemon(self.block(), values, files, server.origin)
        self.addCleanup(daemon.close)
        checked = daemon.checked
        self.assertEqual((checked.returncode, checked.stderr), (0, ""), checked.stdout)
        found = json.loads(checked.stdout)
        self.assertEqual((found["problems"], found["warnings"]), ([], []))
        daemon.start()
        return daemon, vendor

    def gets_a_token(self, files):
        daemon, vendor = self.daemon(files)
        token = daemon.run("token", self.name)
        self.assertEqual((token.returncode, vendor.broken), (0, []), f"{token.stderr} (the fake: {vendor.refused})")
        kind = type(vendor).__name__.lower()
        self.assertEqual(token.stdout, f"{kind}-token-1\n")
        return daemon, vendor

    def test_it_gets_a_token(self):
        daemon, vendor = self.gets_a_token(self.good)
        status = daemon.status()
        self.assertEqual((status["state"], status["last_failure"]), ("FRESH", None))
        self.assertEqual(len(status["warnings"]), len(self.warnings), status["warnings"])
        for warning, pattern in zip(status["warnings"], self.warnings, strict=True):
            self.assertRegex(str(warning), pattern)
        # Less what it took to get it.
        lifetime = getattr(self, "lifetime", vendor.lifetime)
        self.assertTrue(lifetime - 10 <= status["runway_seconds"] <= lifetime, status["runway_seconds"])
        self.assertEqual(len(vendor.granted), 1)
        self.documented(daemon, vendor)

    def documented(self, daemon, vendor):
        """What is special about this vendor, after the first token."""
        [request] = vendor.granted
        self.assertIn("application/json", request.headers.get("Accept", ""))
        self.assertEqual(vendor.refused, [])
        headers = daemon.run("headers", self.name)
        self.assertEqual(headers.stdout, f"Authorization: {self.scheme} {type(vendor).__name__.lower()}-token-1\n")

    def test_bad_credentials_are_refused_with_what_to_do(self):
        daemon, vendor = self.daemon(self.bad)
        token = daemon.run("token", self.name)
        self.assertEqual((token.returncode, token.stdout, vendor.broken), (69, "", []), token.stderr)
        self.assertIn("[CREDENTIALS_REFUSED]", token.stderr)
        self.assertEqual(vendor.granted, [])
        # Refused for what is bad about it, not because the request is no good at all.
        self.assertTrue(all("not these fields" not in str(one) for one in vendor.refused), vendor.refused)
        status = daemon.status()
        self.assertEqual((status["state"], status["last_failure"]["reason"]), ("REJECTED", "CREDENTIALS_REFUSED"))
        for text in (token.stderr, status["last_failure"]["text"]):
            self.assertRegex(text, rf"\bcheck [^;]*{self.cure}")
        for secret in filter(None, self.bad.values()):
            self.assertNotIn(secret.strip(), token.stderr + json.dumps(status))


class Auth0(Recipe, unittest.TestCase):
    name = "auth0"
    values = {"YOUR_API_IDENTIFIER": "https://api.example.com/"}
    good, bad = ({"/etc/bearerd/secrets/auth0": text} for text in ("good\n", "b4d-secret\n"))

    def vendor(self):
        return vendors.Auth0()


class Okta(Recipe, unittest.TestCase):
    name = "okta"
    values = {"YOUR_KEY_ID": KEY.kid}
    cure = "key"
    good, bad = ({"/etc/bearerd/keys/okta.pem": key.pem()} for key in (KEY, OTHER_KEY))

    def vendor(self):
        return vendors.Okta(KEY)

    def test_an_elliptic_key_does_it_too(self):
        daemon, _ = self.daemon({"/etc/bearerd/keys/okta.pem": EC_KEY.pem()}, vendors.Okta(EC_KEY))
        token = daemon.run("token", self.name)
        self.assertEqual((token.returncode, token.stdout), (0, "okta-token-1\n"), token.stderr)


class OktaDpop(Okta):
    name = "okta-dpop"
    scheme = "DPoP"
    URL = "https://api.example.com/api/v1/users"

    def vendor(self):
        return vendors.OktaDpop(KEY)

    # The first try has no nonce; that is how it goes.
    def documented(self, daemon, vendor):
        self.assertEqual([refused[1] for refused in vendor.refused], ["use_dpop_nonce"])
        self.assertEqual(vendor.without_nonce, 1)
        headers = daemon.run("headers", self.name, "--method", "GET", "--url", self.URL)
        self.assertEqual(headers.returncode, 0, headers.stderr)
        lines = dict(line.split(": ", 1) for line in headers.stdout.splitlines())
        self.assertEqual(lines["Authorization"], "DPoP oktadpop-token-1")
        claims = vendor.proof(lines["DPoP"], "GET", self.URL)
        self.assertEqual(claims["ath"], jose.digest(b"oktadpop-token-1"))
        self.assertEqual(len(vendor.keys), 1, "the token and the calls have one key")

    def test_an_elliptic_key_does_it_too(self):
        daemon, _ = self.daemon({"/etc/bearerd/keys/okta.pem": EC_KEY.pem()}, vendors.OktaDpop(EC_KEY))
        token = daemon.run("token", self.name)
        self.assertEqual((token.returncode, token.stdout), (0, "oktadpop-token-1\n"), token.stderr)


class Entra(Recipe, unittest.TestCase):
    name = "entra"
    values = {"YOUR_TENANT_ID": "a-tenant"}
    good, bad = ({"/etc/bearerd/secrets/entra": text} for text in ("good\n", "b4d-secret\n"))

    def vendor(self):
        return vendors.Entra()

    def test_it_waits_when_there_were_too_many_requests(self):
        vendor = self.vendor()
        vendor.busy = True
        daemon, _ = self.daemon(self.good, vendor)
        token = daemon.run("token", self.name)
        self.assertEqual(token.returncode, 75, token.stderr)
        self.assertIn("[ISSUER_BUSY]", token.stderr)
        self.assertIn("429", token.stderr)
        # To the second: time went by since then.
        [wait] = re.findall(r"next try in (?:(\d+)m)? ?(?:(\d+)s)?", token.stderr)
        seconds = 60 * int(wait[0] or 0) + int(wait[1] or 0)
        self.assertTrue(55 <= seconds <= 120, token.stderr)
        again = daemon.run("token", self.name)
        self.assertEqual((again.returncode, vendor.refused), (75, [(429,)]), "asked again before the time")


class EntraRotation(Recipe, unittest.TestCase):
    name = "entra-rotation"
    values = Entra.values
    NEW, OLD = "/etc/bearerd/secrets/entra-new", "/etc/bearerd/secrets/entra-old"
    good, bad = {NEW: "good\n", OLD: "old-secret\n"}, {NEW: "b4d-secret\n", OLD: "0ld-secret\n"}

    def vendor(self):
        return vendors.Entra()

    def documented(self, daemon, vendor):
        super().documented(daemon, vendor)
        self.assertEqual(daemon.status()["secret_in_use"], 1)

    def test_the_old_secret_does_it_until_the_new_one_is_known(self):
        daemon, vendor = self.gets_a_token({self.NEW: "not-yet-known\n", self.OLD: "good\n"})
        status = daemon.status()
        self.assertEqual((status["state"], status["secret_in_use"]), ("FRESH", 2))
        self.assertEqual([refused[:2] for refused in vendor.refused], [(401, "invalid_client")])


class EntraFederated(Recipe, unittest.TestCase):
    name = "entra-federated"
    values = Entra.values
    cure = "assertion"
    good, bad = (
        {"/var/run/secrets/azure/tokens/azure-identity-token": vendors.EntraFederated(KEY).projected(subject)}
        for subject in (vendors.EntraFederated.subject, "system:serviceaccount:other:bearerd")
    )

    def vendor(self):
        return vendors.EntraFederated(KEY)

    def test_the_file_is_read_at_each_request(self):
        [(path, right)] = self.good.items()
        daemon, vendor = self.gets_a_token(self.good)
        (daemon.base / path.lstrip("/")).write_text(vendor.projected("system:serviceaccount:other:bearerd"))
        refused = daemon.run("refresh", self.name)
        self.assertEqual(len(vendor.refused), 1, refused)
        (daemon.base / path.lstrip("/")).write_text(right)
        refreshed = daemon.run("refresh", self.name)
        self.assertEqual((refreshed.returncode, len(vendor.granted)), (0, 2), refreshed)


class Cognito(Recipe, unittest.TestCase):
    name = "cognito"
    values = {"YOUR_RESOURCE_SERVER": "orders"}
    good, bad = ({"/etc/bearerd/secrets/cognito": text} for text in ("good\n", "b4d-secret\n"))

    def vendor(self):
        return vendors.Cognito()

    def test_nothing_is_fetched_before_somebody_asks(self):
        daemon, vendor = self.daemon(self.good)
        self.assertEqual((daemon.status()["state"], vendor.granted), ("IDLE", []))


class Keycloak(Recipe, unittest.TestCase):
    name = "keycloak"
    values = {"YOUR_REALM": "a-realm"}
    good, bad = ({"/etc/bearerd/secrets/keycloak": text} for text in ("good\n", "b4d-secret\n"))

    def vendor(self):
        return vendors.Keycloak()


class KeycloakRotation(Keycloak):
    """Keycloak calls a client with a wrong secret `unauthorized_client`; the other secret must be tried all the same."""

    good = {"/new": "good\n", "/old": "old-secret\n"}
    bad = {"/new": "b4d-secret\n", "/old": "0ld-secret\n"}
    recipe = False

    def block(self):
        one = '{ file = "/etc/bearerd/secrets/keycloak" }'
        block = super().block()
        self.assertIn(one, block)
        return block.replace(one, '[{ file = "/new" }, { file = "/old" }]')

    def test_the_old_secret_does_it_until_the_new_one_is_known(self):
        daemon, vendor = self.daemon({"/new": "not-yet-known\n", "/old": "good\n"})
        token = daemon.run("token", self.name)
        self.assertEqual((token.returncode, token.stdout), (0, "keycloak-token-1\n"), token.stderr)
        self.assertEqual((daemon.status()["secret_in_use"], len(vendor.refused)), (2, 1))


class KeycloakJwt(Recipe, unittest.TestCase):
    name = "keycloak-jwt"
    values = {"YOUR_REALM": "a-realm", "YOUR_KEY_ID": KEY.kid}
    cure = "key"
    good, bad = ({"/etc/bearerd/keys/keycloak.pem": key.pem()} for key in (KEY, OTHER_KEY))

    def vendor(self):
        return vendors.KeycloakJwt(KEY)

    def documented(self, daemon, vendor):
        super().documented(daemon, vendor)
        self.assertEqual(vendor.discovered, 1)


class Google(Recipe, unittest.TestCase):
    name = "google"
    values = {"YOUR_SERVICE_ACCOUNT_EMAIL": vendors.Google.client, "YOUR_PRIVATE_KEY_ID": KEY.kid}
    cure = "key"
    good, bad = ({"/etc/bearerd/keys/google.pem": key.pem()} for key in (KEY, OTHER_KEY))

    def vendor(self):
        return vendors.Google(KEY)


class Salesforce(Recipe, unittest.TestCase):
    name = "salesforce"
    values = {"YOUR_CONSUMER_KEY": vendors.Salesforce.client}
    # The answer does not say it.
    lifetime = 7_200
    warnings = [r"does not say how long its tokens live; 2h assumed"]
    good, bad = ({"/etc/bearerd/secrets/salesforce": text} for text in ("good\n", "b4d-secret\n"))

    def vendor(self):
        return vendors.Salesforce()


class SalesforceJwt(Recipe, unittest.TestCase):
    name = "salesforce-jwt"
    values = Salesforce.values | {"YOUR_USERNAME": vendors.SalesforceJwt.user}
    lifetime = 7_200
    warnings = Salesforce.warnings
    cure = "key"
    good, bad = ({"/etc/bearerd/keys/salesforce.pem": key.pem()} for key in (KEY, OTHER_KEY))

    def vendor(self):
        return vendors.SalesforceJwt(KEY)


class PayPal(Recipe, unittest.TestCase):
    name = "paypal"
    lifetime = 32_400
    good, bad = ({"/etc/bearerd/secrets/paypal": text} for text in ("good\n", "b4d-secret\n"))

    def vendor(self):
        return vendors.PayPal()


class Ebay(Recipe, unittest.TestCase):
    name = "ebay"
    values = {"YOUR_APP_ID": vendors.Ebay.client}
    good, bad = ({"/etc/bearerd/secrets/ebay": text} for text in ("good\n", "b4d-secret\n"))

    def vendor(self):
        return vendors.Ebay()

    def documented(self, daemon, vendor):
        super().documented(daemon, vendor)
        self.assertEqual(daemon.status()["budget_per_day"], 100)


class Paysway(Recipe, unittest.TestCase):
    name = "paysway"
    good, bad = ({"/etc/bearerd/secrets/paysway": text} for text in ("good\n", "b4d-secret\n"))

    def vendor(self):
        return vendors.Paysway()


class Wawex(Recipe, unittest.TestCase):
    name = "wawex"
    good, bad = ({"/etc/bearerd/secrets/wawex": text} for text in ("good\n", "b4d-secret\n"))

    def vendor(self):
        return vendors.Wawex()

    def documented(self, daemon, vendor):
        self.assertEqual(vendor.refused, [])
        for words in ([], ["--set", "Requestor-ID=somebody"]):
            headers = daemon.run("headers", self.name, *words)
            self.assertEqual((headers.returncode, headers.stdout), (2, ""), headers.stderr)
            self.assertIn("Requestor-ID", headers.stderr)
        headers = daemon.run("headers", self.name, "--set", "Requestor-ID=4711")
        lines = set(headers.stdout.splitlines())
        self.assertEqual(lines, {"Authorization: Bearer wawex-token-1", "Requestor-ID: 4711"})


def tested():
    """The classes that test a recipe as it is written."""
    classes = [each for each in globals().values() if isinstance(each, type) and issubclass(each, Recipe)]
    return [each for each in classes if each.name and each.recipe]


class Complete(unittest.TestCase):
    """The cookbook and the tests are about the same recipes."""

    def test_every_recipe_has_a_test_and_every_test_a_recipe(self):
        written = sorted(name for name, _ in harness.blocks())
        self.assertEqual(written, sorted(each.name for each in tested()))

    def test_no_recipe_is_outside_of_a_section(self):
        # However it is fenced: a block that is not recognised would not be tested.
        fences = re.findall(r"(?mi)^[ \t>]*(?:```|~~~)[ \t]*toml", COOKBOOK.read_text())
        self.assertEqual(len(fences), len(harness.blocks()))

    def test_every_section_says_where_it_is_from(self):
        for title, text, _ in harness.sections():
            self.assertRegex(text, r"(?m)^Sources?: <https://[^>]+>", title)

    def test_every_file_of_a_recipe_is_filled_in(self):
        # What is left over would make a recipe fail for the wrong reason.
        for each in tested():
            paths = set(re.findall(r'"(/[^"]+)"', dict(harness.blocks())[each.name]))
            self.assertEqual((paths, paths), (set(each.good), set(each.bad)), each.name)


if __name__ == "__main__":
    unittest.main()
