"""Runs the scenarios of one column, some at a time, and says what came of each."""

import concurrent.futures
import contextlib
import dataclasses
import queue
import time
import traceback

from columns import Column
from driver import Driver, NotApplicable
from scenarios import MAY_BE_MISSING
from stage import USUAL, Stage

# Most of a scenario's time is waiting.
LANES = 4
# Of the driver's log, shown with a failure, characters.
TAIL = 1500


@dataclasses.dataclass
class Cell:
    """What came of one scenario in one column: ok, FAIL or n/a, with the reason."""

    column: str
    row: str
    outcome: str
    reason: str = ""
    seconds: float = 0


class Lane:
    """Plays scenarios one after the other with one driver, which a failure replaces."""

    def __init__(self, column):
        self.column, self.driver = column, None

    def play(self, scenario):
        """The cell of a scenario."""
        began = time.monotonic()
        try:
            outcome, reason = self._outcome(scenario.function)
        except Exception:  # a suite that breaks must not look like one that passes
            outcome, reason = "FAIL", f"the suite is broken: {traceback.format_exc()}"
        if outcome != "ok":
            self.close()
        return Cell(self.column.name, scenario.name, outcome, reason, time.monotonic() - began)

    def _outcome(self, function):
        with contextlib.closing(self.stage(function)) as stage:
            try:
                stage.set()
                function(stage)
                stage.check()
                if stage.shared:
                    stage.done("close")
            except NotApplicable as why:
                if function in MAY_BE_MISSING:
                    return "n/a", str(why)
                return "FAIL", f"NOT_APPLICABLE may not be answered: {why}"
            except AssertionError as wrong:
                return "FAIL", f"{where(wrong)}: {wrong}\n{logged(stage)}"
        return "ok", ""

    def stage(self, function):
        """A stage as the scenario wants it, with the lane's driver if it is a library's."""
        if self.column.kind == "library" and self.driver is None:
            self.driver = Driver(self.column)
        return Stage(self.column, self.driver, **getattr(function, "how", USUAL))

    def close(self):
        if self.driver is not None:
            self.driver.close()
            self.driver = None


def where(error):
    """The line of the scenario that failed."""
    frames = traceback.extract_tb(error.__traceback__)
    played = [frame for frame in frames if "/library/" in frame.filename or frame.filename.endswith("/stock.py")]
    frame = (played or frames)[0]
    return f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"


def logged(stage):
    """The end of what the driver logged, and the daemon."""
    told = "\n".join(line for partner in stage.partners for line in partner.told[-10:])
    logs = f"driver's log: …{stage.said()[-TAIL:]}\ndaemon's log: …{stage.daemon.said()[-TAIL:]}"
    return f"partner's answers: {told}\n{logs}"


def play(column: Column, table):
    """All cells of a column."""
    free = queue.SimpleQueue()
    every = [Lane(column) for _ in range(LANES)]
    for lane in every:
        free.put(lane)

    def one(scenario):
        lane = free.get()
        try:
            return lane.play(scenario)
        finally:
            free.put(lane)

    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        cells = list(pool.map(one, table))
    for lane in every:
        lane.close()
    return cells


def bench(column: Column, reads):
    """Nanoseconds of a read in one column, with nothing else going on."""
    lane = Lane(column)
    try:
        with contextlib.closing(lane.stage(bench)) as stage:
            try:
                stage.set()
                stage.token()
                return stage.done("bench", within=60, client="paysway", reads=reads)["ns_per_read"]
            except (AssertionError, NotApplicable) as wrong:
                return f"{wrong}\n{logged(stage)}"
    finally:
        lane.close()
