"""What becomes of a 401, and of what is none."""

from stage import equal, expect, staged
from support.waiting import until


def sent(stage):
    """The tokens of the requests that the partner got."""
    return [call.headers.get("authorization", "").partition(" ")[2] for call in stage.partner.take()]


def rejected(stage, client="paysway"):
    """A token that the partner does not take and the daemon replaces."""
    token = stage.old_token(client)
    stage.partner.rejected.add(token["access_token"])
    return token


def replayed_after_a_401(stage):
    """A 401 brings a new token and one more request, with the same body; the app sees the second answer."""
    old = rejected(stage)
    answer = stage.request(body='{"sum": 1}')
    equal(answer["status"], 200, "status")
    expect('{\\"sum\\": 1}' in answer["body"], "the body came again", answer)
    first, second = sent(stage)
    equal(first, old["access_token"], "the first token")
    equal(second, stage.token()["access_token"], "the second token")
    equal(stage.requests(), 2, "token requests")


def a_401_for_ever(stage):
    """Whatever the second answer is, there is no third request."""
    stage.old_token()
    stage.partner.reject_all = True
    equal(stage.request()["status"], 401, "status")
    equal(len(set(sent(stage))), 2, "different tokens that were tried")
    equal(stage.request()["status"], 401, "status of another request")
    equal(len(sent(stage)), 1, "requests with a token that stays")
    equal(stage.requests(), 2, "token requests")


def a_401_to_a_young_token(stage):
    """A token that is young stays: the app gets the 401 after one request, and the token is served again."""
    stage.warm_up()
    token = stage.token()
    stage.partner.reject_all = True
    equal(stage.request()["status"], 401, "status")
    equal(sent(stage), [token["access_token"]], "tokens that were sent")
    equal(stage.token()["id"], token["id"], "the id in memory")
    equal(stage.requests(), 1, "token requests")


def a_burst_of_401s(stage):
    """100 concurrent requests that are all rejected cost one report and one token request, and all succeed."""
    old = rejected(stage)
    account = stage.issuer.accounts["paysway"]
    account.hold()
    stage.partner.gate.clear()
    url = stage.partner.url("/payments/validations")
    stage.driver.begin("burst", client="paysway", method="POST", url=url, headers={}, count=100)
    stage.soon(lambda: stage.partner.count() == 100, "for all 100 to be sent with the old token")
    stage.partner.gate.set()
    stage.soon(lambda: account.requests == 2, "for the token request")
    # The stream and one report, for as long as it takes to look twenty times.
    equal(max(stage.daemon.calls() for _ in range(20)), 2, "calls and streams while all wait")
    account.release()
    answer = stage.driver.answer()
    expect(answer["ok"], "the burst succeeds", answer)
    equal((answer["statuses"], answer["failures"]), ({"200": 100}, {}), "statuses, failures")
    equal(stage.requests(), 2, "token requests")
    tokens = sent(stage)
    counts = [tokens.count(token["access_token"]) for token in (old, stage.token())]
    equal(counts, [100, 100], "requests with the old token, with the new one")


def no_report_of_400_or_403(stage):
    """400 and 403 are no matter of tokens: the app gets them after one request, and no new token is asked for."""
    token = stage.old_token()
    for status in (400, 403):
        stage.partner.status = status
        equal(stage.request()["status"], status, "status")
        equal(sent(stage), [token["access_token"]], "tokens that were sent")
    equal((stage.requests(), stage.token()["id"]), (1, token["id"]), "token requests, id")


def body_that_cannot_be_sent_again(stage):
    """Then the app gets the 401, and its next request is good."""
    old = rejected(stage)
    equal(stage.request(stream_body=True, body='{"sum": 1}')["status"], 401, "status")
    equal(sent(stage), [old["access_token"]], "tokens that were sent")
    answer = stage.request(stream_body=True, body='{"sum": 1}')
    equal(answer["status"], 200, "status of the next request")
    expect('{\\"sum\\": 1}' in answer["body"], "the body came whole", answer)
    equal(len(sent(stage)), 1, "requests")
    equal(stage.requests(), 2, "token requests")


def a_401_while_the_issuer_is_down(stage):
    """If there is no new token, the app gets its 401; the rejected token is not served as if it were good."""
    old = rejected(stage)
    stage.issuer.accounts["paysway"].mode = "down"
    equal(stage.request(within=30)["status"], 401, "status")
    equal(sent(stage), [old["access_token"]], "tokens that were sent")
    stage.no_token("ISSUER_UNREACHABLE", code="UNAVAILABLE")
    stage.issuer.accounts["paysway"].mode = "ok"
    stage.daemon.refresh("paysway")
    stage.token_within(2)
    equal(stage.request()["status"], 200, "status afterwards")


@staged(accounts={"wawex": {"same": True}})
def what_reports_come_to(stage):
    """A report says what became of it, in the words of the API."""
    stage.warm_up()
    first, same = stage.token(), stage.token("wawex")

    def report(token, client="paysway"):
        answer = stage.done("report", client=client, id=token["id"])
        stage.is_token(answer["token"], client)
        return answer["rejection"], answer["token"]

    rejection, token = report(first)
    equal((rejection, token["id"]), ("TOO_YOUNG", first["id"]), "the report of a young token")
    stage.old_enough(first)
    rejection, second = report(first)
    equal((rejection, second["id"] == first["id"]), ("REPLACED", False), "the report of a token, and whether it stays")
    equal(stage.token()["id"], second["id"], "the id in memory")
    rejection, token = report(first)
    equal((rejection, token["id"]), ("ALREADY_REPLACED", second["id"]), "the same report again")
    stage.old_enough(same)
    rejection, token = report(same, "wawex")
    equal((rejection, token["id"]), ("SAME_TOKEN", same["id"]), "the report of a token that the issuer gives again")
    equal(stage.token("wawex")["id"], same["id"], "the id in memory")
    stage.old_enough(second)
    rejection, token = report(second)
    equal((rejection, token["id"]), ("RATE_LIMITED", second["id"]), "a second report within 30 s")
    equal(stage.token()["id"], second["id"], "the id in memory")
    equal(stage.requests(), 2, "token requests")


def next_rotation_after_a_401(stage):
    """After a replay, memory goes on following the daemon."""
    rejected(stage)
    equal(stage.request()["status"], 200, "status")
    newest = stage.daemon.refresh("paysway")
    until(lambda: stage.token()["id"] == newest, "for the next token in memory", 2)
    equal(stage.daemon.calls(), 1, "streams")
