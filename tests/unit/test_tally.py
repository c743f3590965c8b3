# tests/unit/test_tally.py - the count that ./check prints: what passes, fails and is skipped, and that nothing hides.
#
# SPDX-License-Identifier: MIT
import contextlib
import io
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "api"), str(HERE.parent.parent / "scripts")]
sys.dont_write_bytecode = True
import tally  # noqa: E402
import tap  # noqa: E402

# name, is it TAP, standard output, exit status, meson's result, passed, failed, skipped
PROGRAMS = [
    ("all cases pass", True, "1..2\nok 1 - a\nok 2 - b\n", 0, "OK", 2, 0, 0),
    ("one case fails", True, "1..2\nok 1 - a\nnot ok 2 - b\n# why\n", 1, "ERROR", 1, 1, 0),
    ("one case is skipped", True, "1..2\nok 1 - a\nok 2 - b # SKIP not here\n", 0, "OK", 1, 0, 1),
    ("a program crashes between cases", True, "1..3\nok 1 - a\n", -11, "ERROR", 1, 1, 0),
    ("a program crashes after a failure", True, "1..3\nok 1 - a\nnot ok 2 - b\n", -11, "ERROR", 1, 2, 0),
    ("a program prints nothing and exits with 0", True, "", 0, "SKIP", 0, 1, 0),
    ("a program that cannot be run", True, "", 127, "ERROR", 0, 1, 0),
    ("a program fails after its cases passed", True, "1..1\nok 1 - a\n", 23, "ERROR", 1, 1, 0),
    ("a program stops early and exits with 0", True, "1..3\nok 1 - a\n", 0, "ERROR", 1, 1, 0),
    ("a program runs out of time", True, "1..3\nok 1 - a\n", -9, "TIMEOUT", 1, 1, 0),
    ("a program runs too many cases", True, "1..1\nok 1 - a\nok 2 - b\n", 0, "ERROR", 2, 1, 0),
    ("a program bails out", True, "Bail out! no entries\n", 2, "ERROR", 0, 1, 0),
    ("a whole program is skipped", True, "1..0 # SKIP not here\n", 0, "SKIP", 0, 0, 1),
    ("a todo that fails is a failure", True, "1..1\nnot ok 1 - a # TODO later\n", 0, "OK", 0, 1, 0),
    ("a plain program passes", False, "hello\nok then\n", 0, "OK", 1, 0, 0),
    ("a plain program fails", False, "1..1\nok 1\n", 1, "FAIL", 0, 1, 0),
    ("a plain program is skipped", False, "no network\n", 77, "SKIP", 0, 0, 1),
    ("a plain program runs out of time", False, "", -9, "TIMEOUT", 0, 1, 0),
]


def make_build(where, programs):
    (where / "meson-info").mkdir()
    (where / "meson-logs").mkdir()
    tests = [{"name": p[0], "protocol": "tap" if p[1] else "exitcode"} for p in programs]
    (where / "meson-info/intro-tests.json").write_text(json.dumps(tests))
    with open(where / "meson-logs/testlog.json", "w") as log:
        for name, _, output, code, result, *_ in programs:
            log.write(json.dumps({"name": f"wherry:unit / {name}", "stdout": output, "stderr": "", "result": result,
                                  "returncode": code}) + "\n")


def run_tally(programs, *more):
    with tempfile.TemporaryDirectory(prefix="wherry-tally-") as place:
        make_build(pathlib.Path(place), programs)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = tally.main([f"build={place}", *more])
        return status, output.getvalue()


def counts(program):
    passed, failed, skipped = program[5:]
    status, output = run_tally([program])
    expected = f"{passed} passed, {failed} failed, {skipped} skipped"
    if output.splitlines()[-1] != expected:
        raise tap.Failure(f"expected {expected!r}, got:\n{output}")
    if status != (1 if failed or not passed else 0):
        raise tap.Failure(f"exit status {status}:\n{output}")


def reasons():
    _, output = run_tally([p for p in PROGRAMS if p[0] in ("one case fails", "one case is skipped")])
    expected = """\
Skipped:
  not here
      unit/one case is skipped: b  [build]
Failed:
  unit/one case fails: b  [build]
      why
2 passed, 1 failed, 1 skipped
"""
    if output != expected:
        raise tap.Failure(f"expected:\n{expected}got:\n{output}")


def many_skips():
    cases = "".join(f"ok {i} - c{i} # SKIP no such call\n" for i in range(1, 101))
    _, output = run_tally([("many", True, f"1..100\n{cases}", 0, "OK", 0, 0, 100)])
    expected = "Skipped:\n  no such call\n      unit/many: 100 cases  [build]\n0 passed, 0 failed, 100 skipped\n"
    if output != expected:
        raise tap.Failure(f"expected:\n{expected}got:\n{output}")


def all_together():
    _, output = run_tally(PROGRAMS)
    expected = "{} passed, {} failed, {} skipped".format(*(sum(p[i] for p in PROGRAMS) for i in (5, 6, 7)))
    if output.splitlines()[-1] != expected:
        raise tap.Failure(f"expected {expected!r}, got:\n{output}")


def failed_build():
    status, output = run_tally(PROGRAMS[:1], "--unbuilt=clang:build/clang.log")
    if status != 1 or output.splitlines()[-1] != "2 passed, 1 failed, 0 skipped":
        raise tap.Failure(output)


def nothing_ran():
    status, output = run_tally([])
    if status != 1 or output.splitlines()[-1] != "0 passed, 1 failed, 0 skipped":
        raise tap.Failure(output)


sys.exit(tap.run([(p[0], lambda p=p: counts(p)) for p in PROGRAMS] + [
    ("failures and skips are named with their reasons, failures last", reasons),
    ("a hundred skips for one reason are one line", many_skips),
    ("programs add up", all_together),
    ("a build that fails is a failure", failed_build),
    ("a build in which nothing ran is a failure", nothing_ran),
]))
