# tests/api/man.py SOURCE LIBRARY INSPECT|none COMMAND|none COMPILER [FLAG]... - the man pages say everything, and
# render.
#
# SPDX-License-Identifier: MIT
"""Pages are docs/man/NAME.SECTION.scd.  What a page shows as C that begins with an #include is compiled.  man_truth.py
compares what pages say with what the library does, man_index.py looks for them as man(1) does."""
import pathlib
import re
import shutil
import sys
import tempfile

import tap
from man_kit import (COMMAND, COMPILER, INSPECT, LIBRARY, PAGES, SOURCE, blocks, fail_if, names_of, need_command, run,
                     section, table)

SECTIONS = {"1": ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"],
            "3": ["NAME", "SYNOPSIS", "DESCRIPTION", "ERRORS", "THREADS, FORKS, SIGNALS", "EXAMPLE", "SEE ALSO"],
            "7": ["NAME", "DESCRIPTION", "SEE ALSO"]}
# mandoc's opinion of what scdoc writes, rather than of what we wrote
HARMLESS = re.compile(r"STYLE:|skipping paragraph macro|missing date")


# ---- form ----

def has_sections(page):
    found = re.findall(r"^# (.*)$", PAGES[page], re.M)
    wanted = [s for s in found if s in SECTIONS[page[-1]]]
    missing = [s for s in SECTIONS[page[-1]] if s not in found]
    if missing:
        raise tap.Failure(f"without {', '.join(missing)}")
    if wanted != SECTIONS[page[-1]]:
        raise tap.Failure(f"sections in another order than {', '.join(SECTIONS[page[-1]])}")


def renders(page):
    if not shutil.which("scdoc"):
        raise tap.Skip("scdoc is not installed: scripts/install-deps installs it")
    if not PAGES[page].startswith(f"{page[:-2]}({page[-1]})\n"):
        raise tap.Failure(f"the page does not begin with {page[:-2]}({page[-1]})")
    text = PAGES[page]
    if "\n@TABLES@\n" in text and COMMAND != "none":
        tables = run([COMMAND, "transports", "--scdoc"], check=True).stdout
        text = text.replace("@TABLES@\n", tables)
    result = run(["scdoc"], input=text)
    if result.returncode != 0:
        raise tap.Failure(result.stderr)
    with tempfile.NamedTemporaryFile("w", suffix="." + page) as file:
        file.write(result.stdout)
        file.flush()
        if shutil.which("man"):
            fail_if(run(["man", "--warnings", "-l", file.name]).stderr.splitlines())
        if shutil.which("mandoc"):
            lines = run(["mandoc", "-T", "lint", file.name]).stdout.splitlines()
            fail_if([line for line in lines if not HARMLESS.search(line)])


def references():
    known = set().union(*(names_of(page) for page in PAGES)) | set(PAGES)
    wrong = []
    for page, text in PAGES.items():
        for name, section in re.findall(r"(?<![\w])(wherry[\w-]*)\*\((\d)\)", text):
            if f"{name}.{section}" not in known:
                wrong.append(f"{page} refers to {name}({section}), which no page is about")
    fail_if(wrong)


def mentions():
    """A page that a header, a source or a sentence of the programs names is there."""
    known = set().union(*(names_of(page) for page in PAGES)) | set(PAGES)
    wrong, count = [], 0
    for path in sorted(p for folder in ("include", "src", "tools") for p in (SOURCE / folder).rglob("*.[ch]")):
        for name, number in re.findall(r"(?<![\w/-])((?:wherry|stepkill)[\w-]*)\((\d)\)", path.read_text()):
            count += 1
            if f"{name}.{number}" not in known:
                wrong.append(f"{path.relative_to(SOURCE)} names {name}({number}), which no page is about")
    fail_if(wrong or ([] if count > 30 else [f"only {count} were found"]))


def listed():
    """docs/man/meson.build installs each page under all its names."""
    text = (SOURCE / "docs/man/meson.build").read_text()
    pages = dict(re.findall(r"'([\w.-]+)': \[(.*?)\]", text, re.S))
    wrong = [f"{page}: not in docs/man/meson.build" for page in PAGES if page not in pages]
    wrong += [f"{page}: in docs/man/meson.build, but not there" for page in pages if page not in PAGES]
    for page in set(pages) & set(PAGES):
        have = {f"{name}.{page[-1]}" for name in re.findall(r"'(\w+)'", pages[page])} | {page}
        want = names_of(page) | {page}
        if have != want:
            wrong.append(f"{page}: its NAME and docs/man/meson.build differ by {', '.join(sorted(have ^ want))}")
    fail_if(wrong)


# ---- completeness ----

def symbols():
    """Each exported name is in the NAME of one page, and explained there."""
    wrong = []
    lists = [(SOURCE / "tests/api" / name).read_text() for name in ("symbols.txt", "symbols_inspect.txt")]
    for name in "\n".join(lists).split():
        if not name.startswith("wherry_"):
            continue
        pages = [page for page in PAGES if f"{name}.3" in names_of(page)]
        if len(pages) != 1:
            wrong.append(f"{name}: in the NAME of {len(pages)} pages")
        elif not re.search(rf"\b{name}\W*\(", section(pages[0], "DESCRIPTION")):
            wrong.append(f"{name}: not in the DESCRIPTION of {pages[0]}")
    fail_if(wrong)


def normal(text):
    """Without comments, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", text, flags=re.S)).replace("( ", "(").strip()


def declarations():
    """Each function that a header declares, as it is declared, is in the SYNOPSIS of one page of section 3, the one
    whose NAME has it, below the #include of that header."""
    synopses = {page: blocks(section(page, "SYNOPSIS")) for page in PAGES if page.endswith(".3")}
    wrong, count = [], 0
    for header in sorted((SOURCE / "include/wherry").glob("*.h")):
        for declaration in re.findall(r"^WHERRY_API\s+([^;{]*;)", header.read_text(), re.M):
            declaration, count = normal(declaration), count + 1
            name = re.search(r"(\w+)\(", declaration).group(1)
            pages = [page for page, found in synopses.items()
                     if any(re.search(rf"(?<!\w){re.escape(declaration)}", normal(block)) for block in found)]
            if len(pages) != 1:
                wrong.append(f"{declaration} ({header.name}): so in the SYNOPSIS of {len(pages)} pages, "
                             f"and of one is right: {', '.join(pages)}")
            elif f"{name}.3" not in names_of(pages[0]):
                wrong.append(f"{name}: in the SYNOPSIS of {pages[0]}, but not in its NAME")
            elif f"#include <wherry/{header.name}>" not in "".join(synopses[pages[0]]):
                wrong.append(f"{pages[0]}: has {name}, but not #include <wherry/{header.name}>")
    fail_if(wrong or ([] if count > 150 else [f"only {count} declarations were found in the headers"]))


def prototypes():
    """The synopses are the headers', and so are structs that a page shows further below."""
    headers = normal("\n".join(p.read_text() for p in (SOURCE / "include/wherry").glob("*.h")))
    wrong = []
    for page, text in PAGES.items():
        if not page.endswith(".3"):
            continue
        synopsis = blocks(text.split("# DESCRIPTION")[0])
        for block in synopsis + [b for b in blocks(text)[len(synopsis):] if re.match(r"struct \w+ {", b)]:
            block = re.sub(r"/\*.*?\*/", "", block, flags=re.S)
            for statement in re.split(r"(?<=[;}])\n\n?(?=\S)|(?<=;)\n", block):
                statement = normal(re.sub(r"^#.*$", "", statement, flags=re.M))
                if "(" in statement and statement not in headers:
                    wrong.append(f"{page}: {statement}: not so in the headers")
                if statement.startswith("struct") and "{" in statement:
                    fields = statement[statement.index("{"):]
                    if statement[:statement.index("{")] + fields not in headers:
                        wrong.append(f"{page}: {statement}: not so in the headers")
    fail_if(wrong)


def constants():
    """Each flag, trait and constant of the headers is named in some page."""
    text = "\n".join(PAGES.values()).replace("\\", "")
    headers = "\n".join(p.read_text() for p in (SOURCE / "include/wherry").glob("*.h"))
    found = set(re.findall(r"^#define (WHERRY_(?!TRAIT_|VERSION_|API)\w+) ", headers, re.M)) - {"WHERRY_API"}
    traits = [row[0] for row in table(PAGES["wherry_transports.3"], "Name")]
    wrong = [f"{name}: in no page" for name in sorted(found) if name not in text]
    wrong += [f"{name}: not in the table of wherry_transports(3)"
              for name in re.findall(r"WHERRY_TRAIT_(\w+) \(UINT64", headers)
              if name.lower().replace("_", "-") not in traits]
    counters = re.search(r"struct wherry_channel_stats \{(.*?)\n\};", headers, re.S).group(1)
    for name in re.findall(r"(\w+)[,;]", re.sub(r"/\*.*?\*/", "", counters, flags=re.S)):
        if not re.search(rf"\b{name}\b", PAGES["wherry_channel_stats.3"]):
            wrong.append(f"{name}: not in wherry_channel_stats(3)")
    fail_if(wrong)


def unmarked(text):
    """Without the underscores that scdoc underlines by; those of names stay."""
    return re.sub(r"(?<!\w)_|_(?!\w)", "", text.replace("\\_", "\0")).replace("\0", "_")


def structs():
    """Each struct of the headers that shows its members, and their names."""
    for header in sorted((SOURCE / "include/wherry").glob("*.h")):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        for name, body in re.findall(r"^struct (\w+) \{(.*?)\n\};", text, re.M | re.S):
            for statement in body.split(";"):
                function = re.search(r"\(\*(\w+)\)", statement)
                for one in [function.group(0)] if function else statement.split(","):
                    last = re.search(r"(\w+)(?:\[[^\]]*\]|\))?\s*$", one)
                    if last:
                        yield name, last.group(1)


def members():
    """Each member of a public struct is named in a page that names the struct; `size` of options is their macro's to
    set, and what is opaque is nobody's."""
    text = {page: unmarked(source) for page, source in PAGES.items()}
    wrong = []
    for struct, member in structs():
        if (member == "size" and struct.endswith("_options")) or member in ("opaque", "align"):
            continue
        pages = [page for page in text if re.search(rf"\bstruct {struct}\b", text[page])]
        pages += ["wherry-url.7"] if struct == "wherry_channel_options" else []
        if not any(re.search(rf"\b{member}\b", text[page]) for page in pages):
            wrong.append(f"{member} of struct {struct}: not in {', '.join(pages) or 'any page, nor is the struct'}")
    fail_if(wrong)


def offered(text):
    """The options that a help text has a line for."""
    found = set()
    for words in re.findall(r"^  +(-\S.*)$", text, re.M):
        words = re.split(r"\s{2,}|[\[=]", words)[0]
        found |= set(re.findall(r"(?<![\w-])(--?\w[\w-]*)", words))
    return found


def explained(text):
    """The options that a page has an entry for."""
    return {option for line in re.findall(r"^\*-.*$", text, re.M) for option in re.findall(r"\*(--?\w[\w-]*)\*", line)}


def listed_verbs():
    """The words that begin a column of `wherry --help` and that `wherry help` knows: those of summaries are none."""
    words = re.findall(r"(?:^|  )([a-z]+)(?= |$)", run([COMMAND, "--help"], check=True).stdout, re.M)
    return sorted(word for word in set(words) if run([COMMAND, "help", word]).returncode == 0)


def verbs():
    """Each verb has its page, and what its --help offers has an entry there, as what has an entry is offered."""
    need_command()
    found = listed_verbs()
    wrong = [] if len(found) > 20 else [f"--help lists {len(found)} verbs: {', '.join(found)}"]
    for page in PAGES:
        if re.match(r"wherry-\w+\.1", page) and page[7:-2] not in found:
            wrong.append(f"{page} is about no verb that --help lists")
    for verb in found:
        if f"wherry-{verb}.1" not in PAGES:
            wrong.append(f"wherry-{verb}(1) is missing")
            continue
        if f"*wherry-{verb}*(1)" not in PAGES["wherry.1"]:
            wrong.append(f"wherry(1) does not refer to wherry-{verb}(1)")
        own, mark, common = run([COMMAND, verb, "--help"], check=True).stdout.partition("\nCommon options:\n")
        if not mark:
            wrong.append(f"wherry {verb} --help has no common options")
        for page, text, whole in ((f"wherry-{verb}", own, own + common), ("wherry", common, common)):
            text, entries = offered(text), explained(PAGES[f"{page}.1"])
            wrong += [f"{page}(1) has no entry for {o} of wherry {verb} --help" for o in sorted(text - entries)]
            wrong += [f"{page}(1) has an entry for {o}, which wherry {verb} --help does not have"
                      for o in sorted(entries - text) if not re.search(rf"(?<![\w-]){o}(?![\w-])", whole)]
    fail_if(wrong)


def stepkill():
    """The same of the other command, which is built beside the first."""
    need_command()
    program = pathlib.Path(COMMAND).parent / "stepkill"
    text, entries = offered(run([program, "--help"], check=True).stdout), explained(PAGES["stepkill.1"])
    fail_if([f"stepkill(1) has no entry for {o} of stepkill --help" for o in sorted(text - entries)] +
            [f"stepkill(1) has an entry for {o}, which stepkill --help does not have" for o in sorted(entries - text)])


def subjects(page):
    """What THREADS, FORKS, SIGNALS has to say something of."""
    text = section(page, "THREADS, FORKS, SIGNALS")
    fail_if([f"{page}: nothing about {what}" for what, words in
             (("threads", r"thread"), ("forks", r"fork|child"), ("signal handlers", r"async-signal-safe")) if
             not re.search(words, text)])


# ---- what it shows ----

def narrow():
    """C in section 3 fits a terminal of 80 columns, of which 11 are the margin: nothing folds it there."""
    fail_if([f"{page}: {len(line)} characters of at most 69: {line}" for page in PAGES if page.endswith(".3")
             for block in blocks(PAGES[page]) for line in block.splitlines() if len(line) > 69])


def examples(page):
    example = section(page, "EXAMPLE") if page.endswith(".3") else PAGES[page]
    if not any(block.startswith("#include") for block in blocks(example)):
        raise tap.Failure("no block of its EXAMPLE begins with an #include, so that it would be compiled")
    with tempfile.TemporaryDirectory(prefix="wherry-man-") as where:
        for block in blocks(PAGES[page]):
            if not block.startswith("#include"):
                continue
            path = pathlib.Path(where) / "block.c"
            path.write_text(block)
            # as a library, since many have no main(); what it calls has to be somewhere all the same
            result = run(COMPILER + ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-I",
                                     str(SOURCE / "include"), str(path), "-o", str(path.with_suffix(".so")), *INSPECT,
                                     str(LIBRARY), "-Wl,--no-undefined"])
            if result.returncode != 0:
                raise tap.Failure(f"{block}\n{result.stderr}")


def has_c(page):
    """An example of a function that nobody compiles is none: each page of section 3 has one."""
    return page.endswith(".3") or any(block.startswith("#include") for block in blocks(PAGES[page]))


def main():
    cases = []
    for page in PAGES:
        cases.append((f"{page} renders without warnings", lambda p=page: renders(p)))
        cases.append((f"{page} has its sections", lambda p=page: has_sections(p)))
        if page.endswith(".3"):
            cases.append((f"{page} tells of threads, forks and signals", lambda p=page: subjects(p)))
        if has_c(page):
            cases.append((f"the C in {page} compiles", lambda p=page: examples(p)))
    return tap.run(cases + [
        ("each exported name has a page", symbols),
        ("each function is declared in one synopsis as in its header", declarations),
        ("the synopses are those of the headers", prototypes),
        ("each constant, trait and counter is in a page", constants),
        ("each member of a public struct is in a page", members),
        ("each verb has a page, with the options of its --help and no others", verbs),
        ("stepkill(1) has the options of its --help and no others", stepkill),
        ("each reference leads to a page", references),
        ("each page that the sources name is there", mentions),
        ("each page is installed under all its names", listed),
        ("C in section 3 fits a terminal of 80 columns", narrow),
    ])


if __name__ == "__main__":
    sys.exit(main())
