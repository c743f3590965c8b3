# tests/api/examples.py SOURCE - the index of the examples is whole: it has each of them, nothing else, and traps that
# there are.
#
# SPDX-License-Identifier: MIT
"""What the examples print is looked at by examples/run_all.sh; that each is run, and fits on a page, by sources.py."""
import pathlib
import re
import sys

import tap


def differ(these, those, what):
    wrong = sorted(set(these) ^ set(those))
    if wrong:
        raise tap.Failure(f"{', '.join(wrong)}: {what}")


def main():
    source = pathlib.Path(sys.argv[1])
    folder = source / "examples"
    index = (folder / "README.md").read_text(encoding="utf-8")
    files = sorted(f for kind in ("c", "sh") for f in folder.glob(f"*.{kind}") if f.name != "run_all.sh")
    names = {f.stem for f in files}
    assert len(names) > 10, "the examples were not found"

    def rows():
        """| `name`, `name` | what it shows | [C](name.c), [sh](name.sh) |"""
        cells = re.findall(r"^\| ([^|]*) \|.*\| ([^|]*) \|$", index, re.M)
        linked = [file for _, links in cells for file in re.findall(r"\]\(([^)#]+)\)", links)]
        differ(linked, [f.name for f in files], "not in the table, or not there")
        for left, links in cells:
            in_row = {pathlib.Path(file).stem for file in re.findall(r"\]\(([^)#]+)\)", links)}
            differ(re.findall(r"`(\w+)`", left), in_row, "its row in the table leads to another example")

    def sections():
        """### `name`, `name`: what it shows"""
        headed = [name for head in re.findall(r"^### (.*)$", index, re.M) for name in re.findall(r"`(\w+)`", head)]
        differ(headed, names, "has no section, or is not there")
        if len(headed) != len(set(headed)):
            raise tap.Failure("an example has two sections")

    def parts():
        """[title](#anchor) in the table, ## title below it."""
        def anchor(title):
            return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        heads = {anchor(h) for h in re.findall(r"^## (.*)$", index, re.M)} - {"building-and-running"}
        differ(re.findall(r"\]\(#([^)]+)\)", index), heads, "a part that the table has not, or that is not there")

    def commands():
        """What the lines of code run; each example's own section has it."""
        for name in sorted(names):
            section = re.search(rf"^### [^\n]*`{name}`.*?(?=^##|\Z)", index, re.M | re.S)
            if not section or not re.search(rf"^    .*\./{name}\b", section.group(), re.M):
                raise tap.Failure(f"{name}: its section does not say how to run it")
        code = "\n".join(re.findall(r"^    (.*)$", index, re.M))
        run = re.findall(r"(?:^|[&;|] )\s*(?:\./(\w+)|sh (\w+\.sh))\b", code, re.M)
        missing = {c or s for c, s in run} - names - {f.name for f in files}
        if missing:
            raise tap.Failure(f"{', '.join(sorted(missing))}: to be run, but not there")

    def traps():
        page = next(f for f in (source / "docs").iterdir() if f.name.lower() == "hazards.md")
        known = set(re.findall(r"^(?:\| |[*][*])(H\d+)\b", page.read_text(encoding="utf-8"), re.M))
        named = set(re.findall(r"\bH\d+\b", index))
        assert known and named, "no trap was found"
        if named - known:
            raise tap.Failure(f"{', '.join(sorted(named - known))}: no such trap in {page.name}")

    return tap.run([("the table has every example, once in each language", rows),
                    ("every example has a section", sections), ("the table has every part", parts),
                    ("every section says how to run its example", commands),
                    ("the traps are those of the page of traps", traps)])


sys.exit(main())
