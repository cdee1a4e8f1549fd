"""The scenarios in one release's box, each on its own line, and a total.

    suite.py RELEASE PACKAGE NEWER_PACKAGE DEBUG_BINARY [-k PATTERN]...
"""

import argparse
import importlib
import pathlib
import signal
import sys
import unittest

from box import Box
from scenario import Scenario

HERE = pathlib.Path(__file__).resolve().parent


def main():
    read = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    read.add_argument("release")
    for name in ("package", "newer", "debug"):
        read.add_argument(name, type=lambda path: pathlib.Path(path).resolve(strict=True))
    read.add_argument("-k", action="append", dest="patterns", help="only scenarios with this in their name")
    asked = read.parse_args()
    loader = unittest.TestLoader()
    if asked.patterns:
        loader.testNamePatterns = [pattern if "*" in pattern else f"*{pattern}*" for pattern in asked.patterns]
    modules = [importlib.import_module(file.stem) for file in sorted(HERE.glob("test_*.py"))]
    scenarios = unittest.TestSuite(loader.loadTestsFromModule(module) for module in modules)
    # The end of the suite is the end of its box, which an interrupt sees to.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Box(asked.release) as box:
        box.boot()
        Scenario.box, Scenario.package, Scenario.newer, Scenario.debug = box, asked.package, asked.newer, asked.debug
        result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(scenarios)
    bad = len(result.failures) + len(result.errors) + len(result.skipped)
    print(f"{asked.release}: {result.testsRun} scenarios, {bad} failed")
    return 0 if result.testsRun and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
