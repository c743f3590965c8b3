#!/usr/bin/env python3
# tools/wherry/embed.py PAGE.html STYLE.css SCRIPT.js... - prints a C header: the page of `wherry map`, without data.
#
# SPDX-License-Identifier: MIT
"""Style and scripts go into the page, and their hashes into its Content-Security-Policy: the browser loads nothing, and
runs nothing but them.  The header has the lines before the data and those behind."""
import base64
import hashlib
import sys


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def digest(text):
    """As a Content-Security-Policy has it: of what stands between the tags."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") + "'"


def once(text, mark, instead):
    if text.count(mark) != 1:
        sys.exit(f"{mark}: expected once in the page, found {text.count(mark)} times")
    return text.replace(mark, instead)


def c_lines(name, text):
    print(f"static const char *const {name}[] = {{")
    for line in text.splitlines(keepends=True):
        escaped = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("?", "\\?")
        print(f'    "{escaped}",')
    print("    NULL,\n};")


def main(page, style, *scripts):
    sheet = read(style)
    script = '"use strict";\n(() => {\n' + "".join(read(path) for path in scripts) + "})();\n"
    for text, end in ((sheet, "</style"), (script, "</script")):
        if end in text.lower() or "<!--" in text or "\r" in text:
            sys.exit(f"{end}, a comment or a carriage return would end what it stands in")
    policy = (f"default-src 'none'; script-src {digest(script)}; style-src {digest(sheet)}; base-uri 'none'; "
              "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
    whole = once(once(once(read(page), "@POLICY@", policy), "@STYLE@", sheet), "@SCRIPT@", script)
    before, _, after = whole.partition("@DATA@")
    if not after or "@DATA@" in after:
        sys.exit("@DATA@: expected once in the page")
    print("/* Made by embed.py: change map.html, map.css and map*.js instead. */")
    print("#include <stddef.h>\n")
    c_lines("page_before", before)
    print()
    c_lines("page_after", after)


main(*sys.argv[1:])
