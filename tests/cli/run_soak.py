# tests/cli/run_soak.py - `wherry run` under 200 seeded blows: SIGKILL and SIGSTOP of units, of what they started, and
# of both processes of the run, restarts from elsewhere, and a unit that forks as much as it may.
#
# SPDX-License-Identifier: MIT
"""After each blow: no unit runs twice at once, and of a run that has ended nobody is left.  Every process of a unit
locks a file of the unit's name first, which all that it starts inherit; the environment tells them all.
WHERRY_SOAK_SEED and WHERRY_SOAK_BLOWS say which and how many."""
import os
import pathlib
import random
import signal
import time

import tap
from run import same, wait_for
from run_kit import alive, home, lines_of, procfile, status

UNITS = """\
plain: {lock}; exec sleep 1000
group: {lock}; sleep 1000 & (sleep 1000 & sleep 1000) & wait
deaf: {lock}; trap '' TERM HUP; while :; do sleep 1000; done
crash: {lock}; sleep 0.02; exit 1
bomb: {lock}; bomb() {{ sleep 1000 & i=$((i+1)); [ $i -lt 40 ] || wait; bomb; }}; i=0; bomb
user: {lock}; exec sleep 1000
  after plain group
"""
OPTIONS = """  restart always
  backoff 1ms 5ms
  stop TERM 50ms
"""


def processes(mark):
    """Who lives and has the mark: pid -> (parent, state, name of its unit or None)."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            variables = (path / "environ").read_bytes().split(b"\0")
            rest = (path / "stat").read_text(errors="replace").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if mark in variables:
            found[int(path.name)] = (int(rest[1]), rest[0])
    return {pid: of for pid, of in found.items() if of[1] not in "ZX"}


def zombies(parents):
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            rest = (path / "stat").read_text(errors="replace").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if rest[0] == "Z" and int(rest[1]) in parents:
            found.add(int(path.name))
    return found


def hit(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Soak:
    def __init__(self, stage, chance):
        self.stage, self.chance = stage, chance
        self.mark = f"WHERRY_SOAK={os.getpid()}-{chance.random()}"
        self.env = dict(home(stage), WHERRY_SOAK=self.mark.split("=", 1)[1])
        self.front = None
        self.stopped = []

    def begin(self):
        self.front = self.stage.start_wherry("run", "-q", env=self.env)
        self.ready()

    def alive(self):
        return processes(self.mark.encode())

    def behind(self):
        """The process that supervises: the child of the one in front that others are children of."""
        living = self.alive()
        children = [pid for pid, (parent, _) in living.items() if parent == self.front.pid]
        return next((pid for pid in children if any(parent == pid for parent, _ in living.values())), None)

    def ask(self, *words, code=0):
        return self.stage.run_wherry("run", *words, env=self.env, code=code)

    def status(self, **how):
        return status(self.stage, env=self.env, **how)

    def ready(self):
        """The last unit in the order is there: then all have been started once."""
        def is_ready():
            units = self.status(code=None)
            return units and units["user"]["state"] == "ready"
        wait_for(is_ready, "the run has started its units")

    def nobody(self, what):
        for pid in self.stopped:
            hit(pid, signal.SIGCONT)
        self.stopped = []
        wait_for(lambda: not self.alive(), f"nobody is left after {what}: {self.alive()}")

    def end(self, how):
        if how == "front":
            self.front.signal(signal.SIGKILL)
            self.front.end(-signal.SIGKILL)
        elif how == "behind":
            hit(wait_for(self.behind, "somebody supervises"), signal.SIGKILL)
            self.front.end(128 + signal.SIGKILL)
            same(os.listdir(self.stage.path / "rt/wherry"), [], "what is left of a run whose second process was killed")
        else:
            self.front.signal(signal.SIGTERM)
            self.front.end(None)
        self.nobody(f"the end by {how}")

    def victim(self):
        own = {self.front.pid, self.behind()}
        return self.chance.choice([pid for pid in self.alive() if pid not in own] or [0])

    def blow(self):
        what = self.chance.choices(["kill", "stop", "continue", "term", "hup", "restart", "status", "front", "behind",
                                    "end", "pause"], [60, 30, 20, 20, 8, 8, 10, 4, 4, 4, 10])[0]
        pid = self.victim()
        if what in ("front", "behind", "end"):
            self.end(what)
            self.begin()
        elif what == "continue":
            while self.stopped:
                hit(self.stopped.pop(), signal.SIGCONT)
        elif what == "hup":
            self.front.signal(signal.SIGHUP)
        elif what == "restart":
            self.ask("--restart", self.chance.choice(["plain", "group", "deaf", "bomb", "user"]))
        elif what == "status":
            self.look()
        elif what == "pause":
            time.sleep(self.chance.random() / 50)
        elif pid:
            hit(pid, {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM}[what])
            if what == "stop":
                self.stopped.append(pid)
        return what

    def look(self):
        """What it says of itself holds: who is ready runs, in the state or a moment later."""
        def is_true():
            units = self.status()
            same(len(units), 6)
            return all(unit["pid"] and alive(unit["pid"]) for unit in units.values() if unit["state"] == "ready")
        wait_for(is_true, "the status is right")


def test_soak(stage):
    """200 blows: nobody twice, nobody left, no zombie, the status right"""
    stage.need("flock")
    seed = int(os.environ.get("WHERRY_SOAK_SEED", "20261122"))
    blows = int(os.environ.get("WHERRY_SOAK_BLOWS", "200"))
    soak = Soak(stage, random.Random(seed))
    text = ""
    for line in UNITS.splitlines():
        name = line.split(":")[0]
        text += line.format(lock=f"exec 9>>lock.{name}; flock -n -E 77 9; [ $? != 77 ] || echo {name} >>double") + "\n"
        if not line.startswith(" "):
            text += OPTIONS
    procfile(stage, text)
    for name in ("plain", "group", "deaf", "crash", "bomb", "user"):
        stage.mine(f"lock.{name}")
    soak.begin()
    counts = {}
    for number in range(blows):
        what = soak.blow()
        counts[what] = counts.get(what, 0) + 1
        if (stage.path / "double").exists():
            raise tap.Failure(f"seed {seed}, blow {number} ({what}): ran twice at once: {lines_of(stage, 'double')}")
    parents = {soak.front.pid, soak.behind()}
    stuck = zombies(parents)
    wait_for(lambda: not stuck & zombies(parents), f"somebody to wait for the zombies {stuck}; seed {seed}")
    soak.end("term")
    print(f"# seed {seed}: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
