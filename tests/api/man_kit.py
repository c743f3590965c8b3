# tests/api/man_kit.py - owns how the scripts about man pages read them: pages, their blocks, tables and names.
#
# SPDX-License-Identifier: MIT
"""Their arguments are SOURCE LIBRARY INSPECT|none COMMAND|none COMPILER [FLAG]...  Pages are
docs/man/NAME.SECTION.scd."""
import pathlib
import re
import shlex
import subprocess
import sys

import tap

SOURCE, LIBRARY, COMMAND = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve(), sys.argv[4]
INSPECT = [] if sys.argv[3] == "none" else [str(pathlib.Path(sys.argv[3]).resolve())]
COMPILER, FLAGS = shlex.split(sys.argv[5]), sys.argv[6:]
PAGES = {p.name.removesuffix(".scd"): p.read_text() for p in sorted((SOURCE / "docs/man").glob("*.scd"))}


def fail_if(wrong):
    if wrong:
        raise tap.Failure("\n".join(wrong))


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, **more)


def names_of(page):
    """What NAME lists, with the section."""
    text = re.search(r"^# NAME\n\n(.*?) - ", PAGES[page], re.M | re.S).group(1)
    return {f"{name.strip()}.{page[-1]}" for name in text.split(",")}


def section(page, name):
    """What stands below this heading of a page; "" without it."""
    found = re.search(rf"^# {re.escape(name)}\n(.*?)(?=^# |\Z)", PAGES[page], re.M | re.S)
    return found.group(1) if found else ""


def blocks(text):
    return re.findall(r"^```\n(.*?)^```", text, re.M | re.S)


def build(text, where, *more):
    """Compile and link a program; its path."""
    source = pathlib.Path(where) / "program.c"
    source.write_text(text)
    program = source.with_suffix("")
    result = run(COMPILER + FLAGS + ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I", str(SOURCE / "include"),
                                     str(source),
                                     "-o", str(program), *INSPECT, str(LIBRARY), f"-Wl,-rpath,{LIBRARY.parent}", *more])
    if result.returncode != 0:
        raise tap.Failure(result.stderr)
    return str(program)


def table(text, first):
    """The rows of the scdoc table whose first heading is this."""
    at = text.index(f"[[ *{first}*\n")
    rows = []
    for line in text[at + 3:text.index("\n\n", at)].split("\n"):
        if line[0] == "|" or not rows:
            rows.append([line[3:] if line[0] == "|" else line])
        elif line[0] == ":":
            rows[-1].append(line[3:])
        else:
            rows[-1][-1] += " " + line.strip()
    return rows[1:]


def plain(text):
    return re.sub(r"[*_\\](?=\W|$)|(?<![\w])[*_\\]", "", text).replace("*", "")


def need_command():
    if COMMAND == "none":
        raise tap.Skip("the command is not part of this build")
