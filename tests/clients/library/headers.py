"""What each API call must carry, and what is not sent at all."""

from stage import equal, expect, staged

BAD = {
    "missing": ({}, "HEADER_MISSING"),
    "empty": ({"Requestor-ID": ""}, "HEADER_INVALID"),
    "blank": ({"Requestor-ID": "  "}, "HEADER_INVALID"),
    "not matching": ({"Requestor-ID": "47a1"}, "HEADER_INVALID"),
    "matching in part": ({"Requestor-ID": "4711x"}, "HEADER_INVALID"),
    "followed by a line break": ({"Requestor-ID": "4711\n"}, "HEADER_INVALID"),
    "with a line break and another header": ({"Requestor-ID": "4711\r\nX-Evil: 1"}, "HEADER_INVALID"),
}


def all_headers_of_a_call(stage):
    """`headers` gives Authorization, the fixed headers and the values of this call."""
    token = stage.token("wawex")
    found = stage.done("headers", client="wawex", set={"Requestor-ID": "4711"})["headers"]
    wanted = {"authorization": token["authorization"], "requestor-id": "4711", "x-partner": "acme"}
    equal({name.lower(): value for name, value in found.items()}, wanted, "headers")


def headers_missing_or_wrong(stage):
    """`headers` refuses a required value that is missing, blank or does not match; the message names the header."""
    token = stage.token("wawex")
    for what, (values, reason) in BAD.items():
        answer = stage.refused(reason, "headers", client="wawex", set=values)
        expect("requestor-id" in answer["message"].lower(), f"the message names the header ({what})", answer)
        expect(token["access_token"] not in answer["message"], "the message has no token", answer)


@staged(clients={"paysway": {"request_headers": {"X-Who": {"per_call": True, "pattern": "[0-9]{4}|self"}}}})
def pattern_with_alternatives(stage):
    """A pattern has to match as a whole, whichever of its alternatives does."""
    for value in ("4711", "self"):
        equal(stage.done("headers", client="paysway", set={"X-Who": value})["headers"]["X-Who"], value, "X-Who")
    for value in ("4711self", "4711x", "myself", "x4711"):
        stage.refused("HEADER_INVALID", "headers", client="paysway", set={"X-Who": value})


@staged(clients={"paysway": {"request_headers": {"X-Who": {"per_call": True}}}})
def any_value_that_is_one(stage):
    """Without a pattern any value will do that is not blank and has no control characters."""
    found = stage.done("headers", client="paysway", set={"X-Who": "J. Doe (4711)"})["headers"]
    equal(found["X-Who"], "J. Doe (4711)", "X-Who")
    for value in ("", "  ", "\t", "a\nb", "a\rb", "a\0b", "\x7f"):
        stage.refused("HEADER_INVALID", "headers", client="paysway", set={"X-Who": value})


def requests_without_what_they_need(stage):
    """The adapter sends nothing when a required header is missing, blank or does not match."""
    url = stage.partner.url("/commands/transfer")
    for what, (values, reason) in BAD.items():
        if "line break" not in what:
            stage.unsent(reason, url, client="wawex", headers=values)
            continue
        # HTTP clients refuse it, or take it away at the end of a value (Fetch standard, "normalize").
        answer = stage.driver.ask("request", **stage.call(url, "POST", "wawex", values, "{}"))
        values = [call.headers.get("requestor-id") for call in stage.partner.take()]
        expect(not answer["ok"] or values == ["4711"], f"a value {what} is refused or cleaned", (answer, values))
    equal(stage.partner.count(), 0, "how many requests the partner got")


def headers_of_a_request(stage):
    """A request carries token, fixed header and the app's own headers; an Authorization of the app's is replaced."""
    token = stage.token("wawex")
    given = {"requestor-id": "4711", "Authorization": "Basic bWluZTptaW5l", "X-Trace": "t1", "X-Partner": "other"}
    answer = stage.request(stage.partner.url("/commands/transfer"), client="wawex", headers=given, body='{"sum": 1}')
    equal(answer["status"], 200, "status")
    [call] = stage.partner.take()
    sent = {name: call.headers.get(name) for name in ("authorization", "requestor-id", "x-trace", "x-partner")}
    wanted = {
        "authorization": token["authorization"], "requestor-id": "4711", "x-trace": "t1", "x-partner": "acme"
    }  # fmt: skip
    equal(sent, wanted, "headers that were sent")
    equal((call.method, call.body), ("POST", b'{"sum": 1}'), "method and body")


def plain_http_is_refused(stage):
    """Without TLS a token goes nowhere but to this machine, however the other's name begins."""
    port = stage.partner.origin.rpartition(":")[2]
    for host in ("partner.example", "localhost.partner.example", "127.0.0.1.partner.example", f"0.0.0.0:{port}"):
        stage.unsent("URL_INSECURE", f"http://{host}/payments/validations")
    equal(stage.request(f"http://localhost:{port}/payments/validations", "GET", body=None)["status"], 200, "status")


def plain_http_when_the_app_wants_it(stage):
    """With allow_http a request without TLS is sent."""
    stage.done("close")
    stage.open(allow_http=True)
    port = stage.partner.origin.rpartition(":")[2]
    # An address of this machine that is no loopback address.
    equal(stage.request(f"http://0.0.0.0:{port}/payments/validations")["status"], 200, "status")
