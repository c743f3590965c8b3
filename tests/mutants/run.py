# tests/mutants/run.py SOURCE [--seconds=N] [--only=FILE[:LINE]] [--kind=KIND] [--from=N] [--list] - does any test
# notice a mistake in src/ring?
#
# SPDX-License-Identifier: MIT
"""Makes mutants of src/ring, one at a time, in a scratch copy: a memory order weakened, a barrier, a store or a
wake-up left out, a compare-and-swap that does not compare, a check that always or never holds.  Builds each, runs the
quick tests of shm: until one fails, and prints what caught it; README.md here says why those that survive do.  For as
long as --seconds says mutants are taken in an order that is random but the same each time, each kind in its turn.  By
hand, or by ./check --long."""
import argparse
import collections
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

CFLAGS = "-std=c17 -D_GNU_SOURCE -O2 -w -Iinclude -Isrc -Itests -Itools".split()
LINK = "-lcheck -lsubunit -lm -lrt -pthread".split()
SHARE = ["-Wl,--wrap=munmap,--wrap=wherry__ring_map_lanes"]
TSAN = "-O1 -g -fsanitize=thread -fno-omit-frame-pointer".split()

Mutant = collections.namedtuple("Mutant", "file line kind old new text")
Program = collections.namedtuple("Program", "name sources tsan words env")

PROGRAMS = [
    Program("threads", ["tests/unit/test_ring_threads.c"], False, [], {}),
    Program("threads_tsan", ["tests/unit/test_ring_threads.c"], True, [], {}),
    Program("limits", ["tests/unit/test_ring_limits.c"], False, [], {}),
    Program("peers", ["tests/unit/test_ring_peers.c"], False, [], {}),
    Program("worlds", ["tests/unit/test_ring_worlds.c"], False, [], {}),
    Program("hazards", ["tests/unit/test_ring_hazards.c"], False, [], {}),
    Program("conformance", ["tests/conformance/*.c", "!test_double.c"], False, ["[shm"], {}),
    Program("kill", ["tests/crash/test_ring_kill.c", "tests/crash/ring_*.c", "tools/stepkill/step.c",
                     "tools/stepkill/step_events.c"], False, [], {"WHERRY_KILL_POINTS": "12"}),
    Program("stop", ["tests/crash/test_ring_stop.c", "tests/crash/ring_*.c", "tools/stepkill/step.c",
                     "tools/stepkill/step_events.c"], False, ["nothing_comes"], {}),
]


# ---- mutants ---------------------------------------------------------------------------------------------------------

def closing(text, at):
    """Where the parenthesis at `at` closes."""
    depth = 0
    for i in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    return None


def without_comments(text):
    blank = lambda match: re.sub(r"[^\n]", " ", match.group())
    return re.sub(r"/\*.*?\*/|//[^\n]*", blank, text, flags=re.S)


def mutants_of(path):
    text = path.read_text()
    code = without_comments(text)
    found = []

    def add(start, end, kind, new):
        line = text.count("\n", 0, start) + 1
        old = " ".join(text[start:end].split())
        found.append(Mutant(path.name, line, kind, old, " ".join(new.split()), text[:start] + new + text[end:]))

    for m in re.finditer(r"memory_order_(release|acquire|acq_rel|seq_cst)", code):
        add(m.start(), m.end(), "order", "memory_order_relaxed")
    for m in re.finditer(r"^ +(wherry__barrier_(?:all|light)\([^;]*\);)", code, re.M):
        add(m.start(1), m.end(1), "barrier", ";")
    for m in re.finditer(r"^ +((?:wherry__futex_ring|wherry__ring_wake_\w+|wake_\w+|ring_bell|atomic_store_explicit|"
                         r"atomic_fetch_\w+"
                         r"|atomic_store|(?:ring_)?go_outside|free_lanes|desert|let_lane_go)\([^;]*\);)", code, re.M):
        add(m.start(1), m.end(1), "left out", ";")
    for m in re.finditer(r"atomic_compare_exchange_strong(?:_explicit)?(?=\()", code):
        end = closing(code, m.end())
        parts = [p.strip() for p in re.split(r",(?![^(]*\))", code[m.end() + 1:end])]
        add(m.start(), end + 1, "no compare", f"((void)*({parts[1]}), atomic_store({parts[0]}, {parts[2]}), true)")
    for m in re.finditer(r"\b(?:if|while) (?=\()", code):
        end = closing(code, m.end())
        condition = text[m.end() + 1:end]
        add(m.end() + 1, end, "never", f"0 && ({condition})")
        if m.group().startswith("if"):
            add(m.end() + 1, end, "always", f"1 || ({condition})")
    return found


def in_turn(mutants):
    """Each kind in its turn, so that a run that is cut short has seen something of all."""
    random.seed(1)
    kinds = collections.defaultdict(list)
    for mutant in mutants:
        kinds[mutant.kind].append(mutant)
    for of_kind in kinds.values():
        random.shuffle(of_kind)
    while any(kinds.values()):
        for of_kind in kinds.values():
            if of_kind:
                yield of_kind.pop()


# ---- building --------------------------------------------------------------------------------------------------------

class Tree:
    """The scratch copy: objects of all sources in two flavours, and the programs."""

    def __init__(self, source, directory):
        self.directory = directory
        self.programs = [p for p in PROGRAMS if (source / p.sources[0]).exists() or "*" in p.sources[0]]
        for name in ("src", "include", "tests", "tools"):
            shutil.copytree(source / name, directory / name)
        shutil.rmtree(directory / "src/inspect")  # a library of its own, which needs more
        (directory / "o").mkdir()
        jobs = [(f, tsan) for f in sorted(directory.glob("src/*/*.c")) + sorted(directory.glob("tests/harness*.c"))
                for tsan in (False, True)]
        for program in self.programs:
            jobs += [(f, program.tsan) for f in self.files_of(program)]
        for file, tsan in dict.fromkeys(jobs):
            self.compile(file, tsan)

    def files_of(self, program):
        excluded = [s[1:] for s in program.sources if s[0] == "!"]
        return [f for s in program.sources if s[0] != "!" for f in sorted(self.directory.glob(s))
                if f.name not in excluded]

    def object_of(self, file, tsan):
        name = str(file.relative_to(self.directory)).replace("/", "_")
        return self.directory / "o" / (name + (".tsan.o" if tsan else ".o"))

    def run(self, command):
        subprocess.run([str(word) for word in command], cwd=self.directory, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def compile(self, file, tsan):
        compiler = ["clang"] if tsan else ["gcc"]
        self.run(compiler + CFLAGS + (TSAN if tsan else []) + ["-c", file, "-o", self.object_of(file, tsan)])

    def compile_all_with(self, file):
        """The file, or all that a header of src/ring is in."""
        files = [file]
        if file.suffix == ".h":
            files = [f for f in self.directory.glob("src/*/*.c")
                     if f.parent == file.parent or '"ring/' in f.read_text()]
        for one in files:
            for tsan in (False, True):
                self.compile(one, tsan)

    def link(self, program):
        own = self.files_of(program)
        library = list(self.directory.glob("src/*/*.c")) + list(self.directory.glob("tests/harness*.c"))
        compiler = ["clang", "-fsanitize=thread"] if program.tsan else ["gcc"]
        share = SHARE if "threads" in program.name else []
        self.run(compiler + share + ["-Wl,-z,now", "-o", self.directory / "o" / program.name] +
                 [self.object_of(f, program.tsan) for f in own + library] + LINK)


# ---- running ---------------------------------------------------------------------------------------------------------

def session(leader):
    members = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else None
        except OSError:
            continue
        if fields and int(fields[3]) == leader and fields[0] not in "ZX":
            members.append(int(entry.name))
    return members


class Run:
    """One program, ended at the first case that fails and that did not fail before."""

    def __init__(self, tree, program, known, seconds):
        self.program, self.known, self.failed, self.count = program, known, [], 0
        command = [str(tree.directory / "o" / program.name), *program.words]
        if os.geteuid() == 0:  # what a killed one leaves goes with its namespace
            command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$0" "$@"', *command]
        env = dict(os.environ, WHERRY_SOURCE=str(tree.directory), TMPDIR=str(tree.directory), **program.env)
        self.process = subprocess.Popen(command, cwd=tree.directory, env=env, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        self.timer = threading.Timer(seconds, self.late)
        self.timer.start()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def late(self):
        self.failed.append("time limit")
        self.stop()

    def stop(self):
        """Its whole session: tests have process groups of their own, and outlive their program."""
        while members := session(self.process.pid):
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)

    def read(self):
        for line in self.process.stdout:
            match = re.match(r"(not )?ok \d+ - (\S+)", line)
            if match:
                self.count += 1
            if match and match.group(1) and match.group(2) not in self.known:
                self.failed.append(match.group(2))
                if self.known is not ALL:
                    self.stop()
                    break
        self.process.stdout.close()
        status = self.process.wait()
        if not self.failed and status not in (0, 1):
            self.failed.append(f"status {status}")
        self.timer.cancel()


class All:
    def __contains__(self, name):
        return False


ALL = All()


def test(tree, usual):
    """Which program and case caught it; None."""
    runs = []
    for program in tree.programs:
        tree.link(program)
        runs.append(Run(tree, program, *usual[program.name]))
    while any(r.thread.is_alive() for r in runs) and not any(r.failed for r in runs):
        time.sleep(0.05)
    caught = [f"{r.program.name}: {r.failed[0]}" for r in runs if r.failed]
    for run in runs:
        if caught and run.thread.is_alive():
            run.stop()
        run.thread.join()
    return caught[0] if caught else None


def learn_usual(tree):
    """What fails without any mutant, and how long each program takes."""
    usual = {}
    for program in tree.programs:
        tree.link(program)
        began = time.monotonic()
        run = Run(tree, program, ALL, 300)
        run.thread.join()
        took = time.monotonic() - began
        usual[program.name] = (set(run.failed), 30 + 4 * took)
        print(f"# {program.name}: {run.count} cases in {took:.1f} s; fail anyway: {', '.join(run.failed) or 'none'}",
              flush=True)
    return usual


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--only", default="")
    parser.add_argument("--kind", default="")
    parser.add_argument("--from", type=int, default=0, dest="first", help="leave out as many as an earlier run did")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--skip", action="store_true", help="say so, and do nothing")
    options = parser.parse_args()
    if options.skip or not shutil.which("clang") or not shutil.which("gcc"):
        print("mutants are tested in the build with gcc alone" if options.skip else "needs gcc and clang")
        return 77
    mutants = [m for f in sorted((options.source / "src/ring").glob("*.[ch]")) for m in mutants_of(f)
               if options.only in f"{m.file}:{m.line}" and options.kind in m.kind]
    if options.list:
        for m in mutants:
            print(f"{m.file}:{m.line} {m.kind}: {m.old} -> {m.new}")
        return 0
    results = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory(prefix="wherry-mutants-") as scratch:
        tree = Tree(options.source.resolve(), pathlib.Path(scratch))
        usual = learn_usual(tree)
        end = time.monotonic() + options.seconds
        for m in list(in_turn(mutants))[options.first:]:
            if time.monotonic() > end:
                break
            file = tree.directory / "src/ring" / m.file
            kept = file.read_text()
            file.write_text(m.text)
            try:
                tree.compile_all_with(file)
                verdict = test(tree, usual)
            except subprocess.CalledProcessError:
                verdict = "not built"
            finally:
                file.write_text(kept)
                tree.compile_all_with(file)
            outcome = "survived" if verdict is None else "not built" if verdict == "not built" else "caught"
            results[m.kind][outcome] += 1
            print(f"{outcome:9} {m.file}:{m.line} {m.kind}: {m.old[:70]}{'' if verdict is None else '  <- ' + verdict}",
                  flush=True)
    print("\nkind         caught survived of")
    total = collections.Counter()
    for kind, counts in sorted(results.items()) + [("all", None)]:
        counts = total if counts is None else counts
        print(f"{kind:12} {counts['caught']:6} {counts['survived']:8} {counts['caught'] + counts['survived']:2}")
        if kind != "all":
            total.update(counts)
    print(f"of {len(mutants)} mutants in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
