# tests/stepkill/stepkill.py - the stepkill command from outside, on a toy program; cases for tests/cli/run.py.
#
# SPDX-License-Identifier: MIT
import json
import os
import shlex
import signal
import time

from run import same, wait_for


def stepkill(stage, how, *options, code=0, toy="toy"):
    """Run stepkill on `toy pair HOW`; its report."""
    stage.mine("pair")
    program = str(stage.helper(toy))
    words = [stage.wherry, "--json", "--setup", "rm -f pair", *options, "--", program, "pair", how]
    process = stage.run(*words, code=code)
    return json.loads(process.out) if process.out else process.err.decode()


def checker(stage):
    return shlex.quote(str(stage.helper("toy"))) + " pair check"


def steps_of(report, index=0):
    return [found["step"] for found in report["functions"][index]["found"]]


def test_torn(stage):
    """two stores: violations after exactly the steps between them, and where they are"""
    report = stepkill(stage, "torn", "-f", "save_torn", "-c", checker(stage), code=1)
    same(steps_of(report), [2, 3, 4], "the steps with violations")
    one = report["functions"][0]
    same([one["steps"], one["points"], one["violations"], one["complete"], one["returned"]], [7, 7, 3, True, True])
    if os.uname().machine == "x86_64":
        same([found["place"] for found in one["found"]], ["save_torn+0x7", "save_torn+0x8", "save_torn+0x9"],
             "the places")
    same(one["found"][0]["output"], "2 and 0\n", "the checker's output")
    same(one["found"][0]["reason"], "the checker exited with 1")
    assert 0 < one["recovery"]["mean"] <= one["recovery"]["worst"] < 20


def test_atomic(stage):
    """one store of both: no violation"""
    report = stepkill(stage, "atomic", "-f", "save_atomic", "-c", checker(stage))
    one = report["functions"][0]
    same([one["points"], one["violations"], one["found"]], [7, 0, []])


def test_library(stage):
    """a function of a shared library"""
    report = stepkill(stage, "library", "-f", "toy_save", "-c", checker(stage), code=1)
    one = report["functions"][0]
    assert one["complete"] and one["violations"] >= 1 and one["points"] == one["steps"] >= 3, one
    assert one["found"][0]["place"].startswith("toy_save+0x"), one


def test_call(stage):
    """NAME@N: the second call, and two functions in turn"""
    report = stepkill(stage, "twice", "-f", "save_torn@2,save_torn", "-c", checker(stage), code=1)
    same([found["output"] for found in report["functions"][0]["found"]], ["8 and 2\n"] * 3, "what the second call left")
    same([found["output"] for found in report["functions"][1]["found"]], ["2 and 0\n"] * 3, "what the first call left")
    text = stepkill(stage, "twice", "-f", "save_torn@3", code=3)
    assert "without so many calls" in text, text


def test_not_found(stage):
    """a function that is not there: the nearest names"""
    text = stepkill(stage, "torn", "-f", "save_tron", code=3)
    assert "save_tron" in text and "there is save_torn" in text and text.count("\n") == 1, text
    text = stepkill(stage, "torn", "-f", "save_torn", toy="no_such_toy", code=3)
    assert "No such file" in text, text
    stage.run(stage.wherry, "-f", "save_torn", code=2)
    stage.run(stage.wherry, "-f", "save_torn@0", "--", "true", code=2)
    stage.run(stage.wherry, "--", "true", code=2)


def test_limit(stage):
    """a checker that does not finish is a violation, and killed with all that it started; so is one that is killed"""
    began = time.monotonic()
    report = stepkill(stage, "atomic", "-f", "save_atomic", "-t", "200ms", "--max", "2", "-c",
                      "sleep 1000 & sleep 1000", code=1)
    assert time.monotonic() - began < 20
    same([found["reason"] for found in report["functions"][0]["found"]],
         ["the checker did not finish within 0.2 s"] * 2)
    same(report["functions"][0]["complete"], False, "complete")
    report = stepkill(stage, "atomic", "-f", "save_atomic", "--first", "-c", "kill -9 $$", code=1)
    same([found["reason"] for found in report["functions"][0]["found"]], ["the checker killed by SIGKILL"])


def test_strange_output(stage):
    """what a checker prints does not break the JSON, and the end of it is kept; its environment"""
    report = stepkill(stage, "atomic", "-f", "save_atomic", "--start", "3", "--first", "-c",
                      r"""seq 10000; printf 'a"b\\c\001\377\303\251\tend %s %s' $STEPKILL_STEP """
                      "$STEPKILL_FUNCTION; exit 9",
                      code=1)
    output = report["functions"][0]["found"][0]["output"]
    assert output.endswith('a"b\\c\x01\ufffd\u00e9\tend 3 save_atomic') and 1500 < len(output) < 2100, output[-100:]
    process = stage.run(stage.wherry, "-f", "save_torn", "-c", "exit 3", "--", stage.helper("toy"), "pair", "torn",
                        code=1)
    text = process.out.decode()
    assert "7 points in 7 steps, 7 violations" in text and "step 4, save_torn+0x" in text, text


def test_stop(stage):
    """STOP: the checker sees a stopped process, which then goes on and ends; nothing stays torn"""
    check = "grep -q '^State:.T (stopped)' /proc/$STEPKILL_PID/status && ! " + checker(stage)
    report = stepkill(stage, "torn", "-f", "save_torn", "-s", "STOP", "--start", "2", "--max", "3", "-c", check)
    same([report["functions"][0]["points"], report["functions"][0]["violations"]], [3, 0])
    stage.run(stage.helper("toy"), "pair", "check")


def test_sampling(stage):
    """--start, --stride, --max, --first, -q"""
    report = stepkill(stage, "torn", "-f", "save_torn", "--start", "1", "--stride", "2", "-c", checker(stage), code=1)
    same([steps_of(report), report["functions"][0]["points"], report["functions"][0]["steps"]], [[3], 4, 7])
    report = stepkill(stage, "torn", "-f", "save_torn", "--first", "-c", checker(stage), code=1)
    same([steps_of(report), report["functions"][0]["points"]], [[2], 2])
    process = stage.run(stage.wherry, "-q", "-f", "save_torn", "-c", "false", "--max", "1", "--", stage.helper("toy"),
                        "pair", "torn", code=1)
    same(process.out + process.err, b"")


def test_system_calls(stage):
    """--syscalls: an entry and an exit each"""
    report = stepkill(stage, "fork", "-f", "main", "--syscalls")
    one = report["functions"][0]
    assert one["complete"] and one["points"] == one["steps"] >= 10, one


def test_children(stage):
    """children run without breakpoints, and are gone afterwards: the call of the first process counts"""
    report = stepkill(stage, "fork", "-f", "save_torn", "-c", checker(stage), code=1)
    same([steps_of(report), report["functions"][0]["found"][0]["output"]], [[2, 3, 4], "9 and 4\n"])


def test_threads(stage):
    """a program of several threads is killed as a whole"""
    report = stepkill(stage, "threads", "-f", "save_torn")
    same([report["functions"][0]["points"], report["functions"][0]["steps"]], [7, 7])
    stepkill(stage, "threads", "-f", "save_torn", "-s", "STOP")


def test_executed(stage):
    """a program that is executed by the one that was started"""
    toy = shlex.quote(str(stage.helper("toy")))
    stage.mine("pair")
    process = stage.run(stage.wherry, "--json", "-f", "save_torn", "--", "sh", "-c", f"exec {toy} pair torn")
    same(json.loads(process.out)["functions"][0]["points"], 7)


def test_interrupted(stage):
    """a signal ends it, and nothing stays behind: neither the program nor the checker"""
    stage.mine("begun")
    stage.mine("pair")
    process = stage.start(stage.wherry, "-f", "save_torn", "-s", "STOP", "-c", "touch begun; sleep 1000", "-t", "100s",
                          "--", stage.helper("toy"), "pair", "torn")
    wait_for(lambda: os.path.exists(stage.path / "begun"), "the checker")
    process.signal(signal.SIGTERM)
    process.end(128 + signal.SIGTERM)
