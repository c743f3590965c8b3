# tests/api/example.py PROGRAM - an example runs to its end, twice in a row in the same empty directory.
#
# SPDX-License-Identifier: MIT
import os
import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory(prefix="wherry-example-") as place:
    for run in ("first", "second"):
        try:
            result = subprocess.run([os.path.abspath(sys.argv[1])], cwd=place, stdin=subprocess.DEVNULL, timeout=20)
        except subprocess.TimeoutExpired:
            sys.exit(f"the {run} run did not end within 20 s")
        if result.returncode != 0:
            sys.exit(f"the {run} run exited with {result.returncode}")
