"""Waiting for conditions, never for time alone."""

import time

# Long enough that only something broken reaches it.
PATIENCE = 20


def until(condition, what, within=PATIENCE, every=0.02):
    """Polls until the condition holds, and returns what it gave; an AssertionError says what was waited for."""
    deadline = time.monotonic() + within
    while not (held := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within:g} s in vain {what}")
        time.sleep(every)
    return held
