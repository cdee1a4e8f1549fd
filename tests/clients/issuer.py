"""An authorization server that does what a scenario tells it to."""

import base64
import dataclasses
import secrets
import threading
import time

import proof
from support.waiting import PATIENCE
from support.web import SILENCE, Answer, Site

# What the partner authenticates with at the introspection endpoint.
PARTNER = base64.b64encode(b"partner:partner-secret").decode()


@dataclasses.dataclass
class Account:
    """One client of the issuer, and how it is treated."""

    secret: str
    # Of its tokens, seconds.
    lifetime: int = 3600
    # ok; down: closes the connection; refuse: invalid_client; busy: 429; nonsense: 200 without a token.
    mode: str = "ok"
    # Gives the same token again and again.
    same: bool = False
    # Binds its tokens to the key of the proof.
    dpop: bool = False
    # Token requests that came, whatever was answered.
    requests: int = 0
    # Requests wait until this is set.
    gate: threading.Event = dataclasses.field(default_factory=threading.Event)

    def hold(self):
        """Makes requests wait until `release`."""
        self.gate.clear()

    def release(self):
        self.gate.set()


@dataclasses.dataclass
class Issued:
    """A token that was given out."""

    value: str
    client: str
    expires_at: float
    thumbprint: str | None


class Issuer(Site):
    """Client credentials at /token, introspection (RFC 7662) at /introspect."""

    def __init__(self):
        self.lock = threading.Lock()
        self.accounts, self.tokens, self.wrong = {}, {}, []
        super().__init__()

    def account(self, name, **settings):
        account = Account(secret=f"secret-of-{name}-{secrets.token_hex(8)}", **settings)
        account.release()
        self.accounts[name] = account
        return account

    def marks(self):
        """Everything that must not be in a log: the tokens given out, and the secrets."""
        with self.lock:
            return [*self.tokens, *(account.secret for account in self.accounts.values())]

    def answer(self, request):
        if (request.method, request.path) == ("POST", "/token"):
            return self._token(request)
        if (request.method, request.path) == ("POST", "/introspect"):
            return self._introspect(request)
        return Answer(404, {"error": "not_found"})

    def _token(self, request):
        form = request.form
        account = self.accounts.get(form.get("client_id"))
        if account is None or form.get("client_secret") != account.secret:
            return Answer(401, {"error": "invalid_client"})
        with self.lock:
            account.requests += 1
        if not account.gate.wait(2 * PATIENCE):
            return SILENCE
        match account.mode:
            case "down":
                return SILENCE
            case "refuse":
                return Answer(401, {"error": "invalid_client", "error_description": "as the scenario wants it"})
            case "busy":
                return Answer(429, {"error": "slow_down"}, {"Retry-After": "7"})
            case "nonsense":
                return Answer(200, {"greeting": "hello"})
        return self._issue(form["client_id"], account, request)

    def _issue(self, name, account, request):
        thumbprint = None
        if account.dpop:
            try:
                url = f"{self.origin}/token"
                _, thumbprint = proof.check(request.headers.get("dpop", ""), method="POST", url=url)
            except proof.Unfit as error:
                self.wrong.append(f"proof of a token request: {error}")
                return Answer(400, {"error": "invalid_dpop_proof", "error_description": str(error)})
        with self.lock:
            own = [token for token in self.tokens.values() if token.client == name]
            if account.same and own:
                token = own[-1]
            else:
                value = f"{name}.{secrets.token_urlsafe(24)}"
                token = Issued(value, name, time.time() + account.lifetime, thumbprint)
                self.tokens[value] = token
        kind = "DPoP" if account.dpop else "Bearer"
        life = int(token.expires_at - time.time() + 0.5)
        return Answer(200, {"access_token": token.value, "token_type": kind, "expires_in": life})

    def _introspect(self, request):
        if request.headers.get("authorization") != f"Basic {PARTNER}":
            return Answer(401, {"error": "invalid_client"})
        token = self.tokens.get(request.form.get("token"))
        if token is None or token.expires_at <= time.time():
            return Answer(200, {"active": False})
        body = {"active": True, "client_id": token.client, "exp": int(token.expires_at)}
        if token.thumbprint:
            body |= {"token_type": "DPoP", "cnf": {"jkt": token.thumbprint}}
        return Answer(200, body)
