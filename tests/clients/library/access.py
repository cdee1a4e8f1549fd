"""Who may have a token, and how that changes while a broker is open."""

import time

from stage import CLIENTS, equal, expect, staged
from support.waiting import until

# How soon a change of the configuration counts.
SOON = 2
LOCKED = {"allow": [{"uid": 0}]}


@staged(clients={**CLIENTS, "locked": LOCKED})
def not_allowed(stage):
    """A process that the configuration does not allow is told so, and who it is taken for."""
    answer = stage.no_token("CALLER_NOT_ALLOWED", "locked", "PERMISSION_DENIED")
    expect(str(stage.column.uid) in answer["message"], f"the message names uid {stage.column.uid}", answer)
    equal(stage.requests("locked"), 0, "token requests")
    stage.token("paysway")


def taken_away_by_reload(stage):
    """Who is not allowed any more has no token in memory either."""
    stage.token()
    stage.daemon.reload(paysway=LOCKED)
    answer = stage.refusal_within(SOON)
    stage.is_refusal(answer, "CALLER_NOT_ALLOWED", "PERMISSION_DENIED")
    stage.no_token("CALLER_NOT_ALLOWED", code="PERMISSION_DENIED")
    stage.refused("CALLER_NOT_ALLOWED", "headers", client="paysway", set={})
    stage.unsent("CALLER_NOT_ALLOWED")


@staged(clients={"paysway": LOCKED})
def given_by_reload(stage):
    """Who is allowed later gets the token with the same broker."""
    stage.no_token("CALLER_NOT_ALLOWED")
    # So that it is the read that finds out, not the next attempt in the background.
    refused = time.monotonic()
    until(lambda: time.monotonic() > refused + 6, "for the pauses in the background to grow")
    stage.daemon.reload(paysway={})
    stage.token_within(SOON)


def unknown_client(stage):
    """A name that is not configured is refused with the nearest one that is."""
    answer = stage.no_token("CLIENT_UNKNOWN", "payswai", "NOT_FOUND")
    expect("`paysway`" in answer["message"], "the message suggests `paysway`", answer)


def removed_and_configured_again(stage):
    """A client that is removed has no token any more; when it is back, the same broker has its token."""
    stage.token()
    stage.daemon.reload(paysway=None)
    stage.is_refusal(stage.refusal_within(SOON), "CLIENT_UNKNOWN", "NOT_FOUND")
    stage.daemon.reload(paysway={})
    stage.token_within(SOON)
