"""The table of scenarios that every stock gRPC client is judged by: no options, no library, only generated code."""

import time

from driver import Failure
from scenarios import Scenario
from stage import CLIENTS, equal, expect, staged
from support.waiting import until

READINESS = "bearerd.v1.TokenBroker"
# How soon a change reaches who watches.
PROMPT = 3


def get(stage, client="paysway", within=20, **fields):
    """What GetToken comes to."""
    return stage.driver.ask(
        "get", within, client=client, **({"min_validity_s": None, "rejected": None, "timeout_s": 10} | fields)
    )


def got(stage, client="paysway", **fields):
    """The token that GetToken gives."""
    answer = get(stage, client, **fields)
    expect(answer["ok"], f"GetToken({client!r}) succeeds", answer)
    return answer


def after(stage, watch):
    """The next message of a stream."""
    return stage.driver.ask("next", watch=watch, timeout_s=PROMPT)


def message(stage, watch, wanted):
    """Reads a stream until it says this, or ends."""
    seen = []
    deadline = time.monotonic() + PROMPT
    while time.monotonic() < deadline:
        answer = after(stage, watch)
        seen.append(answer)
        if all(answer.get(name) == value for name, value in wanted.items()):
            return answer
        if not answer["ok"]:
            break
    raise Failure(f"expected that the stream says {wanted} within {PROMPT} s; got {seen}")


def fails(answer, code, reason, retry=None):
    """An error of the table in token_broker.proto; `retry`: the least and most seconds until waiting is over."""
    expect(not answer["ok"], f"it fails with {reason}", answer)
    found = {name: answer.get(name) for name in ("code", "domain", "reason")}
    equal(found, {"code": code, "domain": "bearerd", "reason": reason}, "code and details")
    expect(answer.get("message"), "there is a message", answer)
    wait = answer.get("retry_after_s")
    if retry is None:
        equal(wait, None, "retry_after_s")
    else:
        least, most = retry
        expect(isinstance(wait, (int, float)) and least <= wait <= most, f"retry_after_s is {least} to {most}", answer)


def gets_a_token(stage):
    """GetToken answers with the whole token and the headers that a call needs."""
    answer = got(stage, "wawex")
    [token] = stage.issuer.tokens
    equal(answer["authorization"], f"Bearer {token}", "authorization")
    equal(answer["rejection"], "UNSPECIFIED", "rejection")
    equal(sorted(answer["headers"], key=lambda header: header["name"]), [
        {"name": "Requestor-ID", "value": "", "per_call": True, "pattern": "[0-9]{1,20}"},
        {"name": "X-Partner", "value": "acme", "per_call": False, "pattern": ""},
    ], "headers")  # fmt: skip
    equal(got(stage, "wawex")["id"], answer["id"], "the id of another call")
    equal(stage.requests("wawex"), 1, "token requests")


def lists_clients(stage):
    """ListClients has those that the caller may use, with their state."""
    got(stage)
    answer = stage.done("list")
    equal(
        [(one["name"], one["state"]) for one in answer["clients"]], [("paysway", "FRESH"), ("wawex", "IDLE")], "clients"
    )


def watches_a_rotation(stage):
    """WatchToken tells the present token and each new one."""
    present = got(stage)
    answer = stage.done("watch", client="paysway")
    equal(answer.get("id"), present["id"], "the id that the stream begins with")
    new = stage.daemon.refresh("paysway")
    message(stage, answer["watch"], {"ok": True, "id": new})
    equal(got(stage)["id"], new, "the id of GetToken")


def replaces_a_reported_token(stage):
    """A reported token is replaced when it is old enough, and what became of the report is said."""
    answer = got(stage)
    began = time.time()
    young = got(stage, rejected=answer["id"])
    equal((young["rejection"], young["id"]), ("TOO_YOUNG", answer["id"]), "a young token's report")
    until(lambda: time.time() > began + 5.2, "for the token to grow older")
    new = got(stage, rejected=answer["id"])
    equal((new["rejection"], new["id"] == answer["id"]), ("REPLACED", False), "rejection, and whether the id stays")
    late = got(stage, rejected=answer["id"])
    equal((late["rejection"], late["id"]), ("ALREADY_REPLACED", new["id"]), "the same report again")


def client_unknown(stage):
    """NOT_FOUND, CLIENT_UNKNOWN, with the nearest name; at once for a stream, too."""
    answer = get(stage, "payswai")
    fails(answer, "NOT_FOUND", "CLIENT_UNKNOWN")
    expect("`paysway`" in answer["message"], "the message suggests `paysway`", answer)
    fails(stage.driver.ask("watch", client="payswai"), "NOT_FOUND", "CLIENT_UNKNOWN")


@staged(clients={**CLIENTS, "locked": {"allow": [{"uid": 0}]}})
def caller_not_allowed(stage):
    """PERMISSION_DENIED, CALLER_NOT_ALLOWED, with who the caller is taken for."""
    answer = get(stage, "locked")
    fails(answer, "PERMISSION_DENIED", "CALLER_NOT_ALLOWED")
    expect(str(stage.column.uid) in answer["message"], f"the message names uid {stage.column.uid}", answer)


@staged(accounts={"paysway": {"lifetime": 60}})
def validity_unattainable(stage):
    """OUT_OF_RANGE, VALIDITY_UNATTAINABLE."""
    got(stage)
    fails(get(stage, min_validity_s=120), "OUT_OF_RANGE", "VALIDITY_UNATTAINABLE")
    equal(got(stage, min_validity_s=50)["rejection"], "UNSPECIFIED", "rejection when there is as much")


@staged(accounts={"paysway": {"mode": "down"}})
def issuer_unreachable(stage):
    """UNAVAILABLE, ISSUER_UNREACHABLE, with the time of the next try; a stream says it, too."""
    fails(get(stage), "UNAVAILABLE", "ISSUER_UNREACHABLE", (0.1, 15))
    answer = stage.done("watch", client="paysway")
    equal(answer.get("unavailable"), "ISSUER_UNREACHABLE", "what the stream begins with")


@staged(accounts={"paysway": {"mode": "busy"}})
def issuer_busy(stage):
    """UNAVAILABLE, ISSUER_BUSY, with the time that the issuer asked for."""
    fails(get(stage), "UNAVAILABLE", "ISSUER_BUSY", (5, 15))


@staged(accounts={"paysway": {"mode": "nonsense"}})
def issuer_answer_invalid(stage):
    """UNAVAILABLE, ISSUER_ANSWER_INVALID."""
    fails(get(stage), "UNAVAILABLE", "ISSUER_ANSWER_INVALID", (0.1, 15))


@staged(accounts={"paysway": {"mode": "refuse"}})
def credentials_refused(stage):
    """FAILED_PRECONDITION, CREDENTIALS_REFUSED."""
    fails(get(stage), "FAILED_PRECONDITION", "CREDENTIALS_REFUSED", (0.1, 60))


@staged(start=False)
def secret_unreadable(stage):
    """FAILED_PRECONDITION, SECRET_UNREADABLE."""
    (stage.daemon.directory / "paysway.secret").unlink()
    stage.daemon.start()
    fails(get(stage), "FAILED_PRECONDITION", "SECRET_UNREADABLE", (0.1, 60))


@staged(limits={"calls_per_uid": 3})
def caller_limit(stage):
    """RESOURCE_EXHAUSTED, CALLER_LIMIT."""
    for _ in range(3):
        stage.done("watch", client="paysway")
    fails(get(stage), "RESOURCE_EXHAUSTED", "CALLER_LIMIT", (0.1, 60))


def request_invalid(stage):
    """INVALID_ARGUMENT, REQUEST_INVALID."""
    fails(get(stage, ""), "INVALID_ARGUMENT", "REQUEST_INVALID")
    fails(get(stage, rejected="no id"), "INVALID_ARGUMENT", "REQUEST_INVALID")


@staged(clients={"paysway": {"timeouts": {"attempt": "1m"}}})
def token_pending(stage):
    """UNAVAILABLE, TOKEN_PENDING when the daemon's 10 s for a caller without a deadline are over; a caller with one
    gets that or its own DEADLINE_EXCEEDED, whichever is first, in time."""
    account = stage.issuer.accounts["paysway"]
    account.hold()
    # So that what a first call takes counts for nothing.
    stage.done("list")
    answer = get(stage, timeout_s=1)
    expect(0.8 < answer["took"] < 3, "it fails after its second", answer)
    if answer.get("code") != "DEADLINE_EXCEEDED":
        fails(answer, "UNAVAILABLE", "TOKEN_PENDING", (0.1, 5))
    answer = stage.done("watch", client="paysway")
    equal(answer.get("unavailable"), "TOKEN_PENDING", "what the stream begins with")
    fails(get(stage, timeout_s=None), "UNAVAILABLE", "TOKEN_PENDING", (0.1, 5))
    account.release()
    # Neither of them cancelled the request that all share.
    equal(message(stage, answer["watch"], {"ok": True})["id"], got(stage)["id"], "the id that came")
    equal(account.requests, 1, "token requests")


def drained(stage, answer):
    """The error of a call that the end of the daemon ended."""
    lost = answer.get("code") == "UNAVAILABLE" and not answer.get("reason")
    # It takes GOAWAY for the end of the calls under way, against RFC 9113 section 6.8, and may read it before their answers
    # have been taken.
    if stage.column.name == "grpclib" and lost:
        return
    fails(answer, "UNAVAILABLE", "DRAINING", (0.1, 5))


def draining(stage):
    """UNAVAILABLE, DRAINING for who waits or watches while the daemon shuts down; health says NOT_SERVING."""
    stage.issuer.accounts["wawex"].hold()
    got(stage)
    watch = stage.done("watch", client="paysway")["watch"]
    health = stage.done("health_watch", service="")
    equal(health["status"], "SERVING", "status before")
    stage.driver.begin("get", client="wawex", min_validity_s=None, rejected=None, timeout_s=10)
    stage.soon(lambda: stage.requests("wawex") == 1, "for the token request")
    stage.daemon.terminate()
    drained(stage, stage.driver.answer())
    drained(stage, after(stage, watch))
    message(stage, health["watch"], {"status": "NOT_SERVING"})


def daemon_restarts(stage):
    """After a restart the same channel works again."""
    old = got(stage)
    stage.daemon.stop()
    equal(get(stage, timeout_s=2).get("code"), "UNAVAILABLE", "code while it is away")
    stage.daemon.start()
    # Stock channels pause between attempts to connect, at first for a second.
    until(lambda: (answer := get(stage, timeout_s=5))["ok"] and answer["id"] != old["id"], "for a token", 15)


@staged(accounts={"wawex": {"mode": "down"}})
def health_is_checked(stage):
    """Health/Check of the process, of readiness, of a client, and of what there is not."""
    # Not by the column: the probe knows nothing of tokens.
    stage.daemon.run("token", "paysway")
    stage.daemon.run("token", "wawex", check=False)
    for service, status in {"": "SERVING", "clients/paysway": "SERVING", "clients/wawex": "NOT_SERVING",
                            READINESS: "NOT_SERVING"}.items():  # fmt: skip
        equal(stage.done("health", service=service)["status"], status, f"status of {service!r}")
    answer = stage.driver.ask("health", service="clients/nobody")
    equal((answer["ok"], answer.get("code")), (False, "NOT_FOUND"), "what an unknown service comes to")


@staged(accounts={"paysway": {"mode": "down"}}, clients={"paysway": {}})
def health_is_watched(stage):
    """Health/Watch tells changes, also of a client that is configured later."""
    get(stage)
    client = stage.done("health_watch", service="clients/paysway")
    equal(client["status"], "NOT_SERVING", "status while the issuer is down")
    later = stage.done("health_watch", service="clients/later")
    equal(later["status"], "SERVICE_UNKNOWN", "status of a client that is not configured")
    stage.issuer.accounts["paysway"].mode = "ok"
    stage.daemon.refresh("paysway")
    message(stage, client["watch"], {"status": "SERVING"})
    stage.daemon.reload(later={})
    message(stage, later["watch"], {"status": "NOT_SERVING"})
    got(stage, "later")
    message(stage, later["watch"], {"status": "SERVING"})


def services_by_reflection(stage):
    """Without any file, reflection tells what is served and what it is made of."""
    listed = stage.done("reflect", what=None)["text"].split()
    for service in ("bearerd.v1.TokenBroker", "bearerd.v1.Admin", "grpc.health.v1.Health"):
        expect(service in listed, f"{service} is listed", listed)
    text = stage.done("reflect", what="bearerd.v1.Token")["text"]
    expect("string access_token = 2;" in text, "the message is described", text)


def the_same_from_every_description(stage):
    """Reflection, a descriptor set and the .proto file lead to the same token."""
    ids = {how: got(stage, source=how)["id"] for how in ("reflection", "protoset", "proto")}
    equal(len(set(ids.values())), 1, "number of ids")


@staged(clients={**CLIENTS, "bound": {"dpop": True}}, accounts={"bound": {"dpop": True}})
def proofs_are_signed(stage):
    """SignProof gives a proof for a token that needs one; FAILED_PRECONDITION, PROOF_NOT_NEEDED for others."""
    answer = stage.done("sign", client="bound", method="POST", url="https://api.example/payments")
    equal(answer["proof"].count("."), 2, "dots of the proof")
    answer = stage.driver.ask("sign", client="paysway", method="POST", url="https://api.example/payments")
    fails(answer, "FAILED_PRECONDITION", "PROOF_NOT_NEEDED")


CLIENTS_OF_ALL = ("grpcio", "grpclib", "go", "node", "java", "cpp", "rust", "grpcurl")
PROBE = "grpc_health_probe"

TABLE = [
    *(
        Scenario(function, CLIENTS_OF_ALL)
        for function in (
            gets_a_token,
            lists_clients,
            watches_a_rotation,
            replaces_a_reported_token,
            client_unknown,
            caller_not_allowed,
            validity_unattainable,
            issuer_unreachable,
            issuer_busy,
            issuer_answer_invalid,
            credentials_refused,
            secret_unreadable,
            caller_limit,
            request_invalid,
            token_pending,
            draining,
            daemon_restarts,
            health_is_watched,
        )
    ),
    Scenario(services_by_reflection, ("grpcurl",)),
    Scenario(the_same_from_every_description, ("grpcurl",)),
    Scenario(proofs_are_signed, ("grpcurl",)),
    Scenario(health_is_checked, (*CLIENTS_OF_ALL, PROBE)),
]
