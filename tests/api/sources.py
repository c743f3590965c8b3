# tests/api/sources.py SOURCE BUILD - no file is forgotten: each .c is built, each script run, each header installed;
# and no line is too long.
#
# SPDX-License-Identifier: MIT
import json
import pathlib
import re
import sys

import tap

# Whose *.c, *.h, *.py and *.sh have lines of at most WIDTH characters.
NARROW, WIDTH = ("bench", "docs", "examples", "include", "scripts", "src", "tests", "tools"), 120
PAGE = 80  # lines of an example


def main():
    source, build = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    targets = json.loads((build / "meson-info/intro-targets.json").read_text())
    tests = json.loads((build / "meson-info/intro-tests.json").read_text())
    installed = json.loads((build / "meson-info/intro-installed.json").read_text())
    built = {str(pathlib.Path(f).resolve()) for t in targets for group in t["target_sources"] for f in group["sources"]}
    run = {str(pathlib.Path(word).resolve()) for t in tests for word in t["cmd"] if word.startswith("/")}

    def all_in(files, known, what):
        missing = [str(f.relative_to(source)) for f in files if str(f.resolve()) not in known]
        if missing:
            raise tap.Failure(f"{', '.join(missing)}: {what}")

    def folder(name):
        def check():
            files = sorted((source / name).rglob("*.c"))
            if name in ("bench", "examples", "tools") and files and not any(str(f.resolve()) in built for f in files):
                raise tap.Skip(f"{name}/ is not part of this build")
            all_in(files, built, "in no list of meson.build")
        return check

    def programs():
        """A test program that is built but never run."""
        mains = [t for t in targets if t["type"] == "executable" and t["name"].startswith("test_")]
        idle = [t["name"] for t in mains if not any(str(pathlib.Path(f).resolve()) in run for f in t["filename"])]
        if idle:
            raise tap.Failure(f"{', '.join(idle)}: built, but no test() runs it")

    def scripts():
        # modules that scripts import
        idle = {"tap.py", "man_kit.py", "pipe_kit.py", "run_kit.py", "terminal_kit.py", "tree_kit.py"}
        here = sorted(p for p in (source / "tests").rglob("*.py") if p.name not in idle)
        all_in(here, run, "no test() runs it")

    def examples():
        """Each is run, has its place in the index, and fits on a page."""
        folder = source / "examples"
        index, runner = ((folder / name).read_text(encoding="utf-8") for name in ("README.md", "run_all.sh"))
        here = sorted(p for kind in ("c", "sh") for p in folder.glob(f"*.{kind}") if p.name != "run_all.sh")
        wrong = [f"{p.name}: not linked to in README.md" for p in here if f"]({p.name})" not in index]
        call = {".c": r"^alone NAME |/example_NAME\b", ".sh": r"^script NAME |/NAME\.sh\b"}
        wrong += [f"{p.name}: not run by run_all.sh" for p in here
                  if not re.search(call[p.suffix].replace("NAME", p.stem), runner, re.M)]
        wrong += [f"{p.name}: {PAGE} lines or more" for p in here if len(p.read_text().splitlines()) >= PAGE]
        wrong += [f"README.md: there is no {name}" for name in re.findall(r"\]\((\w+\.(?:c|sh))\)", index)
                  if not (folder / name).is_file()]
        if not here or wrong:
            raise tap.Failure("\n".join(wrong or ["no example was found"]))

    def headers():
        known = {str(pathlib.Path(f).resolve()) for f in installed}
        all_in(sorted((source / "include").rglob("*.h")), known, "not installed")

    def merged():
        """What git leaves where two changes met, and somebody has to choose."""
        wrong = []
        for path in sorted(source.rglob("*")):
            if path.is_file() and not {".git", "build"} & set(path.relative_to(source).parts):
                text = path.read_bytes()
                if b"\n<" + 6 * b"<" + b" " in text or b"\n>" + 6 * b">" + b" " in text:
                    wrong.append(str(path.relative_to(source)))
        if wrong:
            raise tap.Failure(f"{', '.join(wrong)}: a conflict of two changes is not resolved")

    def width():
        files = sorted(f for folder in NARROW for kind in ("c", "h", "py", "sh")
                       for f in (source / folder).rglob(f"*.{kind}"))
        wide = [f"{f.relative_to(source)}:{number}" for f in files
                for number, line in enumerate(f.read_text(encoding="utf-8").splitlines(), 1) if len(line) > WIDTH]
        if not files or wide:
            raise tap.Failure(f"{', '.join(wide) or 'no file was found'}: more than {WIDTH} characters")

    def unique():
        """scripts/tally.py tells programs apart by name."""
        names = [t["name"] for t in tests]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise tap.Failure(f"{', '.join(twice)}: more than one test of this name")

    cases = [(f"every .c in {name}/ is built", folder(name)) for name in ("src", "tools", "tests", "bench", "examples")]
    cases += [("every test program is run", programs), ("every test script is run", scripts),
              ("every public header is installed", headers),
              ("every example is run and explained, and fits on a page", examples),
              ("each test has a name of its own", unique),
              ("no conflict of two changes is left", merged),
              (f"no line has more than {WIDTH} characters", width)]
    return tap.run(cases)


sys.exit(main())
