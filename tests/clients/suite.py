"""Builds, plays all columns, some at a time, and prints the matrices, the benchmarks and a total."""

import concurrent.futures
import multiprocessing
import textwrap
import time

import builds
import lanes
import matrix
import stock
from columns import COLUMNS
from lanes import Cell
from scenarios import LIBRARY

TABLES = {"library": ("Client libraries", LIBRARY), "stock": ("Stock clients", stock.TABLE)}
# Columns that are played at a time.
AT_A_TIME = 4
# Reads that a benchmark times.
READS = 200_000
# The row of what is built.
BUILD = "builds"
# The row of what is timed. How fast it is decides nothing: a machine may be busy.
BENCHMARK = "reads are timed"


class Choice:
    """The columns and scenarios that were asked for: all, if none were named."""

    def __init__(self, names, words):
        self.words = words
        self.columns = [column for column in COLUMNS if not names or self._named(column, names)]

    @staticmethod
    def _named(column, names):
        return column.name in names or f"{column.kind}/{column.name}" in names or column.name.split("/")[0] in names

    def table(self, column):
        """The scenarios of a column."""
        _, table = TABLES[column.kind]
        return [one for one in table if one.fits(column) and self._wanted(one)]

    def _wanted(self, scenario):
        return not self.words or any(words in scenario.name for words in self.words)

    def count(self):
        return sum(len(self.table(column)) for column in self.columns)


def list_scenarios():
    for title, table in TABLES.values():
        print(f"{title}\n")
        for scenario in table:
            print(scenario.name)
            print(textwrap.indent(textwrap.fill(scenario.shows, 100), "    "))
        print()
    return 0


def run(chosen, began):
    """The whole of it; the exit code."""
    wrong = builds.tools()
    if wrong:
        print(f"the command-line tools cannot be built: {wrong}")
        return 1
    failures = builds.columns(chosen.columns)
    cells, whole = [], []
    for column in chosen.columns:
        why = failures[column.directory]
        cells.append(Cell(column.name, BUILD, "FAIL" if why else "ok", why or ""))
        if not why:
            whole.append(column)
    print(f"built in {time.monotonic() - began:.0f} s", flush=True)
    by_kind = {column: [cell] for column, cell in zip(chosen.columns, cells, strict=True)}
    for column, found in played(chosen, whole):
        by_kind[column] += found
    speeds = [(column, lanes.bench(column, READS)) for column in whole if column.kind == "library"]
    for column, found in speeds:
        wrong = isinstance(found, str)
        by_kind[column].append(Cell(column.name, BENCHMARK, "FAIL" if wrong else "ok", found if wrong else ""))
    report(chosen, by_kind, speeds)
    cells = [cell for found in by_kind.values() for cell in found]
    failed = sum(cell.outcome == "FAIL" for cell in cells)
    passed = sum(cell.outcome == "ok" for cell in cells)
    print(f"\nin {time.monotonic() - began:.0f} s\n\n{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


def played(chosen, columns):
    """The cells of each column, in the order in which they are done. A process each, so that they do not wait for each
    other's interpreter."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(AT_A_TIME, mp_context=context) as pool:
        started = {pool.submit(_play, column, chosen.words): column for column in columns}
        for future in concurrent.futures.as_completed(started):
            column, (found, seconds) = started[future], future.result()
            bad = sum(cell.outcome == "FAIL" for cell in found)
            print(f"{column.kind} {column.name}: {len(found)} played, {bad} failed, {seconds:.0f} s", flush=True)
            yield column, found


def _play(column, words):
    began = time.monotonic()
    found = lanes.play(column, Choice([], words).table(column))
    return found, time.monotonic() - began


def report(chosen, by_kind, speeds):
    for kind, (title, table) in TABLES.items():
        columns = [column for column in chosen.columns if column.kind == kind]
        if not columns:
            continue
        found = {(cell.column, cell.row): cell for column in columns for cell in by_kind[column]}
        played_rows = {row for _, row in found}
        every = [BUILD, *(scenario.name for scenario in table), BENCHMARK]
        rows = [row for row in every if row in played_rows]
        matrix.show(title, columns, rows, found)
        matrix.explain([found[column.name, row] for column in columns for row in rows if (column.name, row) in found])
    if speeds:
        matrix.speeds(speeds)
