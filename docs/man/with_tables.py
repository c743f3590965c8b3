#!/usr/bin/env python3
# docs/man/with_tables.py SCDOC PAGE -- [COMMAND...] - renders a page, its line @TABLES@ replaced by what COMMAND prints.
#
# SPDX-License-Identifier: MIT
"""Without a command, in a build that has none or cannot run it, the page says where the tables are to be had."""
import subprocess
import sys

MARK = "@TABLES@\n"
INSTEAD = "This build could not make the table; *wherry transports* prints it.\n"


def main(scdoc, page, dashes, *command):
    with open(page, encoding="utf-8") as file:
        text = file.read()
    if dashes != "--" or text.count(MARK) != 1:
        sys.exit(f"{page}: one line {MARK.strip()} is expected")
    tables = INSTEAD
    if command:
        tables = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode("utf-8")
    subprocess.run([scdoc], check=True, input=text.replace(MARK, tables).encode("utf-8"))


main(*sys.argv[1:])
