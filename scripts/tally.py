#!/usr/bin/env python3
# scripts/tally.py LABEL=BUILD... [--unbuilt=LABEL:LOG]... - owns the counting of test cases over several builds.
#
# SPDX-License-Identifier: MIT
"""Reads BUILD/meson-logs/testlog.json as `meson test` left it, prints every skip by its reason, every failure with
its own, and as its last line "N passed, N failed, N skipped".  Exits 1 if anything failed, or if nothing ran.

A program that speaks TAP counts by its cases, and once more as failed if it ended early, crashed or exited oddly; any
other program is one case.  Which is which, the build says in meson-info/intro-tests.json."""
import collections
import json
import pathlib
import re
import sys

RESULT = re.compile(r"(not )?ok\b\s*(\d+)?\s*(?:-\s*)?([^#]*?)\s*(?:#\s*(SKIP\S*|TODO)\b\s*(.*))?$", re.I)
PLAN = re.compile(r"1\.\.(\d+)\s*(?:#\s*SKIP\S*\s*(.*))?$", re.I)

LINES = 12  # of a reason

Case = collections.namedtuple("Case", "result name reason")  # result: passed, failed, skipped


def status_text(code):
    return f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"


def tap_cases(output, code, timed_out, errors):
    """The cases of one TAP program, and one more for each thing wrong with the program as a whole."""
    cases, planned, reasons = [], None, []
    for line in output.splitlines():
        line = line.rstrip()
        if line.startswith("#"):
            if cases and cases[-1].result == "failed":
                reasons[-1].append(line[1:].strip())
            continue
        if match := PLAN.match(line):
            planned = int(match.group(1))
            if planned == 0:
                cases.append(Case("skipped", "", match.group(2) or "no reason given"))
                reasons.append([])
        elif line.lower().startswith("bail out!"):
            cases.append(Case("failed", "", line))
            reasons.append([])
        elif match := RESULT.match(line):
            bad, _, name, directive, reason = match.groups()
            if directive and directive.upper().startswith("SKIP") and not bad:
                cases.append(Case("skipped", name, reason or "no reason given"))
            else:
                cases.append(Case("failed" if bad else "passed", name, ""))
            reasons.append([])
    cases = [c._replace(reason="\n".join(r)) if c.result == "failed" and r else c for c, r in zip(cases, reasons)]
    ran = len([c for c in cases if c.name])
    failed = any(c.result == "failed" for c in cases)
    if timed_out:
        cases.append(Case("failed", "", f"the program ran out of time after {ran} cases"))
    elif planned is None and not failed:
        cases.append(Case("failed", "", f"the program printed no plan and {status_text(code)}: {errors}"))
    elif planned and ran != planned and not (failed and ran == 0):
        cases.append(Case("failed", "",
                          f"{ran} of {planned} cases ran, then the program {status_text(code)}: {errors}"))
    elif code != 0 and not failed:
        cases.append(Case("failed", "", f"every case passed, but the program {status_text(code)}: {errors}"))
    return cases


def last_line(*texts):
    for text in texts:
        lines = [l for l in text.splitlines() if l.strip()]
        if lines:
            return lines[-1].strip()
    return "no output"


def plain_cases(output, code, timed_out, errors):
    if timed_out:
        return [Case("failed", "", "ran out of time")]
    if code == 0:
        return [Case("passed", "", "")]
    if code == 77:
        return [Case("skipped", "", last_line(output, errors))]
    return [Case("failed", "", f"{status_text(code)}: {last_line(errors, output)}")]


def build_cases(build):
    """(program, Case) of each case of the last `meson test` in a build directory."""
    protocols = {}
    for test in json.loads((build / "meson-info/intro-tests.json").read_text()):
        protocols[test["name"]] = test["protocol"]
    log = build / "meson-logs/testlog.json"
    for line in log.read_text().splitlines() if log.exists() else []:
        entry = json.loads(line)
        name = re.split(r"\s/\s", entry["name"])[-1]
        suite = re.sub(r"^.*:", "", re.split(r"\s/\s", entry["name"])[0]) if " / " in entry["name"] else ""
        # the log has no protocol: names are unique, which tests/api/sources.py sees to
        read = tap_cases if protocols.get(name) == "tap" else plain_cases
        errors = last_line(re.sub(r"\n\(test program exited.*\)$", "", entry.get("stderr") or ""))
        for case in read(entry["stdout"] or "", entry["returncode"], entry["result"] == "TIMEOUT", errors):
            yield "/".join(filter(None, (suite, name))), case


def gather(arguments):
    """([(what, label, Case)], number of builds)"""
    found = []
    for argument in arguments:
        if argument.startswith("--unbuilt="):
            label, _, log = argument.removeprefix("--unbuilt=").partition(":")
            found.append(("build", label, Case("failed", "", f"it cannot be built: see {log}")))
            continue
        label, _, build = argument.partition("=")
        cases = list(build_cases(pathlib.Path(build)))
        if not cases:
            cases = [("test", Case("failed", "", "no test ran"))]
        found += [(program, label, case) for program, case in cases]
    return found


def print_skipped(skipped):
    """A line for each reason and program: hundreds of cases lack the same, and their names would hide the rest."""
    reasons = collections.OrderedDict()
    for program, label, case in skipped:
        programs = reasons.setdefault(case.reason, collections.OrderedDict())
        programs.setdefault((program, label), []).append(case.name)
    if reasons:
        print("Skipped:")
    for reason, programs in reasons.items():
        print(f"  {reason}")
        for (program, label), names in programs.items():
            what = f": {names[0]}" if len(names) == 1 and names[0] else f": {len(names)} cases" if names[0] else ""
            print(f"      {program}{what}  [{label}]")


def print_failed(failed):
    grouped = collections.OrderedDict()  # the same in several builds is one entry
    for program, label, case in failed:
        key = (f"{program}: {case.name}" if case.name else program, case.reason)
        grouped.setdefault(key, []).append(label)
    if grouped:
        print("Failed:")
    for (name, reason), labels in grouped.items():
        print(f"  {name}  [{', '.join(labels)}]")
        lines = reason.splitlines()
        for line in lines[:LINES]:
            print(f"      {line}")
        if len(lines) > LINES:
            print(f"      ({len(lines) - LINES} more lines)")


def main(arguments):
    found = gather(arguments)
    count = collections.Counter(case.result for _, _, case in found)
    print_skipped([one for one in found if one[2].result == "skipped"])
    # last, so that the end of the output is enough to see them
    print_failed([one for one in found if one[2].result == "failed"])
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
