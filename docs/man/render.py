#!/usr/bin/env python3
# docs/man/render.py SCDOC PAGE [COMMAND...] - renders a page; its line @TABLES@ is replaced by what COMMAND prints.
#
# SPDX-License-Identifier: MIT
"""Without a command, in a build that has none or cannot run it, the page says where the tables are to be had.

What stands between ``` is shown as it is written.  scdoc takes a backslash there for the beginning of an escape, and
would make "\\n" an "n"."""
import re
import subprocess
import sys

MARK = "@TABLES@\n"
INSTEAD = "This build could not make the table; *wherry transports* prints it.\n"


def main(scdoc, page, *command):
    with open(page, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"^```\n.*?^```", lambda block: block.group().replace("\\", "\\\\"), text, flags=re.M | re.S)
    tables = INSTEAD
    if command:
        tables = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode("utf-8")
    subprocess.run([scdoc], check=True, input=text.replace(MARK, tables).encode("utf-8"))


main(*sys.argv[1:])
