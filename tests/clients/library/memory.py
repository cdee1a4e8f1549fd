"""How tokens get into memory, and how they are read from there."""

import time

from stage import equal, expect, staged
from support.waiting import until

# How long a rotation may take from the daemon's answer to the reader.
PROMPT = 2


@staged(start=False)
def opened_before_the_daemon_is_there(stage):
    """Opening connects to nothing; the first read does, and asks for the first token."""
    stage.daemon.start()
    stage.connected(0, "after opening")
    stage.token()
    stage.connected(1, "after a read")
    equal(stage.requests(), 1, "token requests")


@staged(opened=False)
def socket_found_by_variable(stage):
    """Without a socket given, $BEARERD_SOCKET says where it is."""
    stage.another_driver(BEARERD_SOCKET=str(stage.daemon.socket))
    stage.open(socket=None)
    stage.token()


@staged(opened=False)
def users_socket_found(stage):
    """Without a socket given or a variable, the user's own is found, in the runtime directory or the home directory."""
    for variable, below in [("XDG_RUNTIME_DIR", "bearerd"), ("HOME", ".bearerd/bearerd")]:
        base = stage.daemon.directory / variable
        (base / below).mkdir(parents=True)
        (base / below / "bearerd.sock").symlink_to(stage.daemon.socket)
        stage.another_driver(**{variable: str(base)})
        stage.open(socket=None)
        stage.token()


def first_token_is_waited_for(stage):
    """A read waits while the first token is on its way."""
    account = stage.issuer.accounts["paysway"]
    account.hold()
    stage.driver.begin("token", client="paysway", min_validity_s=None, timeout_s=10)
    stage.soon(lambda: account.requests == 1, "for the token request")
    expect(not stage.driver.answered(), "the read waits", "an answer")
    account.release()
    answer = stage.driver.answer()
    expect(answer["ok"], "the read that waited succeeds", answer)
    equal(account.requests, 1, "token requests")


def timeout_while_pending(stage):
    """A read waits no longer than it wants to; the token is there for the next one."""
    stage.warm_up()
    account = stage.issuer.accounts["paysway"]
    account.hold()
    answer = stage.no_token("TOKEN_PENDING", code="UNAVAILABLE", timeout_s=1)
    expect(0.8 < answer["took"] < 2.5, "it fails after the second it wanted to wait", answer)
    account.release()
    stage.token(timeout_s=10)
    equal(account.requests, 1, "token requests")


def rotation_is_seen_in_memory(stage):
    """A new token reaches memory by itself: it is there although the daemon stands still."""
    old = stage.token()
    new = stage.daemon.refresh("paysway")

    def seen():
        stage.daemon.freeze()
        try:
            return stage.token()["id"] == new
        finally:
            stage.daemon.thaw()

    until(seen, "for the new token in memory", PROMPT)
    equal(old["id"] == new, False, "whether the id stayed")


def reads_cost_no_call(stage):
    """While a token is good, reads, headers and API requests work with a daemon that stands still."""
    token, wawex = stage.token(), stage.token("wawex")
    stage.daemon.freeze()
    try:
        answer = stage.done("read", client="paysway", readers=50, times=100)
        equal((answer["reads"], answer["ids"], answer["failures"]), (5000, [token["id"]], {}), "reads, ids, failures")
        found = stage.done("headers", client="wawex", set={"Requestor-ID": "4711"})["headers"]
        equal(found["Authorization"], wawex["authorization"], "Authorization")
        equal(stage.request()["status"], 200, "status")
    finally:
        stage.daemon.thaw()


def thousand_readers(stage):
    """1,000 concurrent readers, ten times each: one token request, one stream, one connection."""
    account = stage.issuer.accounts["paysway"]
    account.hold()
    stage.driver.begin("read", client="paysway", readers=1000, times=10)
    stage.soon(lambda: account.requests == 1, "for the token request")
    stage.soon(lambda: stage.daemon.calls() == 1, "for one stream to be the only call while they wait")
    stage.connected(1, "while they wait")
    account.release()
    answer = stage.driver.answer()
    expect(answer["ok"], "the reads succeed", answer)
    equal((answer["reads"], len(answer["ids"]), answer["failures"]), (10_000, 1, {}), "reads, number of ids, failures")
    equal((account.requests, stage.daemon.calls()), (1, 1), "token requests, streams")
    stage.connected(1, "afterwards")


def two_clients_share_a_connection(stage):
    """Two clients: one connection, two streams."""
    stage.token("paysway")
    stage.token("wawex")
    stage.soon(lambda: stage.daemon.calls() == 2, "for two streams")
    stage.connected(1, "with two clients")


@staged(accounts={"paysway": {"lifetime": 60}})
def validity_unattainable(stage):
    """More validity than the issuer's tokens have is refused, and asks the issuer for nothing."""
    stage.token()
    stage.no_token("VALIDITY_UNATTAINABLE", code="OUT_OF_RANGE", min_validity_s=120)
    equal(stage.requests(), 1, "token requests")
    stage.token()


@staged(accounts={"paysway": {"lifetime": 20}})
def more_validity_than_is_left(stage):
    """A wish that the present token does not fulfil brings a new one, which is kept."""
    old = stage.old_token()
    asked = time.time()
    new = stage.token(min_validity_s=17)
    expect(new["expires_at"] >= asked + 17, "it is valid for 17 s", new)
    equal(stage.requests(), 2, "token requests")
    stage.daemon.freeze()
    try:
        equal(stage.token()["id"], new["id"], "the id in memory")
    finally:
        stage.daemon.thaw()
    equal(old["id"] == new["id"], False, "whether the id stayed")


def text_forms_show_no_token(stage):
    """What a token looks like as text tells its id and nothing secret."""
    token = stage.token()
    text = stage.done("describe", client="paysway")["text"]
    expect(token["access_token"] not in text, "the access token is not shown", text)
    expect(token["id"] in text, "the id is shown", text)


@staged(opened=False)
def proxy_variables_do_not_matter(stage):
    """Variables that name a proxy which is not there keep nobody from a token."""
    dead = "http://127.0.0.1:9"
    names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
    stage.another_driver(**dict.fromkeys([*names, *map(str.upper, names)], dead))
    stage.open()
    stage.token()
