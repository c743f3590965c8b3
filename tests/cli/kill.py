# tests/cli/kill.py - `wherry kill` from outside: programs that use the raw calls get its signals; cases for
# tests/cli/run.py.
#
# SPDX-License-Identifier: MIT
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import run
import tap
from run import one_line, same, wait_for

DEAF = 'trap "" TERM; echo deaf; exec sleep 300'
LARGE = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
memory = b"x" * (400 << 20)
print("deaf", flush=True)
signal.pause()
"""


def sleeper(stage, **how):
    process = stage.start("sleep", 300, **how)
    stage.wait_asleep(process)
    return process


def reference(stage, process):
    return stage.run_wherry("kill", "--print", process.pid).out.decode().strip()


def deaf(stage, **how):
    """A process that ignores SIGTERM."""
    process = stage.start("sh", "-c", DEAF, **how)
    process.read_out(5)
    wait_for(lambda: tap.asleep(process.pid, os.path.realpath(shutil.which("sleep"))), "the shell to become sleep")
    return process


def state(process):
    return pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def members(group):
    """The processes of a group that run."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = pathlib.Path(f"/proc/{name}/stat").read_text(errors="replace")
                state, _, theirs = text.rsplit(")", 1)[1].split()[:3]
            except OSError:
                continue
            if int(theirs) == group and state not in "ZX":
                found.append(int(name))
    return found


# ---- who ----

def test_by_number_and_by_inode(stage):
    """PID, PID:INODE, and what --print says of it; a process that is gone, and one of another inode, are refused"""
    by_number, by_inode, stays = (sleeper(stage) for _ in range(3))
    stage.run_wherry("kill", by_number.pid)
    by_number.end(-signal.SIGTERM)
    name = reference(stage, by_inode)
    pid, inode = name.split(":")
    same(int(pid), by_inode.pid)
    with open(f"/proc/self/fdinfo/{(fd := os.pidfd_open(by_inode.pid))}", encoding="ascii"):
        same(int(inode), os.fstat(fd).st_ino, "the inode")
    os.close(fd)
    stage.run_wherry("kill", "-s", "INT", name)
    by_inode.end(-signal.SIGINT)
    one_line(stage.run_wherry("kill", name, code=1), rf"kill: pid {pid}: there is no such process")
    one_line(stage.run_wherry("kill", f"{stays.pid}:{inode}", code=1),
             rf"kill: pid {stays.pid}: it is another process by now: its inode is \d+, not {inode}")
    same(stays.popen.poll(), None, "what became of the other")
    stage.run_wherry("kill", "-s9", stays.pid)
    stays.end(-signal.SIGKILL)


REUSE = r"""
wherry=$1; number=$2
sleep 300 & first=$!
name=$($wherry kill --print $first)
kill -9 $first; wait $first
echo $((first - 1)) > /proc/sys/kernel/ns_last_pid
sleep 300 & second=$!
echo "first $first second $second"
$wherry kill $name 2>&1; echo "code $?"
kill -0 $second && echo "lives"
kill -9 $second; wait $second
exit 0
"""


def test_h62_a_number_that_is_used_again(stage):
    """H62: the number of a process that ended is given to another, which gets no signal"""
    stage.need("unshare")
    if os.geteuid() != 0:
        raise tap.Skip("only root may choose the next pid")
    shell = stage.run("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", REUSE, "sh", stage.wherry)
    first, second = re.match(rb"first (\d+) second (\d+)\n", shell.out).groups()
    same(first, second, "the number, used again")
    same(re.sub(rb"\d+", b"N", shell.out.split(b"\n", 1)[1]),
         b"wherry: kill: pid N: it is another process by now: its inode is N, not N\ncode N\nlives\n")


def test_some_are_gone(stage):
    """one of several is gone: the others get theirs, a line says which, and the exit code is 1"""
    gone, here, there = (sleeper(stage) for _ in range(3))
    gone.signal(signal.SIGKILL)
    gone.end(-signal.SIGKILL)
    refused = stage.run_wherry("kill", here.pid, gone.pid, there.pid, code=1)
    one_line(refused, rf"pid {gone.pid}: there is no such process")
    here.end(-signal.SIGTERM)
    there.end(-signal.SIGTERM)


def test_not_permitted(stage):
    """another user's process: the line says whose it is"""
    stage.need("setpriv")
    if os.geteuid() != 0:
        one_line(stage.run_wherry("kill", "--init", 1, code=1), r"pid 1 \(.*\) belongs to uid 0")
        return
    process = sleeper(stage)
    other = ["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps=-all"]
    stage.path.chmod(0o755)
    refused = stage.run(*other, stage.wherry, "kill", process.pid, code=1)
    one_line(refused, rf"kill: pid {process.pid} \(sleep\) belongs to uid 0, and this process is uid 65534's")
    same(process.popen.poll(), None)
    stage.run_wherry("kill", process.pid)
    process.end(-signal.SIGTERM)


def test_numbers_that_are_no_process(stage):
    """0, 1, negative numbers, -9 and words are mistakes, and then nobody gets a signal"""
    process = sleeper(stage)
    for words, said in ((["0"], "own process group"), (["--", "-1"], "--group"), (["--", f"-{process.pid}"], "--group"),
                        (["-s0", "1"], "--init"), (["-s0", "01"], "--init"), (["-9"], "-s KILL"),
                        (["-KILL"], "-s KILL"), (["x"], "is no process"),
                        ([""], "is no process"), (["1.5"], "is no process"),
                        ([f"{process.pid}:"], "inode"),
                        ([f"{process.pid}:-1"], "inode"), ([f"{process.pid}:0"], "inode"),
                        (["99999999999"], "is no process"),
                        (["-s", "NONE"], "no signal"), (["-s", "32"], "C library"), (["--then", "KILL"], "5s:KILL"),
                        (["--then", "x:KILL"], "duration"), (["--then", "1s:NONE"], "no signal"),
                        (["--value", "x"], "--value"),
                        (["-s0", "--then", "1s:KILL"], "signal 0"), (["-g", "--value", "1"], "--value"),
                        (["-s0", "--group", "1"], "--init"), (["--group", "0"], "own process group"),
                        (["--group", str(os.getpgrp()), "--wait"], "own")):
        one_line(stage.run_wherry("kill", process.pid, *words, code=2), "kill: .*" + re.escape(said))
    stage.run_wherry("kill", code=2)
    same(process.popen.poll(), None, "a process named beside a mistake")
    stage.run_wherry("kill", process.pid)
    process.end(-signal.SIGTERM)


def test_there_or_not(stage):
    """signal 0 asks whether a process is there"""
    process = sleeper(stage)
    stage.run_wherry("kill", "-s", "0", process.pid)
    one_line(stage.run_wherry("kill", "-vs0", process.pid), rf"kill: pid {process.pid} \(sleep\): it is there")
    stage.run_wherry("kill", process.pid)
    process.end(-signal.SIGTERM)
    stage.run_wherry("kill", "-s", "0", process.pid, code=1)


def test_a_zombie(stage):
    """a process that has ended and is not waited for takes signals: -v says so"""
    process = stage.start("true")
    wait_for(lambda: state(process) == "Z", "its end")
    one_line(stage.run_wherry("kill", "-v", process.pid), "SIGTERM; it has ended, and its parent has not waited for it")
    process.end()


# ---- what ----

def test_a_value(stage):
    """--value: a program that uses sigwaitinfo(2) gets the number with the signal; without, kill(2)'s"""
    process = stage.start(stage.helper("raw_signals"), signal.SIGRTMIN + 3, signal.SIGUSR1)
    process.read_out(6)
    for words in (["-s", "RTMIN+3", "--value", "42"], ["-s", "usr1", "--value", "-7"], ["-s", "SIGUSR1"]):
        before = len(process.out)
        stage.run_wherry("kill", *words, process.pid)
        process.read(lambda b=before: process.out[b:].endswith(b"\n"), "a signal")
    same(process.out, b"ready\n%d sigqueue 42\n%d sigqueue -7\n%d kill 0\n"
         % (signal.SIGRTMIN + 3, signal.SIGUSR1, signal.SIGUSR1))
    stage.run_wherry("kill", process.pid)
    process.end(-signal.SIGTERM)


def test_h58_a_full_queue(stage):
    """H58: the queue of pending signals is full: a failure that says so"""
    stage.need("prlimit")
    process = stage.start("prlimit", "--sigpending=0", stage.helper("raw_signals"), signal.SIGRTMIN)
    process.read_out(6)
    refused = stage.run_wherry("kill", "-sRTMIN", "--value=1", process.pid, code=1)
    one_line(refused, rf"pid {process.pid} \(raw_signals\): the queue of pending signals of its user is full")
    same(process.out, b"ready\n")
    stage.run_wherry("kill", process.pid)
    process.end(-signal.SIGTERM)


def test_list(stage):
    """-l lists all signals, and translates names, numbers and exit codes"""
    rows = [line.split() for line in stage.run_wherry("kill", "-l").out.decode().splitlines()]
    same(len(rows), 31 + signal.SIGRTMAX - signal.SIGRTMIN + 1)
    for number, name in rows:
        if name[:5] not in ("RTMIN", "RTMAX"):
            same(int(number), getattr(signal, f"SIG{name}", None) if name != "STKFLT" else 16, name)
        same(stage.run_wherry("kill", "-l", name).out.split(), [number.encode(), name.encode()])
    same(stage.run_wherry("kill", "-l", 9, 137, "SIGTERM", "RTMIN+3").out,
         b" 9 KILL\n 9 KILL\n15 TERM\n%d RTMIN+3\n" % (signal.SIGRTMIN + 3))
    stage.run_wherry("kill", "-l", "0", code=2)


def test_v_says_what_was_sent(stage):
    """-v: a line for each says what was sent to whom"""
    processes = [sleeper(stage) for _ in range(3)]
    said = stage.run_wherry("kill", "-v", "-s", "USR1", *(p.pid for p in processes))
    same(said.err.decode(), "".join(f"wherry: kill: pid {p.pid} (sleep): SIGUSR1\n" for p in processes))
    for process in processes:
        process.end(-signal.SIGUSR1)


# ---- one after another ----

def test_then(stage):
    """--then: one that ignores the first signal gets the next, one that ended by it does not; the end ends the wait"""
    for after in ("10ms", "1s", "10s"):  # in which the other has to end
        first, other = deaf(stage), sleeper(stage)
        began = time.monotonic()
        said = stage.run_wherry("kill", "-v", "--then", f"{after}:USR2", "--then", "60s:KILL", first.pid, other.pid)
        same(time.monotonic() - began < 40, True, "the second of them ended at once")
        first.end(-signal.SIGUSR2)
        other.end(-signal.SIGTERM)
        wanted = (f"wherry: kill: pid {first.pid} (sleep): SIGTERM\n"
                  f"wherry: kill: pid {other.pid} (sleep): SIGTERM\n"
                  f"wherry: kill: pid {first.pid} (sleep): SIGUSR2\n")
        if said.err.decode() == wanted:
            break
    same(said.err.decode(), wanted)


def test_then_kill_waits(stage):
    """after --then DUR:KILL it has ended when the command returns, though it takes a while to take its memory down"""
    process = stage.start(sys.executable, "-c", LARGE)
    process.read_out(5)
    stage.run_wherry("kill", "--then", "10ms:KILL", process.pid)
    same(state(process), "Z", "its state")
    process.end(-signal.SIGKILL)


def test_wait(stage):
    """--wait returns when all have ended; -w bounds it: 3, and a line; a signal ends it"""
    process = sleeper(stage)
    stage.run_wherry("kill", "--wait", process.pid)
    same(state(process), "Z", "its state")
    process.end(-signal.SIGTERM)
    process = deaf(stage)
    late = stage.run_wherry("kill", "--wait", "-w", "20ms", process.pid, code=3)
    one_line(late, "1 process runs still when the time was over")
    one_line(stage.run_wherry("kill", "-w20ms", "--then=60s:KILL", process.pid, code=3), "1 process runs still")
    waiter = stage.start_wherry("kill", "--wait", process.pid)
    stage.wait_asleep(waiter)
    waiter.stop()
    same(process.popen.poll(), None, "who ignores SIGTERM")
    stage.run_wherry("kill", "-sKILL", process.pid)
    process.end(-signal.SIGKILL)


# ---- groups ----

def bury(stage):
    """Zombies whose parent ended before them are this process's to wait for."""
    for pid in map(int, pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()):
        if pid not in [p.pid for p in stage.processes]:
            os.waitpid(pid, 0)


def start_group(stage, words):
    """A shell that leads a process group, and has started."""
    shell = stage.start("sh", "-c", words + "\necho started; read line", stdin=subprocess.PIPE, start_new_session=True)
    shell.read_out(8)
    return shell


QUIET = "</dev/null >/dev/null 2>&1 &"


def test_group(stage):
    """--group: all of a process group get it, whether or not its leader is there; and nobody else"""
    for leader_stays in (True, False):
        shell, other = start_group(stage, f"sleep 300 {QUIET} sleep 300 {QUIET}"), sleeper(stage)
        if not leader_stays:
            shell.shut()
            shell.end(None)
        same(len(members(shell.pid)), 2 + leader_stays)
        stage.run_wherry("kill", "--group", "-s", "KILL", "--wait", shell.pid)
        same(members(shell.pid), [], "who is left of the group")
        if leader_stays:
            shell.shut()
            shell.end(-signal.SIGKILL)
        same(other.popen.poll(), None, "who is not of the group")
        stage.run_wherry("kill", other.pid)
        other.end(-signal.SIGTERM)
        bury(stage)
        refused = stage.run_wherry("kill", "--group", shell.pid, code=1)
        one_line(refused, rf"process group {shell.pid}: there is no process")


def test_group_then(stage):
    """--group --then: those who ignore the first get the next, until none runs"""
    shell = start_group(stage, f"sleep 300 {QUIET} (trap '' TERM; exec sleep 300) {QUIET} trap '' TERM")
    program = os.path.realpath(shutil.which("sleep"))
    wait_for(lambda: sum(tap.asleep(pid, program) for pid in members(shell.pid)) == 2, "the group")
    said = stage.run_wherry("kill", "-vg", "--then", "50ms:USR1", "--then", "60s:KILL", shell.pid)
    same(re.findall(r"SIG\w+", said.err.decode()), ["SIGTERM", "SIGUSR1"])
    same(members(shell.pid), [], "who is left of the group")
    shell.shut()
    shell.end(-signal.SIGUSR1)
    bury(stage)


def test_group_by_inode(stage):
    """--group PID:INODE: the group of that leader, or none"""
    shell = start_group(stage, f"sleep 300 {QUIET}")
    name = reference(stage, shell)
    one_line(stage.run_wherry("kill", "-g", f"{shell.pid}:1", code=1), "it is another process by now")
    same(len(members(shell.pid)), 2)
    stage.run_wherry("kill", "-g", "--wait", name)
    shell.shut()
    shell.end(-signal.SIGTERM)
    bury(stage)
    one_line(stage.run_wherry("kill", "-g", name, code=1), "there is no such process")


def test_own_group(stage):
    """--group of its own process group: it gets the signal, too, as kill 0 in a shell"""
    shell = stage.start("sh", "-c", f"sleep 300 {QUIET} {stage.wherry} kill --group $$", start_new_session=True)
    shell.end(-signal.SIGTERM)
    wait_for(lambda: not members(shell.pid), "the group's end")
    bury(stage)


def test_no_descriptors(stage):
    """more processes than descriptors: those that could be held get theirs, the others are named"""
    processes = [sleeper(stage) for _ in range(12)]
    poor = ["sh", "-c", 'ulimit -n 12; exec "$@"', "sh", stage.wherry, "kill"]
    refused = stage.run(*poor, *(p.pid for p in processes), code=1)
    lines = refused.err.decode().splitlines()
    fine = all(re.match(r"wherry: kill: pid \d+: no descriptor for it: ", line) for line in lines)
    same(fine and 0 < len(lines) < 12, True, f"what it said: {lines}")
    ended = sum(p.pid not in [int(re.search(r"pid (\d+)", line).group(1)) for line in lines] for p in processes)
    same(ended, 12 - len(lines))
    for process in processes:
        process.signal(signal.SIGTERM)
        process.end(-signal.SIGTERM)
