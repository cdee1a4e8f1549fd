"""Compares what h2spec found with what is explained: compare.py REPORT DEVIATIONS."""

import re
import sys
import xml.etree.ElementTree as xml

CASES = 145  # that this version of h2spec has; fewer in a report were not run


def explained(path):
    listed = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            found = re.fullmatch(r"(\w+/[\d.]+/\d+)(?: (skipped|either))?: .+", line)
            if not found or found[1] in listed:
                sys.exit(f"not a deviation, or one listed twice: {line}")
            listed[found[1]] = found[2] or "failed"
    return listed


def reported(path):
    results, numbers = {}, {}
    for case in xml.parse(path).iter("testcase"):
        section = case.get("package")
        numbers[section] = numbers.get(section, 0) + 1
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"error", "failure"} else "skipped" if "skipped" in kinds else "passed"
        results[f"{section}/{numbers[section]}"] = (outcome, case.get("classname"), " / ".join(case.itertext()).split())
    return results


def main():
    results, listed = reported(sys.argv[1]), explained(sys.argv[2])
    wrong = []
    if len(results) != CASES:
        wrong.append(f"{len(results)} cases in the report, not {CASES}")
    for key in sorted(listed.keys() - results.keys()):
        wrong.append(f"{key} is listed, but was not run")
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for key, (outcome, name, details) in results.items():
        counts[outcome] += 1
        wanted = listed.get(key, "passed")
        if wanted == "either" and outcome in ("passed", "failed"):
            print(f"{key} may pass or fail; this time it {outcome}")
        elif outcome != wanted:
            wrong.append(f"{key} {outcome}, not {wanted}: {name}: {' '.join(details)}")
    if wrong:
        print(*wrong, sep="\n")
        print(counts)
        sys.exit(1)
    print(counts["skipped"], "skipped as explained")
    print(f"{counts['passed']} passed, {counts['failed']} failed as explained")


main()
