# tests/cli/wait.py - `wherry wait` from outside: children, strangers, zombies; cases for tests/cli/run.py.
#
# SPDX-License-Identifier: MIT
import functools
import json
import os
import platform
import re
import select
import signal
import subprocess

import run
import tap
from run import one_line, same

TELLS = tuple(map(int, re.match(r"(\d+)\.(\d+)", platform.release()).groups())) >= (6, 15)


class Child:
    """A child of a shell that waits for it, so a stranger to us and to wherry; it ends when told."""

    def __init__(self, stage, last):
        self.shell = stage.start("sh", "-c", f"exec 3<&0; sh -c 'read line; {last}' <&3 & echo $!; wait",
                                 stdin=subprocess.PIPE)
        self.shell.read(lambda: self.shell.out.endswith(b"\n"), "its number")
        self.pid = int(self.shell.out)
        run.wait_for(lambda: tap.asleep(self.pid, os.path.realpath("/bin/sh")), "the child to read")

    def end(self):
        self.shell.shut()
        self.shell.end(None)


def zombie(stage):
    process = stage.start("sh", "-c", "exit 3")
    fd = os.pidfd_open(process.pid)
    select.select([fd], [], [])
    os.close(fd)
    return process


def sleeper(stage):
    process = stage.start("sleep", 300)
    stage.wait_asleep(process)
    return process


def finish(process):
    process.signal(signal.SIGTERM)
    process.end(-signal.SIGTERM)


def said(pid, how):
    return f"{pid} {how}\n" if TELLS else f"{pid} ended, and nobody knows how\n"


def once_of_three(case):
    """The kernel tells how a stranger ended once its parent has waited for it, for which wherry leaves it 100 ms: on a
    machine that stands still it may take longer, but not each time."""
    @functools.wraps(case)
    def wrapped(stage):
        for left in (2, 1, 0):
            try:
                return case(stage)
            except tap.Failure as failure:
                if not left or not re.search(r"nobody knows how|'ended'| long\)", str(failure)):
                    raise
            for process in stage.processes:
                if process.popen.stdin:
                    process.shut()
                if process.popen.poll() is None:
                    process.popen.kill()
                process.end(None)
        return None
    return wrapped


@once_of_three
def test_strangers(stage):
    """other people's children: a line for each when it ends, and how, where the kernel tells"""
    children = [Child(stage, "exit 3"), Child(stage, "kill -KILL $$"), Child(stage, "exit 0")]
    waiter = stage.start_wherry("wait", *(c.pid for c in children))
    stage.wait_asleep(waiter)
    same(waiter.out, b"")
    for i, how in ((1, "killed by SIGKILL"), (0, "exited with 3"), (2, "exited with 0")):
        child = children[i]
        before = len(waiter.out)
        child.end()
        waiter.read(lambda b=before: waiter.out[b:].endswith(b"\n"), "a line")
        same(waiter.out[before:].decode(), said(child.pid, how))
    same(waiter.end().err, b"")


def test_own_child(stage):
    """a child of its own, as after exec: how it ended is always known"""
    shell = stage.run("sh", "-c", f"sh -c 'exit 7' & sleep 0 & exec {stage.wherry} wait $!", code=0)
    same(re.sub(rb"^\d+", b"N", shell.out), b"N exited with 0\n")
    shell = stage.run("sh", "-c", f"sh -c 'kill -USR1 $$' & exec {stage.wherry} wait $!", code=0)
    same(re.sub(rb"^\d+", b"N", shell.out), b"N killed by SIGUSR1\n")


def test_a_zombie(stage):
    """one whose parent has not waited for it has ended, and nobody knows how; looking at it takes no time"""
    process, other = zombie(stage), sleeper(stage)
    waiter = stage.start_wherry("wait", process.pid, other.pid)
    waiter.read(lambda: waiter.out.endswith(b"\n"), "a line")
    same(waiter.out.decode(), f"{process.pid} ended, and nobody knows how\n")
    stage.wait_asleep(waiter)

    def ran():
        with open(f"/proc/{waiter.pid}/schedstat", encoding="ascii") as stat:
            return int(stat.read().split()[2])

    before = ran()
    select.select([], [], [], 0.3)
    same(ran() - before < 5, True, "times that it ran")
    process.end(3)
    finish(other)
    waiter.end()


@once_of_three
def test_any(stage):
    """--any returns at the first end"""
    first, second = Child(stage, "exit 3"), Child(stage, "exit 4")
    waiter = stage.start_wherry("wait", "--any", first.pid, second.pid)
    stage.wait_asleep(waiter)
    second.end()
    same(waiter.end().out.decode(), said(second.pid, "exited with 4"))
    first.end()


def test_timeout(stage):
    """-w: 3 and a line; what has ended before is printed"""
    process, other = sleeper(stage), zombie(stage)
    late = stage.run_wherry("wait", "-w", "0.3", process.pid, other.pid, code=3)
    one_line(late, "wait: 1 process runs still when the time was over")
    same(late.out.decode(), f"{other.pid} ended, and nobody knows how\n")
    stage.run_wherry("wait", "-w", "0", process.pid, code=3)
    other.end(3)
    finish(process)


@once_of_three
def test_gone(stage):
    """one that is not there is a failure, and the others are waited for; with --exited it has ended"""
    gone, child = zombie(stage).end(3), Child(stage, "exit 5")
    waiter = stage.start_wherry("wait", gone.pid, child.pid)
    stage.wait_asleep(waiter)
    child.end()
    waiter.end(1)
    one_line(waiter, rf"wait: pid {gone.pid}: there is no such process; --exited")
    same(waiter.out.decode(), said(child.pid, "exited with 5"))
    same(stage.run_wherry("wait", "--exited", gone.pid).out.decode(), f"{gone.pid} ended, and nobody knows how\n")
    same(stage.run_wherry("wait", "-q", "--exited", gone.pid).out, b"")


@once_of_three
def test_inode(stage):
    """PID:INODE is that process or none"""
    child, process = Child(stage, "exit 6"), sleeper(stage)
    name = stage.run_wherry("kill", "--print", child.pid).out.decode().strip()
    waiter = stage.start_wherry("wait", name)
    stage.wait_asleep(waiter)
    other = f"{process.pid}:{name.split(':')[1]}"
    one_line(stage.run_wherry("wait", other, code=1), rf"pid {process.pid}: it is another process by now")
    stage.run_wherry("wait", "--exited", other)
    child.end()
    same(waiter.end().out.decode(), said(child.pid, "exited with 6"))
    one_line(stage.run_wherry("wait", name, code=1), "there is no such process")
    finish(process)


def test_mistakes(stage):
    """operands that are no process"""
    for word, reason in (("0", "own process group"), ("x", "is no process"), ("1:", "inode"), ("-5", "unknown option")):
        one_line(stage.run_wherry("wait", word, code=2), "wait: .*" + re.escape(reason))
    stage.run_wherry("wait", code=2)


@once_of_three
def test_json(stage):
    """--json: a list with a schema; -o, -n and --list-columns as for other lists"""
    child, process, dead = Child(stage, "exit 3"), sleeper(stage), Child(stage, "kill -KILL $$")
    name = stage.run_wherry("kill", "--print", child.pid).out.decode().strip()
    waiter = stage.start_wherry("wait", "-J", "-w", "30s", "-o", "+INODE", name, dead.pid)
    stage.wait_asleep(waiter)
    child.end()
    dead.end()
    got = json.loads(waiter.end().out)
    same(got["schema"], 1)
    if TELLS:
        same(got["processes"], [{"pid": child.pid, "command": "sh", "how": "exited", "status": 3, "signal": None,
                                 "inode": int(name.split(":")[1])},
                                {"pid": dead.pid, "command": "sh", "how": "killed", "status": None, "signal": "SIGKILL",
                                 "inode": None}])
    late = stage.run_wherry("wait", "--json", "-w0", process.pid, code=3)
    same([p["how"] for p in json.loads(late.out)["processes"]], ["runs"])
    late = stage.run_wherry("wait", "-n", "-o", "pid,how", "-w0", process.pid, code=3)
    same(late.out.split(), [b"%d" % process.pid, b"runs"])
    same(b"STATUS" in stage.run_wherry("wait", "--list-columns").out, True)
    gone = stage.run_wherry("wait", "-J", f"{process.pid}:1", code=1)
    same(json.loads(gone.out)["processes"], [])
    finish(process)


def test_signals(stage):
    """a signal ends the wait, and nothing else"""
    process = sleeper(stage)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        waiter = stage.start_wherry("wait", process.pid)
        stage.wait_asleep(waiter)
        waiter.signal(number)
        same((waiter.end(128 + number).out, waiter.err), (b"", b""))
    same(process.popen.poll(), None)
    finish(process)


@once_of_three
def test_many(stage):
    """300 at once, of which all end together"""
    shell = stage.start("sh", "-c", "exec 3<&0; for i in $(seq 300); do cat <&3 & echo $!; done; echo; wait",
                        stdin=subprocess.PIPE)
    shell.read(lambda: shell.out.endswith(b"\n\n"), "the numbers")
    pids = shell.out.split()
    waiter = stage.start_wherry("wait", *pids)
    stage.wait_asleep(waiter)
    shell.shut()
    lines = waiter.end().out.decode().splitlines()
    same(sorted(lines), sorted(said(int(p), "exited with 0").strip() for p in pids))
    shell.end()


def test_nobody_reads(stage):
    """a standard output that cannot be written to"""
    process = zombie(stage)
    with open("/dev/full", "wb") as full:
        one_line(stage.run_wherry("wait", process.pid, stdout=full, code=1), "standard output")
    process.end(3)
