"""An API like those of paysway and wawex: it asks the issuer about each token, and does what a scenario tells it to."""

import http.client
import json
import secrets
import threading
import urllib.parse

import issuer as authority
import proof
from support.waiting import PATIENCE
from support.web import Answer, Site


class Partner(Site):
    """/payments/… wants a token; /commands/… wants Requestor-ID as well; /open/… takes anything.

    `calls` has all requests that came. `rejected` has tokens to answer with 401, `reject_all` means all of them.
    `status` is what to answer otherwise. `moved` has paths that are elsewhere: status and new URL. With `nonces` a
    proof must have the newest nonce, which with `fickle_nonces` is never the one that was given last. Answers wait
    while `gate` is not set.
    """

    def __init__(self, issuer):
        self.issuer = urllib.parse.urlsplit(issuer.origin)
        self.lock = threading.Lock()
        self.calls, self.rejected, self.moved = [], set(), {}
        # For whoever has to find out what went wrong: each request with the end of its token, and the answer.
        self.told = []
        self.reject_all = self.nonces = self.fickle_nonces = False
        self.status, self.nonce, self.proofs = 200, None, set()
        self.gate = threading.Event()
        self.gate.set()
        super().__init__()

    def url(self, path):
        return self.origin + path

    def count(self):
        with self.lock:
            return len(self.calls)

    def take(self):
        """The requests since it was asked last."""
        with self.lock:
            calls, self.calls = self.calls, []
        return calls

    def answer(self, request):
        with self.lock:
            self.calls.append(request)
        self.gate.wait(PATIENCE)
        answer = self._judged(request)
        token = request.headers.get("authorization", "none")[-6:]
        self.told.append(f"{request.method} {request.path} token …{token}: {answer.status}")
        return answer

    def _judged(self, request):
        if request.path in self.moved:
            status, url = self.moved[request.path]
            return Answer(status, {"moved": url}, {"Location": url})
        if request.path.startswith("/open/"):
            return Answer(200, {"open": True})
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        known = self._introspected(token) if token else {"active": False}
        if not known["active"] or self.reject_all or token in self.rejected:
            scheme = "DPoP" if kind == "DPoP" else "Bearer"
            return Answer(401, {"error": "invalid_token"}, {"WWW-Authenticate": f'{scheme} error="invalid_token"'})
        refusal = self._unproven(request, kind, token, known)
        if refusal is not None:
            return refusal
        if request.path.startswith("/commands/") and not request.headers.get("requestor-id", "").strip():
            return Answer(400, {"error": "Requestor-ID is missing"})
        body = {"client": known["client_id"], "path": request.path, "received": request.body.decode()}
        return Answer(self.status, body)

    def _unproven(self, request, kind, token, known):
        """Why the request does not show that the token's key is held, if it should and does not."""
        bound = known.get("cnf")
        if kind != ("DPoP" if bound else "Bearer"):
            return Answer(401, {"error": "invalid_token"}, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if not bound:
            return None
        try:
            url = self.url(request.path)
            text = request.headers.get("dpop", "")
            claims, thumbprint = proof.check(text, method=request.method, url=url, token=token)
            with self.lock:
                if claims["jti"] in self.proofs:
                    raise proof.Unfit("the proof was used before")
                self.proofs.add(claims["jti"])
            if thumbprint != bound["jkt"]:
                raise proof.Unfit("the proof is of another key")
        except proof.Unfit as error:
            challenge = 'DPoP error="invalid_dpop_proof"'
            return Answer(401, {"error": "invalid_dpop_proof", "why": str(error)}, {"WWW-Authenticate": challenge})
        return self._other_nonce(claims) if self.nonces else None

    def _other_nonce(self, claims):
        with self.lock:
            fits = self.nonce is not None and claims.get("nonce") == self.nonce and not self.fickle_nonces
            if not fits:
                self.nonce = secrets.token_urlsafe(12)
        if fits:
            return None
        challenge = 'DPoP error="use_dpop_nonce", error_description="the newest nonce is wanted"'
        return Answer(401, {"error": "use_dpop_nonce"}, {"WWW-Authenticate": challenge, "DPoP-Nonce": self.nonce})

    def _introspected(self, token):
        connection = http.client.HTTPConnection(self.issuer.hostname, self.issuer.port, timeout=PATIENCE)
        try:
            headers = {
                "Authorization": f"Basic {authority.PARTNER}",
                "Content-Type": "application/x-www-form-urlencoded",
            }
            connection.request("POST", "/introspect", urllib.parse.urlencode({"token": token}), headers)
            return json.load(connection.getresponse())
        finally:
            connection.close()
