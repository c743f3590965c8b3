# tests/api/readme.py SOURCE LIBRARY COMPILER [FLAG]... - the programs of README.md compile as printed; the first two
# fit into under 30 lines together, and pass a message, whichever starts first.
#
# SPDX-License-Identifier: MIT
"""The sender is the first ```c block with a main() that calls wherry_channel_send(), the receiver the first with one
that calls wherry_channel_receive()."""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

import tap

LIMIT = 30
SECONDS = 60


def blocks(text):
    return [b for b in re.findall(r"^```c\b[^\n]*\n(.*?)^```", text, re.M | re.S) if re.search(r"\bmain\s*\(", b)]


def pick(text, call):
    for block in blocks(text):
        if call in block:
            return block
    raise tap.Failure(f"no C block with main() and {call}() in README.md")


def build(where, name, block, library, compiler, flags):
    path = where / f"{name}.c"
    path.write_text(block)
    library = pathlib.Path(library).resolve()
    command = shlex.split(compiler) + flags + [
        "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", str(SOURCE / "include"), str(path), "-o", str(where / name),
        str(library), f"-Wl,-rpath,{library.parent}"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise tap.Failure(f"{name}:\n{result.stderr}")
    return where / name


def pass_message(where, order, sender_text):
    running = {}
    try:
        for name in order:
            running[name] = subprocess.Popen([str(where / name)], cwd=where, stdin=subprocess.DEVNULL,
                                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            program = os.path.realpath(where / name)
            tap.wait_for(lambda: running[name].poll() is not None or tap.asleep(running[name].pid, program),
                         f"the {name} to come first, and wait")
        output = {}
        for name, process in running.items():
            try:
                output[name], errors = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                raise tap.Failure(f"the {name} still ran after {SECONDS} s")
            if process.returncode != 0:
                raise tap.Failure(f"the {name} exited with {process.returncode}: {errors}")
        words = [w for w in re.findall(r'"([^"\\]+)', sender_text) if ":" not in w]
        if not any(word in output["receiver"] for word in words):
            raise tap.Failure(f"the receiver printed {output['receiver']!r}, nothing that the sender sent")
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def main():
    readme = SOURCE / "README.md"
    library, compiler, flags = sys.argv[2], sys.argv[3], sys.argv[4:]
    text = readme.read_text()
    with tempfile.TemporaryDirectory(prefix="wherry-readme-") as place:
        where = pathlib.Path(place)

        def lines():
            count = sum(len([l for l in pick(text, call).splitlines() if l.strip()])
                        for call in ("wherry_channel_send", "wherry_channel_receive"))
            if count >= LIMIT:
                raise tap.Failure(f"sender and receiver take {count} lines together; under {LIMIT} were promised")

        def compiles():
            build(where, "sender", pick(text, "wherry_channel_send"), library, compiler, flags)
            build(where, "receiver", pick(text, "wherry_channel_receive"), library, compiler, flags)

        def others():
            for block in blocks(text):
                path = where / "other.c"
                path.write_text(block)
                result = subprocess.run(shlex.split(compiler) + ["-std=c11", "-Wall", "-Wextra", "-Werror", "-I",
                                                                 str(SOURCE / "include"), "-fsyntax-only", str(path)],
                                        capture_output=True, text=True)
                if result.returncode != 0:
                    raise tap.Failure(f"{block}\n{result.stderr}")

        def runs(*order):
            if not (where / "sender").exists() or not (where / "receiver").exists():
                raise tap.Failure("not compiled")
            pass_message(where, order, pick(text, "wherry_channel_send"))

        return tap.run([
            (f"sender and receiver take under {LIMIT} lines", lines),
            ("sender and receiver compile as printed", compiles),
            ("each program compiles as printed", others),
            ("the message passes, receiver first", lambda: runs("receiver", "sender")),
            ("the message passes, sender first", lambda: runs("sender", "receiver")),
        ])


SOURCE = pathlib.Path(sys.argv[1])
sys.exit(main())
