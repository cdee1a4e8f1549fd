"""What readers get while the issuer or the daemon is away, and afterwards."""

import socket
import threading
import time

from stage import equal, expect, staged
from support.waiting import until

# How soon after the daemon is back the library's stream stands.
BACK = 3
# How soon reads find a daemon that was not there: they try once a second.
FOUND = 1.5
# What "at once" may take on a very busy machine, seconds; far less than anybody waits by default.
AT_ONCE = 2.5
# What an attempt may take without a daemon.
MOMENT = 1


@staged(accounts={"paysway": {"mode": "down"}})
def issuer_down(stage):
    """An error at once with reason and time of the next try; good again when the issuer is."""
    stage.no_token("ISSUER_UNREACHABLE", code="UNAVAILABLE")
    stage.soon(lambda: stage.daemon.status("paysway")["consecutive_failures"] >= 2, "for a second failure")
    answer = stage.no_token("ISSUER_UNREACHABLE", code="UNAVAILABLE")
    expect(answer["took"] < AT_ONCE, "the error comes at once", answer)
    retry = answer.get("retry_after_s")
    expect(isinstance(retry, (int, float)) and 0 <= retry <= 15, "retry_after_s is 0 to 15", answer)
    stage.issuer.accounts["paysway"].mode = "ok"
    stage.daemon.refresh("paysway")
    stage.token_within(2)


@staged(accounts={"paysway": {"mode": "refuse"}})
def issuer_refuses(stage):
    """An issuer that refuses the credentials is another reason; good again when it accepts them."""
    stage.no_token("CREDENTIALS_REFUSED", code="FAILED_PRECONDITION")
    stage.issuer.accounts["paysway"].mode = "ok"
    stage.daemon.refresh("paysway")
    stage.token_within(2)


def issuer_down_while_a_token_is_good(stage):
    """A good token is served while the issuer is away."""
    token = stage.token()
    stage.issuer.accounts["paysway"].mode = "down"
    stage.daemon.refresh("paysway", check=False)
    equal(stage.daemon.status("paysway")["state"], "DEGRADED", "the client's state")
    equal(stage.token()["id"], token["id"], "the id of the token that is served")
    equal(stage.request()["status"], 200, "status")


def away_and_back(stage, go):
    """Reads go on from memory while the daemon is away; when it is back, a new token is seen without a read."""
    token = stage.token()
    go()
    # Longer than the longest pause of the library, so that its backoff is at its worst.
    begun = time.monotonic()
    while time.monotonic() < begun + 3:
        answer = stage.token()
        equal(answer["id"], token["id"], "the id while the daemon is away")
        expect(answer["took"] < AT_ONCE, "a read does not wait", answer)
    equal(stage.request()["status"], 200, "status of a request while the daemon is away")
    ready = stage.daemon.start()
    # The new daemon has no token and asks for one when somebody watches.
    until(lambda: stage.requests() == 2, "for the stream to stand again", ready + BACK - time.monotonic())
    new = stage.token_after(token, AT_ONCE)
    # And the stream goes on.
    newest = stage.daemon.refresh("paysway")
    equal(stage.token_after(new, AT_ONCE)["id"], newest, "the id after another rotation")
    stage.connected(1, "to the new daemon")


def daemon_restarts(stage):
    """An orderly restart in the middle: reads go on, then rotations are seen again."""
    away_and_back(stage, stage.daemon.stop)


def daemon_is_killed(stage):
    """The same after a crash."""
    away_and_back(stage, stage.daemon.kill)


@staged(accounts={"paysway": {"lifetime": 10}})
def daemon_gone_and_token_expired(stage):
    """With the daemon gone for good a token is served to its end and not a moment longer; then there is an error."""
    token = stage.token()
    stage.daemon.kill()
    margin = (token["expires_at"] - token["issued_at"]) / 10
    while True:
        before = time.time()
        answer = stage.try_token()
        after = time.time()
        if not answer["ok"]:
            break
        expect(before < token["expires_at"] - margin, "no token is served within the margin before its end", answer)
        # So that this does not take a whole processor.
        until(lambda after=after: time.time() > after + 0.05, "a moment")
    expect(
        after >= token["expires_at"] - margin, f"a token that lasts to {token['expires_at']} is served", (after, answer)
    )
    stage.is_refusal(answer, "DAEMON_UNREACHABLE", "UNAVAILABLE")
    until(lambda: time.time() > token["expires_at"], "for the end of the token")
    for _ in range(5):
        stage.no_token("DAEMON_UNREACHABLE", code="UNAVAILABLE")


@staged(start=False, opened=False)
def no_daemon(stage):
    """Without a daemon there is an error at once that names the socket; one that appears is found by the next reads."""
    # So that what a first call of a process takes counts for nothing.
    stage.open(str(stage.daemon.directory / "other.sock"))
    stage.no_token("DAEMON_UNREACHABLE")
    stage.done("close")
    stage.open()
    attempts = []
    for _ in range(3):
        answer = stage.no_token("DAEMON_UNREACHABLE", code="UNAVAILABLE")
        attempts.append(answer["took"])
        # The next is an attempt of its own, not what came of this one.
        made = time.monotonic()
        until(lambda made=made: time.monotonic() > made + 1.1, "for another attempt to be due")
    expect(min(attempts) < MOMENT, f"the error comes within {MOMENT} s when the machine is not too busy", attempts)
    expect(str(stage.daemon.socket) in answer["message"], "the message names the socket", answer)
    expect("BEARERD_SOCKET" in answer["message"], "the message says what to do", answer)
    # So that it is the read that finds out, not the next attempt in the background.
    until(lambda: time.monotonic() > made + 3, "for the pauses in the background to grow")
    ready = stage.daemon.start()
    stage.token_within(ready + FOUND - time.monotonic())


def daemon_that_does_not_answer(stage):
    """A daemon that stands still keeps no reader longer than it wants to wait, and is found again afterwards."""
    stage.token()
    stage.daemon.freeze()
    try:
        answer = stage.driver.ask("token", client="wawex", min_validity_s=None, timeout_s=1)
        expect(
            not answer["ok"] and answer["took"] < 2.5,
            "a read for which there is nothing in memory fails in time",
            answer,
        )
        expect(answer["reason"] in ("TOKEN_PENDING", "DAEMON_UNREACHABLE"), "the reason says so", answer)
        stage.token()
    finally:
        stage.daemon.thaw()
    stage.token_within(BACK, "wawex")


@staged(start=False)
def no_storm_without_a_daemon(stage):
    """Thousands of reads of a daemon that hangs up cost a handful of connections, about one a second."""
    accepted = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(stage.daemon.socket))
    stage.daemon.socket.chmod(0o666)
    listener.listen(512)

    def hang_up():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            accepted.append(time.monotonic())
            connection.close()

    threading.Thread(target=hang_up, daemon=True).start()
    try:
        begun = time.monotonic()
        while (spent := time.monotonic() - begun) < 4:
            answer = stage.done("read", client="paysway", readers=100, times=10)
            equal((answer["reads"], answer["ids"]), (1000, []), "reads, ids")
            equal(answer["failures"], {"DAEMON_UNREACHABLE": 1000}, "failures")
        # The background's own attempts, with pauses that double at first, and one more each second.
        expect(len(accepted) <= 10 + 2 * spent, f"there are few connections in {spent:.1f} s", len(accepted))
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        stage.daemon.socket.unlink()
