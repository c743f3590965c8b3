# tests/api/man_index.py SOURCE BUILD MESON - installed, the man pages are found: by man -k, under each name, by man.
#
# SPDX-License-Identifier: MIT
"""Installs the pages of BUILD into a temporary folder, makes man-db's index of it there, and asks that index."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import tap

SOURCE, BUILD, MESON = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
PAGES = {p.name.removesuffix(".scd"): p.read_text() for p in sorted((SOURCE / "docs/man").glob("*.scd"))}
ENVIRONMENT = {**{k: v for k, v in os.environ.items() if not k.startswith("MAN")}, "LC_ALL": "C.UTF-8", "COLUMNS": "80",
               "MANPAGER": "cat"}


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                            timeout=tap.PATIENCE)
    if result.returncode != 0:
        raise tap.Failure(f"{' '.join(command)}: {result.returncode}\n{result.stdout}{result.stderr}")
    return result


def said(page):
    """The names that NAME gives, and what it says of them."""
    found = re.search(r"^# NAME\n\n(.*?) - (.*?)\n\n", PAGES[page], re.M | re.S)
    if not found:
        raise tap.Failure(f"{page}: its NAME is not NAME[, NAME]... - WHAT")
    names, text = found.groups()
    return {name.strip() for name in names.split(",")}, text


def unsaid(missing):
    if missing:
        raise tap.Failure("\n".join(missing))


def main():
    with tempfile.TemporaryDirectory(prefix="wherry-index-") as place:
        root = pathlib.Path(place)
        run(MESON, "install", "-C", BUILD, "--no-rebuild", "--tags", "man", "--destdir", f"{root}/root", "--quiet")
        tree = next((root / "root").rglob("man1")).parent
        files = {p.relative_to(tree) for p in tree.rglob("*.*")}
        config = root / "config"
        config.write_text(f"MANDATORY_MANPATH {tree}\nMANDB_MAP {tree} {root}/cache\n")
        ours = ["-C", str(config), "-M", str(tree)]

        def installed():
            unsaid([f"{page} is not installed" for page in PAGES if pathlib.Path(f"man{page[-1]}/{page}") not in files])

        def indexed():
            """mandb warns of a NAME that it cannot read, of links that lead nowhere, and of empty pages."""
            said_by_mandb = run("mandb", "-C", str(config), "--create", str(tree)).stderr.splitlines()
            unsaid([line for line in said_by_mandb if re.search(r"warning|can't|bad|empty|whatis", line)])
            if not (root / "cache/index.db").exists():
                raise tap.Failure("\n".join(["it made no index:"] + said_by_mandb))

        def readable():
            wrong = []
            for page in PAGES:
                lines = run("lexgrog", str(tree / f"man{page[-1]}" / page)).stdout.splitlines()
                names, text = said(page)
                wrong += [f'{page}: man-db reads "{line}"' for line in lines if not line.endswith(f" - {text}\"")]
                wrong += [f"{page}: man-db reads no {name}" for name in names
                          if not any(f'"{name} - ' in line for line in lines)]
            unsaid(wrong)

        def searched():
            """Each page, and each function and object that it is about, by the word wherry; and nothing else."""
            found = set(re.findall(r"^(\S+) \((\w+)\) +- \S", run("man", *ours, "-k", "wherry").stdout, re.M))
            wanted = {(name, page[-1]) for page in PAGES for name in said(page)[0] | {page[:-2]}}
            wanted = {(name, number) for name, number in wanted if "wherry" in name}
            unsaid([f"man -k wherry does not show {name}({number})" for name, number in sorted(wanted - found)] +
                   [f"man -k wherry shows {name}({number}), which no page is about"
                    for name, number in sorted(found - wanted)] +
                   ([] if len(wanted) > 200 else [f"only {len(wanted)} names were asked for"]))

        def shown():
            """man finds the file under each name of a page, its own among them."""
            wrong = []
            for page in PAGES:
                for name in said(page)[0] | {page[:-2]}:
                    path = run("man", *ours, "-w", page[-1], name).stdout.strip()
                    if not path or os.path.realpath(path) != os.path.realpath(tree / f"man{page[-1]}" / page):
                        wrong.append(f"man {page[-1]} {name} leads to {path or 'nothing'}, and not to {page}")
            unsaid(wrong)

        def written():
            """What a page has between ``` is shown as it stands there, so that it can be taken over."""
            wrong = []
            ENVIRONMENT["MANWIDTH"] = "200"
            for page in PAGES:
                blocks = re.findall(r"^```\n(.*?)^```", PAGES[page], re.M | re.S)
                lines = {line.strip() for block in blocks for line in block.splitlines()}
                seen = run("man", *ours, "-P", "cat", page[-1], page[:-2]).stdout if lines else ""
                plain = re.sub("[\u2010-\u2015\u2212]", "-", re.sub(".\b", "", seen))
                seen = {line.strip() for line in plain.splitlines()}
                wrong += [f"{page} does not show {line!r}" for line in sorted(lines - seen) if line]
            unsaid(wrong)

        return tap.run([
            ("each page is installed", installed),
            ("man-db makes its index without a warning", indexed),
            ("man-db reads each NAME", readable),
            ("man -k wherry shows each page and each function", searched),
            ("man finds each page under each of its names", shown),
            ("examples are shown as they are written", written),
        ])


sys.exit(main())
