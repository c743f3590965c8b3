# tests/cli/pipe_stop.py - `wherry pipe` that ends before its time: by -w, signals, and kills of each of its processes;
# nobody and nothing is left.  Cases for tests/cli/run.py.
#
# SPDX-License-Identifier: MIT
import os
import pathlib
import pty
import random
import re
import select
import signal
import subprocess
import sys

import run
import tap
from pipe_kit import ALL, NAMED, descendants, lacks_room, parents, part, pipe, start, wait_gone, words_of
from run import one_line, same


# ---- what it leaves ----

def place_of(stage):
    """The directory that a pipeline has made, by the characters that are its own."""
    found = [n for n in os.listdir(stage.path) if n.startswith("wherry-pipe-")]
    same(len(found), 1, "directories")
    return found[0][-6:]


def key_of(path):
    """Of the System V queue that the file tells of."""
    return path.read_text().removeprefix("sysv-msg:")


def check_gone(stage, unique, key=None):
    """No object of this place is left, nor the place."""
    name = f"wherry-pipe-{unique}-0"
    same([n for n in os.listdir(stage.path) if unique in n], [], "what is left of the place")
    ring = f"/dev/shm/wherry-{os.geteuid()}/{name}"
    same(os.path.exists(ring), False, "whether the ring is left")
    one_line(stage.run_wherry("rm", f"posix-mq:/{name}", code=1), "there is no such queue")
    if key:
        same(key in stage.run(stage.need("ipcs"), "-q").out.decode(), False, "whether the System V queue is left")


# ---- the time, and signals ----

STUBBORN = 'trap "" TERM INT HUP; sleep 300; true'


def begin(stage, first, link, last, *flags):
    """A pipeline under way, in a session of its own, with its grandchildren; all processes."""
    most = 1 + (2 if link else 0) + sum(2 if "; true" in c else 1 for c in (first, last))

    def there(process):
        if process.popen.poll() is not None:
            if lacks_room(process.end(None)):
                return True
            raise tap.Failure(f"{process} ended: {process.err!r}")
        names = list(descendants(process.pid).values())
        return len(names) == most and sum(n in ("sleep", "cat", "yes", "wc") for n in names) == 2

    def begun():
        process = start(stage, *flags, first, link, last, start_new_session=True)
        run.wait_for(lambda: there(process), "all to be there")
        return None if lacks_room(process) else process
    process = run.wait_for(begun, "room for a queue")
    return process, descendants(process.pid)


def test_timeout(stage):
    """-w bounds the whole: 3, and nobody is left, of those either who ignore SIGTERM, nor what they started"""
    cases = [("sleep 300; true", link, "cat; true", "143") for link in ("", "=shm=", "=sysv=")]
    cases.append((STUBBORN, "=tcp=", "cat", "137"))
    for time in ("0.3", "3", "20"):  # in which all of them have to be under way
        # all at the same time, since each takes its own
        late = [start(stage, "-v", "-w", time, first, link, last) for first, link, last, _ in cases]
        said = [process.end(3).err.decode().splitlines() for process in late]
        wanted = [["wherry: pipe: the time that -w gave is over", f"wherry: pipe: {status}"] for *_, status in cases]
        if [[line[:len(text)] for line, text in zip(*both)] for both in zip(said, wanted)] == wanted:
            break
    else:
        raise tap.Failure(f"they said {said}, not {wanted}")
    same(pipe(stage, "-w", "60", "echo in time", "=shm=", "cat").out, b"in time\n")


def test_signals(stage):
    """SIGINT, SIGTERM and SIGHUP to the command, and to its whole group: 128+N, and nobody and nothing is left"""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # all at the same time: a shell that alone gets SIGINT waits for its sleep, until it is killed 5 s later
        under_way = [(link, group, *begin(stage, "sleep 300; true", link, "cat >/dev/null; true"))
                     for link in ("", "=shm=", "=mq=", "=tcp=") for group in (False, True)]
        for link, group, process, _ in under_way:
            if group:
                os.killpg(process.pid, number)
            else:
                process.signal(number)
        for link, group, process, everybody in under_way:
            same(process.end(128 + number).err, b"", f"{number} {link} {group}")
            wait_gone(everybody)
        same(os.listdir(stage.path), [], f"what is left after {number}")


COUNTER = """
import os, signal, time
count = 0
def take(*_):
    global count
    count += 1
signal.signal(signal.SIGINT, take)
print("ready", flush=True)
while not count:
    time.sleep(0.01)
print("taken", flush=True)
while not os.path.exists("over"):
    time.sleep(0.01)
print("signals", count, flush=True)
"""


def has_taken(pid, number):
    """Whether the process sleeps, and no signal of this number waits for it: what it does at one it has then done."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    pending = [int(mask, 16) for mask in re.findall(r"(?:SigPnd|ShdPnd):\s*(\w+)", text)]
    return re.search(r"State:\s*S", text) and not any(mask >> (number - 1) & 1 for mask in pending)


def test_terminal(stage):
    """on a terminal: the first command reads what is typed; a SIGINT that is typed comes to each command once"""
    (stage.mine("counter.py")).write_text(COUNTER)
    words, env = words_of(stage, f"cat; exec {sys.executable} counter.py >&2", "=shm=", "cat")
    pid, near = pty.fork()
    if pid == 0:
        os.chdir(stage.path)
        os.execve(stage.wherry, [stage.wherry, *words], env)
    got = b""

    def read_to(end):
        nonlocal got
        while not got.endswith(end):
            same(bool(select.select([near], [], [], tap.PATIENCE)[0]), True, f"something to read after {got}")
            got += os.read(near, 1024)

    os.write(near, b"typed\n")
    read_to(b"typed\r\ntyped\r\n")
    os.write(near, b"\x04")
    read_to(b"ready\r\n")
    ours = [pid, part(descendants(pid), None, "keeper")]
    for process in ours:  # what they would send before the command has taken the terminal's would be one with it
        os.kill(process, signal.SIGSTOP)
    os.write(near, b"\x03")
    read_to(b"taken\r\n")
    for process in ours:
        os.kill(process, signal.SIGCONT)
        run.wait_for(lambda p=process: has_taken(p, signal.SIGINT), "the pipeline to have taken it")
    stage.write("over", b"")  # nobody is left who could send another
    read_to(b"signals 1\r\n")
    same(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 130)
    os.close(near)


def test_second_signal(stage):
    """commands that ignore the first signal are killed by the second"""
    process, everybody = begin(stage, STUBBORN, "=shm=", STUBBORN)
    process.signal(signal.SIGTERM)
    run.wait_for(lambda: "wherry-pipe-out" not in descendants(process.pid).values(), "the first signal to be taken")
    same(list(descendants(process.pid).values()).count("sleep"), 2, "commands that ignore it")
    process.signal(signal.SIGTERM)
    process.end(143)
    wait_gone(everybody)
    same(os.listdir(stage.path), [])


def test_a_half_ended(stage):
    """SIGTERM to a half of a link: it ends in good order, and the pipeline with it"""
    for which in ("sender", "receiver"):
        process, everybody = begin(stage, "sleep 300; true", "=shm=", "cat >/dev/null; true")
        os.kill(part(everybody, process, which), signal.SIGTERM)
        same(process.end(125).err, b"")
        wait_gone(everybody)
        same(os.listdir(stage.path), [])


def test_stopped_commands(stage):
    """a command that is stopped ends at a signal, too"""
    process, everybody = begin(stage, "exec sleep 300", "=shm=", "exec sleep 300", "-v")
    for pid, name in everybody.items():
        if name == "sleep":
            os.kill(pid, signal.SIGSTOP)
    one_line(process.stop(), "pipe: 143 143$")
    wait_gone(everybody)


# ---- killed ----

def test_killed_parts(stage):
    """the command, its keeper, the halves of a link killed: nobody and nothing is left, over everything"""
    for link in ALL:
        for which in ("front", "keeper", "sender", "receiver") if link else ("front", "keeper"):
            process, everybody = begin(stage, "sleep 300; true", link, "cat >/dev/null; true")
            named = link.strip("=") in NAMED
            unique = place_of(stage) if named else None
            key = key_of(stage.path / f"wherry-pipe-{unique}" / "0.sysv") if link == "=sysv=" else None
            os.kill(part(everybody, process, which), signal.SIGKILL)
            process.end(-signal.SIGKILL if which == "front" else 125)
            wait_gone(everybody)
            if which != "front":
                one_line(process, "killed by SIGKILL")
            if named:
                run.wait_for(lambda: not os.listdir(stage.path), "the place to be removed")
                check_gone(stage, unique, key)
            same(os.listdir(stage.path), [], f"what {link} left when the {which} was killed")


def test_killed_under_load(stage):
    """the same while bytes flow, at random moments"""
    moments = random.Random(5)
    for link in ALL:
        for which in ("front", "keeper", "sender", "receiver") if link else ("front", "keeper"):
            process, everybody = begin(stage, "exec yes", link, "exec cat >/dev/null")
            select.select([], [], [], moments.random() / 20)  # any moment will do
            os.kill(part(everybody, process, which), signal.SIGKILL)
            process.end(-signal.SIGKILL if which == "front" else 125)
            wait_gone(everybody)
            run.wait_for(lambda: not os.listdir(stage.path), f"the place of {link} to be removed")


def test_killed_commands(stage):
    """a command killed: the others see its end, as in a shell"""
    for link in ALL:
        process = start(stage, "-v", "exec cat", link, "exec wc -c", stdin=subprocess.PIPE)
        run.wait_for(lambda: {"cat", "wc"} <= set(descendants(process.pid).values()), "both")
        process.write(b"four")
        os.kill(next(p for p, n in descendants(process.pid).items() if n == "cat"), signal.SIGKILL)
        one_line(process.end(), "pipe: 137 0$")
        same(process.out in (b"4\n", b"0\n"), True, f"what was counted: {process.out}")
        process.shut()
        process, everybody = begin(stage, "exec yes", link, "exec cat >/dev/null", "-v")
        os.kill(next(p for p, n in everybody.items() if n == "cat"), signal.SIGKILL)
        one_line(process.end(137), "pipe: 141 137$")
        wait_gone(everybody)


def test_front_and_keeper_killed(stage):
    """both that end the others killed at once: the kernel ends commands and halves"""
    for link, first in (("", "exec sleep 300"), ("=tcp=", "exec sleep 300"), ("=fifo=", "sleep 300; true")):
        process, everybody = begin(stage, first, link, "exec sleep 300")
        both = [process.pid, part(everybody, process, "keeper")]
        # what a command has started nobody is left to end; the halves go though it holds the pipe
        lives = [pid for pid, (parent, name) in parents().items() if name == "sleep" and everybody.get(parent) == "sh"]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in both:
                os.kill(pid, number)
        wait_gone(set(everybody) - set(lives))
        for pid in lives:
            os.kill(pid, signal.SIGKILL)
        process.end(-signal.SIGKILL)
        wait_gone(everybody)
    same(pipe(stage, "echo", "=fifo=", "wc -c").out, b"1\n")
    same(os.listdir(stage.path), [], "what is left after the next one")


def test_all_killed(stage):
    """all of them killed at once: what has a name is left, and the next pipeline removes it"""
    for scheme in NAMED:
        process, everybody = begin(stage, "exec yes", f"={scheme}=", "exec cat >/dev/null")
        unique = place_of(stage)
        key = key_of(stage.path / f"wherry-pipe-{unique}" / "0.sysv") if scheme == "sysv" else None
        for pid in (process.pid, *everybody):
            os.kill(pid, signal.SIGSTOP)
        for pid in (process.pid, *everybody):
            os.kill(pid, signal.SIGKILL)
        process.end(-signal.SIGKILL)
        wait_gone(everybody)
        same(len(os.listdir(stage.path)), 1, f"directories that {scheme} left")
        same(pipe(stage, "echo", "=fifo=", "wc -c").out, b"1\n")
        check_gone(stage, unique, key)


def test_the_living_are_left_alone(stage):
    """a pipeline that needs a directory does not touch that of another"""
    other = start(stage, "cat", "=sysv=", "cat", stdin=subprocess.PIPE)
    other.write(b"before\n")
    other.read_out(7)
    for _ in range(3):
        pipe(stage, "echo", "=sysv=", "cat")
    other.write(b"after\n")
    other.shut()
    same(other.end().out, b"before\nafter\n")


def test_removed_at_the_end(stage):
    """when all went well nothing is left either, of any kind"""
    for scheme in NAMED:
        more = "; cat wherry-pipe-*/0.sysv; ipcs -q" if scheme == "sysv" else ""
        lines = pipe(stage, f"ls -d wherry-pipe-*{more}", f"={scheme}=", "cat").out.decode().splitlines()
        key = lines[1].removeprefix("sysv-msg:") if more else None
        same(not key or sum(line.startswith(key) for line in lines) == 1, True, "whether it was there")
        check_gone(stage, lines[0][-6:], key)
    os.umask(0)
    try:
        modes = pipe(stage, "stat -c %a wherry-pipe-* wherry-pipe-*/*", "=mq=", "cat").out.split()
        same(modes, [b"700", b"600", b"600"])
    finally:
        os.umask(0o022)
