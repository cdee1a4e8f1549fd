"""Processes that end with the suite, whatever becomes of it."""

import contextlib
import os
import signal
import subprocess

# Reads what the suite's user may read, so that a driver can be anywhere; writes nothing of it.
READER = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
PASSED_ON = ("JAVA_HOME", "LANG", "LD_LIBRARY_PATH")


def start(words, *, environment, uid=None, **streams):
    """Starts a program in a session of its own; as another user, if one is given."""
    prefix = ["setpriv", "--pdeathsig", "KILL"]
    if uid is not None:
        prefix += [f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *READER]
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return subprocess.Popen(
        [*prefix, *map(str, words)],
        env={"PATH": os.environ["PATH"], **kept, **environment},
        start_new_session=True,
        **streams,
    )


def end(process):
    """Ends it and what it started, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
