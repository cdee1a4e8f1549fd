"""The fakes themselves: they take what a right client sends, and nothing that is a little wrong."""

import time
import unittest

import harness
import jose
import vendors

KEY, OTHER_KEY = jose.Key("the-kid"), jose.Key("the-kid")
ORIGIN = "https://issuer.example"


class Fakes(unittest.TestCase):
    def ask(self, vendor, form, method="POST", **headers):
        """The status and the error of an answer."""
        vendor.origin = ORIGIN
        headers = Headers({"Content-Type": "application/x-www-form-urlencoded"} | headers)
        request = harness.Request(method, vendor.path, headers, "")
        request.form = form
        status, _, body = vendor.answer(request)
        return status, body.get("error"), body

    def claims(self, vendor, audience, life=60, **other):
        now = int(time.time())
        claims = {"iss": vendor.client, "sub": vendor.client, "aud": audience, "iat": now - 5, "exp": now - 5 + life}
        return claims | {"jti": f"{time.monotonic_ns()}"} | other

    def asserted(self, vendor, token):
        return vendor.fields | {
            "client_id": vendor.client, "client_assertion_type": vendors.ASSERTION, "client_assertion": token,
        }  # fmt: skip

    def test_okta_takes_a_right_assertion_once(self):
        vendor = vendors.Okta(KEY)
        token = KEY.sign(self.claims(vendor, f"{ORIGIN}{vendor.path}"))
        self.assertEqual(self.ask(vendor, self.asserted(vendor, token))[0], 200)
        self.assertEqual(self.ask(vendor, self.asserted(vendor, token))[:2], (401, "invalid_client"))

    def test_okta_takes_no_other_assertion(self):
        vendor = vendors.Okta(KEY)
        right = f"{ORIGIN}{vendor.path}"
        for token in [
            OTHER_KEY.sign(self.claims(vendor, right)),
            KEY.sign(self.claims(vendor, right), alg="PS256"),
            KEY.sign(self.claims(vendor, right), alg="none"),
            KEY.sign(self.claims(vendor, right), typ="client-authentication+jwt"),
            KEY.sign(self.claims(vendor, right), kid="another"),
            KEY.sign(self.claims(vendor, ORIGIN)),
            KEY.sign(self.claims(vendor, [right])),
            KEY.sign(self.claims(vendor, right, life=7_200)),
            KEY.sign(self.claims(vendor, right, life=1)),
            KEY.sign(self.claims(vendor, right, iss="somebody")),
            KEY.sign(self.claims(vendor, right, jti="")),
            KEY.sign(self.claims(vendor, right, nbf=time.time() + 2)),
            KEY.sign(self.claims(vendor, right)) + "x",
            "a.b",
            "",
        ]:
            self.assertEqual(self.ask(vendor, self.asserted(vendor, token))[:2], (401, "invalid_client"), token)
        self.assertEqual(vendor.granted, [])

    def test_okta_wants_its_fields_exactly(self):
        vendor = vendors.Okta(KEY)
        for change in ({"scope": "okta.users.read"}, {"audience": "x"}, {"grant_type": "password"}):
            form = self.asserted(vendor, KEY.sign(self.claims(vendor, f"{ORIGIN}{vendor.path}"))) | change
            self.assertEqual(self.ask(vendor, form)[:2], (400, "invalid_request"), change)

    def test_dpop_is_asked_for_and_its_nonce_then(self):
        vendor = vendors.OktaDpop(KEY)

        def form():
            return self.asserted(vendor, KEY.sign(self.claims(vendor, f"{ORIGIN}{vendor.path}")))

        def proof(**claims):
            numbers = KEY.private.public_key().public_numbers()
            jwk = {"kty": "RSA"}
            for name, number in (("e", numbers.e), ("n", numbers.n)):
                jwk[name] = jose.encode(number.to_bytes((number.bit_length() + 7) // 8))
            right = {"htm": "POST", "htu": f"{ORIGIN}{vendor.path}", "iat": int(time.time())}
            return KEY.sign(right | {"jti": f"{time.monotonic_ns()}"} | claims, typ="dpop+jwt", jwk=jwk)

        self.assertEqual(self.ask(vendor, form())[:2], (400, "invalid_dpop_proof"))
        self.assertEqual(self.ask(vendor, form(), DPoP=proof())[:2], (400, "use_dpop_nonce"))
        for wrong in ({"htm": "GET"}, {"htu": ORIGIN}, {"iat": 1}):
            answer = self.ask(vendor, form(), DPoP=proof(nonce=vendor.nonce, **wrong))
            self.assertEqual(answer[:2], (400, "invalid_dpop_proof"), wrong)
        status, _, body = self.ask(vendor, form(), DPoP=proof(nonce=vendor.nonce))
        self.assertEqual((status, body.get("token_type")), (200, "DPoP"))

    def test_entra_takes_the_token_of_one_service_account(self):
        vendor = vendors.EntraFederated(KEY)
        self.assertEqual(self.ask(vendor, self.asserted(vendor, vendor.projected(vendor.subject)))[0], 200)
        status, code, _ = self.ask(vendor, self.asserted(vendor, vendor.projected("system:serviceaccount:x:y")))
        self.assertEqual((status, code), (400, "invalid_request"))

    def test_entra_names_the_scope(self):
        vendor = vendors.Entra()
        form = vendor.fields | {"client_id": vendor.client, "client_secret": "good", "scope": "User.Read"}
        self.assertEqual(self.ask(vendor, form)[:2], (400, "invalid_scope"))

    def test_keycloak_takes_a_young_assertion_for_the_issuer(self):
        vendor = vendors.KeycloakJwt(KEY)
        issuer = f"{ORIGIN}/realms/a-realm"
        for life, audience, status in [(60, issuer, 200), (120, issuer, 400), (60, [issuer, ORIGIN], 400)]:
            token = KEY.sign(self.claims(vendor, audience, life), typ="client-authentication+jwt")
            self.assertEqual(self.ask(vendor, self.asserted(vendor, token))[0], status)

    def test_google_takes_a_grant_of_its_form(self):
        vendor = vendors.Google(KEY)
        right, claims = KEY, self.claims(vendor, f"{ORIGIN}/token", scope=vendor.scope)
        for key, header, change, code in [
            (right, {}, {}, None),
            (OTHER_KEY, {}, {}, "invalid_grant"),
            (right, {"typ": "client-authentication+jwt"}, {}, "invalid_grant"),
            (right, {}, {"sub": "user@acme.example"}, "invalid_grant"),
            (right, {}, {"aud": ORIGIN}, "invalid_grant"),
            (right, {}, {"scope": ""}, "invalid_scope"),
        ]:
            form = vendor.fields | {"assertion": key.sign(claims | change, **header)}
            self.assertEqual(self.ask(vendor, form)[1], code, (header, change))
            self.assertEqual(self.ask(vendor, form | {"client_id": vendor.client})[1], code or "invalid_request")

    def test_salesforce_takes_a_grant_of_its_form(self):
        vendor = vendors.SalesforceJwt(KEY)
        claims = self.claims(vendor, "https://login.salesforce.com", sub=vendor.user)
        for change, code in [
            ({}, None), ({"sub": vendor.client}, "invalid_grant"), ({"aud": ORIGIN}, "invalid_grant"),
            ({"exp": time.time() + 300}, "invalid_grant"), ({"iss": "x"}, "invalid_client_id"),
        ]:  # fmt: skip
            self.assertEqual(self.ask(vendor, vendor.fields | {"assertion": KEY.sign(claims | change)})[1], code)


class Headers(dict):
    """As much of `http.client.HTTPMessage` as the fakes use."""

    def get_all(self, name, default):
        return [self[name]] if name in self else default


if __name__ == "__main__":
    unittest.main()
