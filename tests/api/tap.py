# tests/api/tap.py - owns how the scripts of tests/ run their cases, print TAP, and wait.
#
# SPDX-License-Identifier: MIT
"""A case is a function that returns None (passed), raises Failure or Skip, or fails an assert."""
import os
import pathlib
import select
import sys
import time
import traceback

PATIENCE = 60  # seconds until a wait is a failure; nothing waits that long when all is well


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def wait_for(condition, what):
    """Ask `condition` again and again until it says something true, which is returned."""
    until = time.monotonic() + PATIENCE
    pause = select.poll()
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > until:
            raise Failure(f"waited {PATIENCE} s for {what}")
        pause.poll(2)


def asleep(pid, program):
    """Whether the process has begun this program (its real path), and sleeps in the kernel."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return os.readlink(f"/proc/{pid}/exe") == program and state == "S"
    except OSError:
        return False


def run(cases):
    """cases: a list of (name, function).  Prints TAP and returns the exit status."""
    failed = 0
    print(f"1..{len(cases)}", flush=True)
    for number, (name, function) in enumerate(cases, 1):
        name = name.replace("#", "_")
        try:
            function()
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}", flush=True)
            continue
        except Exception as error:
            failed += 1
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            print(f"not ok {number} - {name}")
            for line in text.splitlines():
                print(f"# {line}")
            sys.stdout.flush()
            continue
        print(f"ok {number} - {name}", flush=True)
    return 1 if failed or not cases else 0
