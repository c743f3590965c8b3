# tests/api/tap.py - owns how the scripts of tests/api run their cases and print TAP.
#
# SPDX-License-Identifier: MIT
"""A case is a function that returns None (passed), raises Failure or Skip, or fails an assert."""
import sys
import traceback


class Failure(Exception):
    pass


class Skip(Exception):
    pass


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
