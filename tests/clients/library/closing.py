"""How a broker ends, and the program that has one."""

from stage import equal, expect, staged

# How soon a process ends after its input has.
EXIT = 5


def closed(stage):
    """close() ends the connection; reads afterwards say so, and closing twice does no harm."""
    stage.token()
    stage.connected(1, "before")
    stage.done("close")
    stage.connected(0, "after close")
    stage.no_token("CLOSED")
    stage.unsent("CLOSED")
    stage.done("close")
    stage.connected(0, "after a second close")


def closed_before_it_was_used(stage):
    """close() of a broker that never connected."""
    stage.done("close")
    stage.no_token("CLOSED")
    stage.connected(0, "after close")


def ends(stage):
    ended = stage.driver.end(EXIT)
    expect(ended == 0, f"the process ends with 0 within {EXIT} s of the end of its input", ended)
    stage.connected(0, "after its end")


@staged(opened=False)
def program_ends_after_close(stage):
    """Nothing of a closed broker keeps a program."""
    stage.another_driver()
    stage.open()
    stage.token()
    equal(stage.request()["status"], 200, "status")
    stage.done("close")
    ends(stage)


@staged(opened=False)
def program_ends_without_close(stage):
    """A program that forgets to close ends all the same."""
    stage.another_driver()
    stage.open()
    stage.token()
    equal(stage.request()["status"], 200, "status")
    ends(stage)


@staged(opened=False, start=False)
def program_ends_while_it_reconnects(stage):
    """So does one whose daemon is gone."""
    stage.another_driver()
    stage.open()
    stage.no_token("DAEMON_UNREACHABLE")
    ends(stage)


def debug_log_has_no_token(stage):
    """With everything logged, the log tells of the token's id and of what happened, and never of a token."""
    old = stage.old_token()
    new = stage.daemon.refresh("paysway")
    stage.token_after(old, 2)
    stage.partner.reject_all = True
    equal(stage.request()["status"], 401, "status")
    stage.refused("HEADER_MISSING", "headers", client="wawex", set={})
    stage.daemon.kill()
    equal(stage.token()["id"], new, "the id in memory")
    said = stage.said()
    expect(old["id"] in said and new in said, "both ids are logged", said[-1000:])
    equal(stage.leaks(), [], "where tokens and secrets were logged")
