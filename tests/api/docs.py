# tests/api/docs.py SOURCE - the documents beside the man pages are true.
#
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys

import tap

SOURCE = pathlib.Path(sys.argv[1]).resolve()
PAGE = 120  # lines that ARCHITECTURE.md may have
DOCUMENTS = sorted(p for pattern in ("*.md", "docs/**/*.md", "src/**/*.md", "tests/**/*.md", "examples/**/*.md")
                   for p in SOURCE.glob(pattern))
# A case: TEST(h34_...), TEST_TABLE(...), CASE(15, h49_...) in C, a function in Python.
CASE = re.compile(r"\b(?:TEST|CASE)\w*\(\s*(?:\d+\s*,\s*)?(\w+)|^def (\w+)", re.M)


def read(path):
    return (SOURCE / path).read_text(encoding="utf-8")


def fail_if(wrong):
    if wrong:
        raise tap.Failure("\n".join(wrong))


def name_of(path):
    return str(path.relative_to(SOURCE))


def links():
    """Each link within the tree leads to something, and a part of a page that it names is there."""
    wrong = []
    for path in DOCUMENTS:
        text = re.sub(r"^( {4}|```).*$", "", path.read_text(encoding="utf-8"), flags=re.M)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"\w+:", target):
                continue
            file, _, part = target.partition("#")
            there = (path.parent / file) if file else path
            if not there.exists():
                wrong.append(f"{name_of(path)}: {target} leads nowhere")
            elif part and part not in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in
                                       re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.M)}:
                wrong.append(f"{name_of(path)}: {target}: there is no such heading")
    fail_if(wrong)


def paths():
    """What stands in backticks and begins like a path of the tree is one; <...> and * stand for anything."""
    roots = {p.name for p in SOURCE.iterdir() if p.is_dir()} - {"build"}
    wrong, count = [], 0
    for path in DOCUMENTS:
        for word in re.findall(r"`([\w.-]+/[\w./<>*-]*)", path.read_text(encoding="utf-8")):
            word = word.rstrip(".")
            if word.split("/")[0] not in roots or word.startswith("build"):
                continue
            count += 1
            pattern = re.sub(r"<\w+>", "*", word.rstrip("/"))
            if not list(SOURCE.glob(pattern)) and not list(SOURCE.glob(pattern + ".c")):  # bench/lock: its program
                wrong.append(f"{name_of(path)}: there is no {word}")
    fail_if(wrong or ([] if count > 50 else [f"only {count} paths were found"]))


def names():
    """A file that docs/internals names without its folder is somewhere."""
    have = {p.name for folder in ("src", "tools", "tests", "bench", "include") for p in (SOURCE / folder).rglob("*")}
    wrong, count = [], 0
    for path in sorted((SOURCE / "docs/internals").glob("*.md")):
        for word in re.findall(r"`(?:\w+/)*([\w<>*]+\.(?:c|h|py|js|css|html))`", path.read_text(encoding="utf-8")):
            count += 1
            pattern = re.compile(re.sub(r"<\w+>|\*", r"\\w*", word.replace(".", r"\.")))
            if not any(pattern.fullmatch(name) for name in have):
                wrong.append(f"{name_of(path)}: there is no {word}")
    fail_if(wrong or ([] if count > 100 else [f"only {count} names were found"]))


def cases():
    """(path below tests/, name) of each case."""
    found = set()
    for path in sorted((SOURCE / "tests").rglob("*")):
        if path.suffix in (".c", ".py"):
            for names in CASE.findall(path.read_text(encoding="utf-8")):
                found |= {(str(path.relative_to(SOURCE / "tests")), name) for name in names if name}
    return found


def hazards():
    """Each trap of docs/hazards.md has a test, which is there; each test that is called after a trap has its trap; and
    so has each comment that names one."""
    entries = re.split(r"^\*\*H(\d+)\.\*\*", read("docs/hazards.md"), flags=re.M)[1:]
    traps = dict(zip(map(int, entries[::2]), entries[1::2]))
    known, wrong = cases(), [] if len(entries) == 2 * len(set(entries[::2])) else ["a trap stands there twice"]
    for number, text in traps.items():
        tests = re.findall(r"^- `([\w./]+)(?::(\w+))?`$", text, re.M)
        if not tests:
            wrong.append(f"H{number} has no test")
        for file, case in tests:
            path = SOURCE / "tests" / file
            if not path.is_file():
                wrong.append(f"H{number}: there is no tests/{file}")
            elif case and file.endswith((".c", ".py")) and (file, case) not in known:
                wrong.append(f"H{number}: tests/{file} has no case {case}")
            elif case and not re.search(rf"\b{case}\b", path.read_text(encoding="utf-8")):
                wrong.append(f"H{number}: tests/{file} has no {case}")
    named = 0
    for file, case in sorted(known):
        for number in map(int, re.findall(r"(?:^|_)h(\d+)(?=_)", case)):
            named += 1
            if number not in traps:
                wrong.append(f"tests/{file}: {case} is called after H{number}, which docs/hazards.md does not have")
    for folder in ("include", "src", "tools", "tests", "bench"):
        for path in sorted((SOURCE / folder).rglob("*.[ch]")):
            for number in map(int, re.findall(r"\(H(\d+)\b", path.read_text(encoding="utf-8"))):
                if number not in traps:
                    wrong.append(f"{name_of(path)} names H{number}, which docs/hazards.md does not have")
    enough = named > 200 and len(traps) > 60
    fail_if(wrong or ([] if enough else [f"only {named} cases and {len(traps)} traps were found"]))


def architecture():
    """One page, and its layers are the folders."""
    text = read("docs/ARCHITECTURE.md")
    lines = text.count("\n")
    wrong = [f"docs/ARCHITECTURE.md has {lines} lines; one page is {PAGE}"] if lines > PAGE else []
    said = set(re.findall(r"^    (src/\w+|tools/\w+)/", text, re.M))
    have = {name_of(p) for folder in ("src", "tools") for p in (SOURCE / folder).iterdir() if p.is_dir()}
    wrong += [f"docs/ARCHITECTURE.md and the tree differ by {folder}/" for folder in sorted(said ^ have)]
    drawing = re.search(r"^```\n(.*?)^```", text, re.M | re.S)
    wrong += [] if drawing else ["docs/ARCHITECTURE.md has no drawing"]
    for word in re.findall(r"\b\w+\.[ch]\b", drawing.group(1) if drawing else ""):
        if not list((SOURCE / "src").rglob(word)):
            wrong.append(f"the drawing has {word}, which is not in src/")
    fail_if(wrong)


def files():
    """docs/internals/files.md says of each .c of src/ what it owns, and of nothing else."""
    said = set()
    for row in re.findall(r"^\| (`.*?) \|", read("docs/internals/files.md"), re.M):
        folder = ""
        for word in re.findall(r"`([^`]+)`", row):
            folder = word.split("/")[0] if "/" in word else folder
            found = sorted((SOURCE / "src" / folder).glob(re.sub(r"<\w+>", "*", word.split("/")[-1])))
            said |= {str(p.relative_to(SOURCE / "src")) for p in found} or {f"{folder}/{word.split('/')[-1]}"}
    have = {str(p.relative_to(SOURCE / "src")) for p in (SOURCE / "src").rglob("*.c")}
    wrong = [f"src/{file} is not in docs/internals/files.md" for file in sorted(have - said)]
    wrong += [f"docs/internals/files.md has {file}, which is not there" for file in sorted(said - have)
              if not (SOURCE / "src" / file).exists()]
    fail_if(wrong)


def choosing():
    """docs/choosing.md has a row for each transport, and a word on each header."""
    text = read("docs/choosing.md")
    schemes = {scheme for path in (SOURCE / "src/channel").glob("transport_*.c")
               for scheme in re.findall(r'\.scheme = "([^"]+)"', path.read_text(encoding="utf-8"))}
    wrong = [f"{scheme}: no row of docs/choosing.md begins with it" for scheme in sorted(schemes)
             if not re.search(rf"^\| `{re.escape(scheme)}:?`", text, re.M)]
    wrong += [f"{scheme}: no row of README.md begins with it" for scheme in sorted(schemes)
              if not re.search(rf"^\| (?:[^|]*, )?`{re.escape(scheme)}:", read("README.md"), re.M)]
    wrong += [f"{header.name} is not in docs/choosing.md" for header in (SOURCE / "include/wherry").glob("*.h")
              if header.stem not in ("base", "traits", "wherry") and f"`{header.name}`" not in text]
    fail_if(wrong or ([] if len(schemes) > 10 else [f"only {len(schemes)} schemes were found in src/channel"]))


def changelog():
    """The newest entry of CHANGELOG.md is the version that is built, and the headers'."""
    version = re.search(r"^  version: '([\d.]+)'", read("meson.build"), re.M).group(1)
    newest = re.search(r"^## \[(\S+)\] - (unreleased|\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), re.M)
    header = ".".join(re.search(rf"WHERRY_VERSION_{part} (\d+)", read("include/wherry/base.h")).group(1)
                      for part in ("MAJOR", "MINOR", "PATCH"))
    if not newest or newest.group(1) != version or header != version:
        raise tap.Failure(f"meson.build has {version}, the headers {header}, CHANGELOG.md "
                          f"{newest.group(1) if newest else 'no entry'}")


def listed():
    """README.md leads to each document for users and contributors."""
    text = read("README.md")
    wanted = ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "docs/ARCHITECTURE.md", "docs/choosing.md",
              "docs/hazards.md"] + [f"docs/man/{p.name}" for p in (SOURCE / "docs/man").glob("*.7.scd")]
    fail_if([f"README.md does not lead to {path}" for path in wanted if f"]({path})" not in text] +
            [f"{path} is not there" for path in wanted if not (SOURCE / path).exists()])


sys.exit(tap.run([
    ("each link leads somewhere", links),
    ("each path of the tree that is named is there", paths),
    ("each file that docs/internals names is there", names),
    ("each trap has its tests, and each test of a trap its trap", hazards),
    (f"the architecture is a page of at most {PAGE} lines, with a drawing, of the folders there are", architecture),
    ("each file of src/ is in docs/internals/files.md", files),
    ("each transport is in README.md, and with each header in docs/choosing.md", choosing),
    ("the changelog is of this version", changelog),
    ("README.md leads to each document", listed),
]))
