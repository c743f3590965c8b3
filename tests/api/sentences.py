# tests/api/sentences.py SOURCE - what a sentence calls things by, whoever reads it: at the command there is no struct.
#
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys

import tap

LITERALS = re.compile(r'(?:"(?:[^"\\\n]|\\.)*"\s*)+')
FIELD = re.compile(r"\boptions(?:\.|->)\w")


def sentences(text):
    """(line, words) of each string of more than one word, its pieces put together."""
    for found in LITERALS.finditer(text):
        words = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', found.group()))
        if " " in words:
            yield text.count("\n", 0, found.start()) + 1, words


def fields(text):
    return [(line, words) for line, words in sentences(text) if FIELD.search(words)]


def main():
    source = pathlib.Path(sys.argv[1])

    def finds():
        """The check itself: in one piece, in two, and not in code."""
        assert fields('fail("%s: set options.write", x);') == [(1, "%s: set options.write")]
        assert fields('\nfail("%s: leave "\n     "options->fair out");') == [(2, "%s: leave options->fair out")]
        assert not fields('options.write = true; fail("a word of the options. And another", options.mode);')
        assert not fields('#include "options.h"')

    def folder(name):
        def check():
            files = [f for f in sorted((source / name).rglob("*")) if f.suffix in (".c", ".h")]
            if not files:
                raise tap.Failure(f"{name}/ has no sources")
            wrong = [f"{f.relative_to(source)}:{line}: {words}" for f in files for line, words in fields(f.read_text())]
            if wrong:
                raise tap.Failure("a sentence names a field of a struct: say what the thing is\n" + "\n".join(wrong))
        return check

    return tap.run([("the check finds what it looks for", finds)] +
                   [(f"no sentence of {name}/ names a field of an options struct", folder(name))
                    for name in ("src", "tools/wherry")])


sys.exit(main())
