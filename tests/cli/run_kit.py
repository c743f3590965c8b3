# tests/cli/run_kit.py - owns what the cases of `wherry run` share: to start it, to ask for its status, to see who
# lives.
#
# SPDX-License-Identifier: MIT
import json
import os
import pathlib
import re
import select
import signal
import time

import tap
from run import PATIENCE, wait_for


def home(stage):
    """The environment, with a directory for sockets of the stage's own."""
    path = stage.path / "rt"
    path.mkdir(mode=0o700, exist_ok=True)
    return dict(os.environ, XDG_RUNTIME_DIR=str(path))


def start(stage, *words, **how):
    return stage.start_wherry("run", *words, **{"env": home(stage), **how})


def run(stage, *words, **how):
    return stage.run_wherry("run", *words, **{"env": home(stage), **how})


def procfile(stage, text):
    return stage.write("Procfile", text.encode() if isinstance(text, str) else text)


def status(stage, *words, **how):
    """By name; empty where nothing is run, if `how` lets that pass."""
    done = run(stage, "--status", "--json", *words, **how)
    return {u["unit"]: u for u in json.loads(done.out)["units"]} if done.popen.returncode == 0 else {}


def wait_ready(stage, *words):
    def ready():
        units = status(stage, *words, code=None)
        return units and all(u["state"] in ("ready", "ended") for u in units.values())
    wait_for(ready, "all units to be ready")


def finish(process, code=0):
    process.signal(signal.SIGTERM)
    process.end(code)


def lines_of(stage, name):
    try:
        return (stage.path / name).read_text().splitlines()
    except FileNotFoundError:
        return []


# ---- who lives ----

def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def children_of(pid):
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def behind(process):
    """The process that supervises."""
    return wait_for(lambda: children_of(process.pid), "a child")[0]


def no_children():
    """What was orphaned is ours, and reaped here."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return False
    except ChildProcessError:
        return True


# ---- terminals ----

def read_terminal(master, text, pattern):
    """`text`, and what comes on the pseudo-terminal behind it until the pattern is found in all."""
    until = time.monotonic() + PATIENCE
    while not re.search(pattern, text):
        ready, _, _ = select.select([master], [], [], max(0, until - time.monotonic()))
        try:
            data = os.read(master, 65536) if ready else b""
        except OSError:
            data = b""
        if not data:
            raise tap.Failure(f"waited for {pattern} on the terminal; there is {text!r}")
        text += data
    return text
