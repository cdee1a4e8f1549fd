"""Tokens that are bound to a key (DPoP, RFC 9449)."""

import json

from library.rejection import sent
from proof import decoded
from stage import equal, expect, staged

bound = staged(clients={"paysway": {"dpop": True}}, accounts={"paysway": {"dpop": True}})


def nonces(stage):
    """The nonces of the proofs that the partner got."""
    proofs = [call.headers["dpop"] for call in stage.partner.take()]
    return [json.loads(decoded(proof.split(".")[1])).get("nonce") for proof in proofs]


@bound
def each_request_has_its_proof(stage):
    """Each request has a proof of its own that fits: the partner checks method, URL, token, key, signature, one use."""
    token = stage.token()
    expect(token["proof_required"], "the token says that it needs proofs", token)
    equal(token["token_type"], "DPoP", "token_type")
    for method, body in (("POST", "{}"), ("POST", "{}"), ("GET", None)):
        answer = stage.request(stage.partner.url("/payments/validations?page=2"), method, body=body)
        equal((answer["status"], answer["body"] if answer["status"] != 200 else ""), (200, ""), "status, and why")
    equal(len({call.headers["dpop"] for call in stage.partner.take()}), 3, "different proofs")


@bound
def nonce_is_honoured(stage):
    """A nonce that is demanded costs one replay and no report, and is known to the next request."""
    stage.old_token()
    stage.partner.nonces = True
    equal(stage.request()["status"], 200, "status")
    equal(nonces(stage), [None, stage.partner.nonce], "nonces")
    equal(stage.request()["status"], 200, "status of the next request")
    equal(nonces(stage), [stage.partner.nonce], "nonces of the next request")
    equal(stage.requests(), 1, "token requests")


@bound
def nonce_and_a_body_that_cannot_be_sent_again(stage):
    """Then the app gets the 401, nothing is reported, and its next request has the nonce."""
    stage.old_token()
    stage.partner.nonces = True
    equal(stage.request(stream_body=True)["status"], 401, "status")
    equal(nonces(stage), [None], "nonces")
    equal(stage.request(stream_body=True)["status"], 200, "status of the next request")
    equal(nonces(stage), [stage.partner.nonce], "nonces of the next request")
    equal(stage.requests(), 1, "token requests")


@bound
def nonce_that_is_never_right(stage):
    """An API that is never content with a nonce gets two requests, the app its 401."""
    stage.old_token()
    stage.partner.nonces = stage.partner.fickle_nonces = True
    equal(stage.request()["status"], 401, "status")
    expect(len(stage.partner.take()) <= 2, "there are at most two requests", stage.partner.count())


@bound
def bound_token_after_a_401(stage):
    """A 401 that is about the token itself is reported and replayed, with a new token and a new proof."""
    old = stage.old_token()
    stage.partner.rejected.add(old["access_token"])
    answer = stage.request()
    equal((answer["status"], answer["body"] if answer["status"] != 200 else ""), (200, ""), "status, and why")
    equal(sent(stage), [old["access_token"], stage.token()["access_token"]], "tokens that were sent")
    equal(stage.requests(), 2, "token requests")


@bound
def redirect_of_a_bound_token(stage):
    """Within the origin the new place gets a proof of its own, elsewhere nothing."""
    other = stage.another_partner()
    stage.partner.moved["/old"] = (307, stage.partner.url("/payments/new"))
    stage.partner.moved["/gone"] = (307, other.url("/open/new"))
    answer = stage.request(stage.partner.url("/old"), "GET", body=None, follow=True)
    equal((answer["status"], answer["body"] if answer["status"] != 200 else ""), (200, ""), "status, and why")
    equal(stage.request(stage.partner.url("/gone"), "GET", body=None, follow=True)["status"], 200, "status elsewhere")
    [call] = other.take()
    equal([name for name in ("authorization", "dpop") if name in call.headers], [], "headers elsewhere")


@bound
def headers_need_a_proof(stage):
    """Headers for no call in particular are refused for a bound token."""
    stage.refused("PROOF_REQUIRED", "headers", client="paysway", set={})
