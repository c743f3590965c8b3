# tests/api/sources.py SOURCE BUILD - no file is forgotten: each .c is built, each script run, each header installed.
#
# SPDX-License-Identifier: MIT
import json
import pathlib
import sys

import tap


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
        idle = {"tap.py"}
        here = sorted(p for p in (source / "tests").rglob("*.py") if p.name not in idle)
        all_in(here, run, "no test() runs it")

    def headers():
        known = {str(pathlib.Path(f).resolve()) for f in installed}
        all_in(sorted((source / "include").rglob("*.h")), known, "not installed")

    def unique():
        """scripts/tally.py tells programs apart by name."""
        names = [t["name"] for t in tests]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise tap.Failure(f"{', '.join(twice)}: more than one test of this name")

    cases = [(f"every .c in {name}/ is built", folder(name)) for name in ("src", "tools", "tests", "bench", "examples")]
    cases += [("every test program is run", programs), ("every test script is run", scripts),
              ("every public header is installed", headers), ("each test has a name of its own", unique)]
    return tap.run(cases)


sys.exit(main())
