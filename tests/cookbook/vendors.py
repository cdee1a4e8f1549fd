"""Token endpoints that behave as their vendors document it. The cookbook names the pages.

Each takes exactly the parameters that are documented, refuses with the status and the body of the vendor, and keeps
what it granted. What a page leaves open is decided for the strict side.
"""

import base64
import time
import urllib.parse

import jose

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CLIENT_CREDENTIALS = {"grant_type": "client_credentials"}


class Refused(Exception):
    """An error response: status, code, description."""


class Vendor:
    """What all have in common: a path, a client, and what they saw."""

    path = "/oauth2/token"
    # The fields beside those of the authentication, each with its only value.
    fields = CLIENT_CREDENTIALS
    lifetime = 3_600
    client = "a-client"

    def __init__(self):
        self.granted, self.refused, self.broken, self.used = [], [], [], set()

    def answer(self, request):
        if request.path != self.path:
            return 404, {}, "no such page"
        try:
            self.form(request)
            identity = self.authenticate(request)
            self.remaining(request, identity)
        except Refused as refused:
            self.refused.append(refused.args)
            return self.refusal(*refused.args)
        except jose.Bad as bad:
            self.refused.append(bad.args)
            return self.refusal(*self.bad_assertion(str(bad)))
        token = f"{type(self).__name__.lower()}-token-{len(self.granted) + 1}"
        self.granted.append(request)
        return 200, {"Cache-Control": "no-store"}, self.grant(token)

    def form(self, request):
        kind = request.headers.get("Content-Type", "").partition(";")[0]
        if request.method != "POST" or kind != "application/x-www-form-urlencoded" or request.repeated:
            raise Refused(400, "invalid_request", "not a form, or a field twice")

    def remaining(self, request, identity):
        """Beside what identifies the client there is exactly what is documented."""
        found = {name: value for name, value in request.form.items() if name not in identity}
        if found != self.fields:
            raise self.wrong_fields(found)

    def wrong_fields(self, found):
        return Refused(400, "invalid_request", f"not these fields: {sorted(found)}")

    def refusal(self, status, code, description):
        return status, {}, {"error": code, "error_description": description}

    def bad_assertion(self, why):
        return 401, "invalid_client", why

    def grant(self, token):
        return {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}

    # The ways to authenticate.

    def by_post(self, request, secrets, refused):
        if "Authorization" in request.headers:
            raise Refused(400, "invalid_request", "two ways to authenticate")
        if request.form.get("client_id") != self.client or request.form.get("client_secret") not in secrets:
            raise refused
        return {"client_id", "client_secret"}

    def by_basic(self, request, secrets, refused):
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        try:
            pair = base64.b64decode(text, validate=True).decode()
        except ValueError:
            pair = ""
        # Encoded as a form before (RFC 6749 section 2.3.1); these secrets have nothing to encode.
        user, _, password = (urllib.parse.unquote_plus(part) for part in pair.partition(":"))
        if scheme != "Basic" or user != self.client or password not in secrets:
            raise refused
        return set()

    def by_assertion(self, request, key, audiences, *, types=("JWT", None), longest=3_600, algorithms=("RS256",)):
        form = request.form
        if "Authorization" in request.headers or "client_secret" in form:
            raise Refused(400, "invalid_request", "two ways to authenticate")
        if form.get("client_assertion_type") != ASSERTION or form.get("client_id", self.client) != self.client:
            raise jose.Bad("no client assertion of this client")
        header, claims = jose.verify(form.get("client_assertion", ""), key.private.public_key(), algorithms)
        if header.get("kid") != key.kid or header.get("typ") not in types:
            raise jose.Bad(f"kid is {header.get('kid')}, typ is {header.get('typ')}")
        if (claims.get("iss"), claims.get("sub")) != (self.client, self.client):
            raise jose.Bad("iss and sub must be the client_id")
        self.timely(claims, audiences, longest)
        if not claims.get("jti") or claims["jti"] in self.used:
            raise jose.Bad("jti is missing or was used")
        self.used.add(claims["jti"])
        return {"client_id", "client_assertion", "client_assertion_type"}

    @staticmethod
    def timely(claims, audiences, longest):
        # One audience and no list (RFC 10070).
        if not isinstance(claims.get("aud"), str) or claims["aud"] not in audiences:
            raise jose.Bad(f"aud is {claims.get('aud')}")
        now = time.time()
        if not now < claims.get("exp", 0) <= now + longest:
            raise jose.Bad("exp is missing, past, or too far away")
        # No tolerance for clocks that are ahead: old servers have none.
        if claims.get("iat", now) > now or claims.get("nbf", now) > now:
            raise jose.Bad("from the future")

    @property
    def endpoint(self):
        return f"{self.origin}{self.path}"


class Auth0(Vendor):
    path = "/oauth/token"
    fields = CLIENT_CREDENTIALS | {"audience": "https://api.example.com/"}
    lifetime = 86_400

    def authenticate(self, request):
        return self.by_post(request, {"good"}, Refused(401, "access_denied", "Unauthorized"))


class Okta(Vendor):
    path = "/oauth2/v1/token"
    fields = CLIENT_CREDENTIALS | {"scope": "okta.users.read okta.groups.read"}

    def __init__(self, key):
        super().__init__()
        self.key = key

    def authenticate(self, request):
        if "client_assertion" not in request.form:
            text = "Client Credentials requests to the Org Authorization Server must use the private_key_jwt method."
            raise Refused(401, "invalid_client", text)
        return self.by_assertion(request, self.key, {self.endpoint}, algorithms=("RS256", "ES256"))

    def grant(self, token):
        return super().grant(token) | {"scope": self.fields["scope"]}


class OktaDpop(Okta):
    nonce = "8NLZ-one"

    def __init__(self, key):
        super().__init__(key)
        self.keys, self.without_nonce = set(), 0

    def answer(self, request):
        status, headers, body = super().answer(request)
        return status, headers | {"dpop-nonce": self.nonce}, body

    def authenticate(self, request):
        identity = super().authenticate(request)
        proofs = request.headers.get_all("DPoP", [])
        if len(proofs) != 1:
            raise Refused(400, "invalid_dpop_proof", "The DPoP proof JWT header is missing.")
        claims = self.proof(proofs[0], "POST", self.endpoint)
        if "nonce" not in claims:
            self.without_nonce += 1
        if claims.get("nonce") != self.nonce:
            raise Refused(400, "use_dpop_nonce", "Authorization server requires nonce in DPoP proof.")
        return identity

    def proof(self, text, method, url):
        """The claims of a proof for this request (RFC 9449 section 4.3)."""
        try:
            header, _ = jose.read(text)
            jwk = header["jwk"]
            header, claims = jose.verify(text, jose.public_of(jwk), ("RS256", "RS384", "RS512", "ES256"))
            if header.get("typ") != "dpop+jwt" or {"d", "p", "q"} & set(jwk):
                raise jose.Bad("typ is not dpop+jwt, or a private key")
            if (claims.get("htm"), claims.get("htu")) != (method, url):
                raise jose.Bad(f"for {claims.get('htm')} {claims.get('htu')}")
            if abs(time.time() - claims["iat"]) > 60 or claims["jti"] in self.used:
                raise jose.Bad("iat is not now, or jti was used")
        except (KeyError, jose.Bad) as bad:
            raise Refused(400, "invalid_dpop_proof", f"The DPoP proof JWT is invalid: {bad}") from bad
        self.used.add(claims["jti"])
        self.keys.add(jose.thumbprint(jwk))
        return claims

    def grant(self, token):
        return super().grant(token) | {"token_type": "DPoP"}


class Entra(Vendor):
    path = "/a-tenant/oauth2/v2.0/token"
    fields = CLIENT_CREDENTIALS | {"scope": "https://graph.microsoft.com/.default"}
    lifetime = 3_599
    secrets = frozenset({"good"})
    busy = False

    def answer(self, request):
        if self.busy:
            self.refused.append((429,))
            return 429, {"Retry-After": "60"}, "Too Many Requests"
        return super().answer(request)

    def authenticate(self, request):
        text = "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is the client secret value."
        return self.by_post(request, self.secrets, Refused(401, "invalid_client", text))

    def wrong_fields(self, found):
        if found.get("scope", "").endswith("/.default"):
            return super().wrong_fields(found)
        text = "AADSTS70011: The provided value for the input parameter 'scope' is not valid."
        return Refused(400, "invalid_scope", text)

    def refusal(self, status, code, description):
        end = "\r\nTrace ID: 0\r\nCorrelation ID: 0\r\nTimestamp: 2026-11-25 12:00:00Z"
        number = int(description[6:].partition(":")[0]) if description.startswith("AADSTS") else 900_144
        body = {"error": code, "error_description": description + end, "error_codes": [number]}
        return status, {}, body | {"timestamp": "2026-11-25 12:00:00Z", "trace_id": "0", "correlation_id": "0"}

    def grant(self, token):
        return super().grant(token) | {"ext_expires_in": self.lifetime}


class EntraFederated(Entra):
    """Trusts the token of one Kubernetes service account, signed by its cluster."""

    issuer, subject = "https://cluster.example/", "system:serviceaccount:billing:bearerd"
    audience = "api://AzureADTokenExchange"

    def __init__(self, key):
        super().__init__()
        self.key = key

    def projected(self, subject):
        """A projected token as the kubelet writes it: a list of audiences, an hour."""
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + 3_600}
        return self.key.sign({"iss": self.issuer, "sub": subject, "aud": [self.audience]} | times)

    def authenticate(self, request):
        if request.form.get("client_id") != self.client or request.form.get("client_assertion_type") != ASSERTION:
            raise Refused(400, "invalid_request", "AADSTS900144: The request body must contain client_assertion_type.")
        _, claims = jose.verify(request.form.get("client_assertion", ""), self.key.private.public_key(), ("RS256",))
        if claims["exp"] < time.time():
            raise Refused(401, "invalid_client", "AADSTS700024: Client assertion is not within its valid time range.")
        if (claims["iss"], claims["sub"], claims["aud"]) != (self.issuer, self.subject, [self.audience]):
            text = "AADSTS70021: No matching federated identity record found for presented assertion."
            raise Refused(400, "invalid_request", text)
        return {"client_id", "client_assertion", "client_assertion_type"}


class Cognito(Vendor):
    fields = CLIENT_CREDENTIALS | {"scope": "orders/read orders/write"}

    def authenticate(self, request):
        return self.by_basic(request, {"good"}, Refused(400, "invalid_client", ""))

    def refusal(self, status, code, description):
        return status, {}, {"error": code}


class Keycloak(Vendor):
    path = "/realms/a-realm/protocol/openid-connect/token"
    # The default of a realm.
    lifetime = 300

    def authenticate(self, request):
        text = "Invalid client or Invalid client credentials"
        return self.by_basic(request, {"good"}, Refused(401, "unauthorized_client", text))

    def grant(self, token):
        return super().grant(token) | {"refresh_expires_in": 0, "not-before-policy": 0, "scope": "email profile"}


class KeycloakJwt(Keycloak):
    def __init__(self, key):
        super().__init__()
        self.key, self.discovered = key, 0

    @property
    def issuer(self):
        return f"{self.origin}/realms/a-realm"

    def answer(self, request):
        # OpenID Connect Discovery only: what is not there is a page for people.
        if request.method == "GET" and request.path == "/realms/a-realm/.well-known/openid-configuration":
            self.discovered += 1
            return 200, {}, {"issuer": self.issuer, "token_endpoint": self.endpoint}
        return super().answer(request)

    def authenticate(self, request):
        # `Max expiration` is 60 s. The endpoint would do as an audience too, but the issuer is what will stay.
        return self.by_assertion(
            request, self.key, {self.issuer}, types=("client-authentication+jwt", "JWT"), longest=60
        )

    def bad_assertion(self, why):
        return 400, "invalid_client", f"Client authentication with signed JWT failed: {why}"


class Google(Vendor):
    path = "/token"
    fields = {"grant_type": JWT_BEARER}
    lifetime = 3_599
    client = "robot@project.iam.gserviceaccount.com"
    scope = "https://www.googleapis.com/auth/devstorage.read_only"

    def __init__(self, key):
        super().__init__()
        self.key = key

    def authenticate(self, request):
        header, claims = jose.verify(request.form.get("assertion", ""), self.key.private.public_key(), ("RS256",))
        if header.get("typ") != "JWT" or header.get("kid") != self.key.kid or "iat" not in claims:
            raise jose.Bad(f"Invalid JWT: typ is {header.get('typ')}, kid is {header.get('kid')}")
        # `sub` is the user to act for; without delegation only the account itself is one.
        if claims.get("iss") != self.client or claims.get("sub", self.client) != self.client:
            raise jose.Bad("Invalid grant: account not found")
        if claims.get("scope") != self.scope:
            raise Refused(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        # Always the public name of the endpoint, wherever it is reached; here they are the same.
        self.timely(claims, {self.endpoint}, 3_600)
        return {"assertion"}

    def bad_assertion(self, why):
        return 400, "invalid_grant", "Invalid JWT Signature." if "signature" in why else why


class Salesforce(Vendor):
    path = "/services/oauth2/token"

    def authenticate(self, request):
        return self.by_post(request, {"good"}, Refused(400, "invalid_client", "invalid client credentials"))

    def grant(self, token):
        host = "https://acme.my.salesforce.com"
        return {
            "access_token": token, "signature": "c2ln", "token_format": "opaque", "instance_url": host,
            "id": f"{host}/id/00D/005", "token_type": "Bearer", "issued_at": str(int(time.time() * 1_000)),
            "scope": "api",
        }  # fmt: skip


class SalesforceJwt(Salesforce):
    fields = {"grant_type": JWT_BEARER}
    user = "integration@acme.example"

    def __init__(self, key):
        super().__init__()
        self.key = key

    def authenticate(self, request):
        _, claims = jose.verify(request.form.get("assertion", ""), self.key.private.public_key(), ("RS256",))
        if claims.get("iss") != self.client:
            raise Refused(400, "invalid_client_id", "client identifier invalid")
        if claims.get("sub") != self.user:
            raise Refused(400, "invalid_grant", "user hasn't approved this consumer")
        # At most three minutes away.
        self.timely(claims, {"https://login.salesforce.com"}, 180)
        return {"assertion"}

    def bad_assertion(self, why):
        return 400, "invalid_grant", "invalid assertion" if "signature" in why else why


class PayPal(Vendor):
    path = "/v1/oauth2/token"

    def authenticate(self, request):
        return self.by_basic(request, {"good"}, Refused(401, "invalid_client", "Client Authentication failed"))

    def grant(self, token):
        # Nine hours, as text: clients have met both forms.
        return super().grant(token) | {"expires_in": "32400", "app_id": "APP-1", "nonce": "n", "scope": "openid"}


class Ebay(Vendor):
    path = "/identity/v1/oauth2/token"
    fields = CLIENT_CREDENTIALS | {"scope": "https://api.ebay.com/oauth/api_scope"}
    lifetime = 7_200

    def authenticate(self, request):
        return self.by_basic(request, {"good"}, Refused(401, "invalid_client", "client authentication failed"))

    def grant(self, token):
        return super().grant(token) | {"token_type": "Application Access Token"}


class Paysway(Vendor):
    def authenticate(self, request):
        return self.by_post(request, {"good"}, Refused(401, "invalid_client", "unknown client"))


class Wawex(Paysway):
    pass
