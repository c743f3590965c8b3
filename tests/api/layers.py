# tests/api/layers.py SOURCE - each file in src/ includes only what stands on its own level or above it.
#
# SPDX-License-Identifier: MIT
"""The order is docs/ARCHITECTURE.md's.  Mechanism folders do not include each other, unless a comment on the line of
the #include or on the one before it says why.  inspect needs base, the mechanisms and the ring only."""
import pathlib
import re
import sys

import tap

MECHANISMS = ["storage", "sync", "stream", "queue", "socket", "signal", "process"]
ORDER = ["base"] + MECHANISMS + ["ring", "channel", "supervise", "inspect"]
# Public headers belong to the folder that implements them; one that is not named here belongs to the folder of its
# name.
PUBLIC = {"base": "base", "channel": "channel", "traits": "channel", "wherry": "inspect"}
PUBLIC |= dict.fromkeys(("lock", "map", "segment"), "storage")
PUBLIC |= dict.fromkeys(("server",), "supervise")
PUBLIC |= dict.fromkeys(("semaphore", "mutex", "condition", "barrier", "event", "rwlock"), "sync")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<(wherry/[^>]+)>)(.*)$')


def level(folder):
    return 1 if folder in MECHANISMS else ORDER.index(folder)


def folder_of(path, src, quoted, public):
    """The folder of src/ that an #include leads to; None for one that leads to no folder (a file beside it)."""
    if public:
        name = pathlib.PurePath(public).stem
        return PUBLIC.get(name, name)
    target = (path.parent / quoted)
    if not target.exists():
        target = src / quoted
    if not target.exists():
        raise tap.Failure(f'{path}: "{quoted}" is not found beside it nor in src/')
    return target.resolve().relative_to(src.resolve()).parts[0]


def why_not(path, src, own):
    """The reasons for which a file's includes are wrong."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if match is None:
            continue
        other = folder_of(path, src, match.group(1), match.group(2))
        where = f"{path.relative_to(src.parent)}:{number}"
        if other == own:
            continue
        if other not in ORDER:
            yield f"{where}: {other} is not in the list of layers"
        elif own in MECHANISMS and other in MECHANISMS:
            before = lines[number - 2] if number > 1 else ""
            if "/*" not in match.group(3) and not before.rstrip().endswith("*/"):
                yield f"{where}: {own} includes {other}, another mechanism, and no comment says why"
        elif own == "inspect" and other not in ["base", "ring"] + MECHANISMS:
            yield f"{where}: inspect includes {other}; it stands on base, the mechanisms and the ring only"
        elif level(other) > level(own):
            yield f"{where}: {own} includes {other}, which stands below it"


def main():
    source = pathlib.Path(sys.argv[1])
    src = source / "src"
    cases = []
    for folder in sorted(p.name for p in src.iterdir() if p.is_dir()):
        def check(folder=folder):
            if folder not in ORDER:
                raise tap.Failure(f"src/{folder} is not in the list of layers")
            reasons = [r for path in sorted((src / folder).rglob("*.[ch]")) for r in why_not(path, src, folder)]
            if reasons:
                raise tap.Failure("\n".join(reasons))
        cases.append((f"src/{folder} includes its own level and above", check))

    def nothing_from_src():
        """What the command needs and the public headers do not offer is missing from the public headers."""
        folders = "|".join(ORDER)
        wrong = [f"{path.relative_to(source)}: {line.strip()}"
                 for place in ("tools", "examples", "include") for path in sorted((source / place).rglob("*.[ch]"))
                 for line in path.read_text().splitlines()
                 if re.match(rf'\s*#\s*include\s+"(\.\./|src/|({folders})/)', line)]
        if wrong:
            raise tap.Failure("\n".join(wrong))

    cases.append(("the command, the examples and the public headers include nothing of src/", nothing_from_src))
    return tap.run(cases)


sys.exit(main())
