# tests/cli/signals.py - wherry signals, beside kill(1), programs that send values, and other users.
#
# SPDX-License-Identifier: MIT
import ctypes
import json
import os
import re
import signal

import run
import tap
from run import one_line, same

libc = ctypes.CDLL(None, use_errno=True)


def start(stage, *words, **how):
    """The verb under way, once it has said its pid, which is the one that it was started with."""
    process = stage.start_wherry("signals", *words, **how)
    process.read(lambda: b"\n" in process.err, "its pid")
    said = re.match(rb"wherry: pid (\d+) prints the signals ", process.err)
    if not said or int(said.group(1)) != process.pid:
        raise tap.Failure(f"{process.err!r} does not begin with pid {process.pid}")
    return process


def queue(pid, number, value):
    """As programs do that send a plain int, in C: union sigval, with the other half zero."""
    if libc.sigqueue(pid, number, ctypes.c_void_p(value & 0xffffffff)) != 0:
        raise OSError(ctypes.get_errno(), "sigqueue")


def me():
    with open("/proc/self/comm", encoding="ascii") as comm:
        return f"pid={os.getpid()} uid={os.getuid()} command={comm.read().strip()}"


def test_a_line_a_signal(stage):
    """each signal is a line: number, name, sender's pid, uid and command, value"""
    process = start(stage, "-c", "3", "USR1", "SIGRTMIN+2")
    process.signal(signal.SIGUSR1)
    process.read(lambda: process.out.count(b"\n") == 1, "the first line")
    queue(process.pid, signal.SIGRTMIN + 2, 42)
    queue(process.pid, signal.SIGRTMIN + 2, -1)
    process.end(0)
    number = int(signal.SIGRTMIN) + 2
    same(process.out.decode().splitlines(), [
        f"10 SIGUSR1 {me()}",
        f"{number} SIGRTMIN+2 {me()} value=42",
        f"{number} SIGRTMIN+2 {me()} value=4294967295 int=-1",
    ])


def test_json(stage):
    """--json: an object a line; with a value the sender is not vouched for"""
    process = start(stage, "--json", "-n", "2", "USR2", "RTMIN")
    process.signal(signal.SIGUSR2)
    process.read(lambda: process.out.count(b"\n") == 1, "the first line")
    queue(process.pid, signal.SIGRTMIN, 7)
    process.end(0)
    first, second = [json.loads(line) for line in process.out.splitlines()]
    same([first["number"], first["name"], first["pid"], first["uid"], first["vouched"], first["code"]],
         [12, "SIGUSR2", os.getpid(), os.getuid(), True, 0])
    same([key for key in ("value", "value_int", "status") if key in first], [])
    same([second["name"], second["value"], second["value_int"], second["vouched"]], ["SIGRTMIN", 7, 7, False])
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", first["time"]):
        raise tap.Failure(first["time"])


def test_by_default(stage):
    """without operands all are printed but those that end a verb; and those end it as they do others"""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process = start(stage)
        process.signal(signal.SIGUSR1)
        process.signal(signal.SIGWINCH)
        process.signal(signal.SIGCHLD)
        process.signal(signal.SIGRTMAX)
        process.read(lambda p=process: p.out.count(b"\n") == 4, "four lines")
        process.signal(number)
        process.end(128 + number)
        same(sorted(line.split()[1] for line in process.out.decode().splitlines()),
             ["SIGCHLD", "SIGRTMAX", "SIGUSR1", "SIGWINCH"])


def test_those_that_end_it_can_be_asked_for(stage):
    """TERM and INT are printed when they are named"""
    process = start(stage, "-c", "2", "term", "2")
    process.signal(signal.SIGTERM)
    process.read(lambda: process.out.count(b"\n") == 1, "the first line")
    process.signal(signal.SIGINT)
    process.end(0)
    same([line.split()[:2] for line in process.out.decode().splitlines()], [["15", "SIGTERM"], ["2", "SIGINT"]])


def test_a_command_that_has_ended(stage):
    """a sender that has ended has a pid, and no command"""
    process = start(stage, "-c", "1", "USR1")
    process.signal(signal.SIGSTOP)  # so that it looks when the sender is gone
    sender = stage.run("sh", "-c", f"kill -USR1 {process.pid}")
    process.signal(signal.SIGCONT)
    process.end(0)
    same(process.out.decode(), f"10 SIGUSR1 pid={sender.pid} uid={os.getuid()}\n")


def test_an_odd_command(stage):
    """control bytes in the sender's command are shown, not obeyed"""
    process = start(stage, "-c", "1", "USR1")
    code = ("import ctypes, os, signal, sys\n"
            f"ctypes.CDLL(None).prctl(15, b'a\\x1b[2J')\nos.kill({process.pid}, signal.SIGUSR1)\nsys.stdin.read()\n")
    sender = stage.start("python3", "-c", code, stdin=run.subprocess.PIPE)
    process.end(0)
    sender.shut()
    sender.end(0)
    same(process.out.decode().split("command=")[1], "a\\x1b[2J\n")


def test_a_time_out(stage):
    """-w ends it with 3, also when some came"""
    for span in ("200ms", "3s", "30s"):  # the signal may come too late for the first
        process = start(stage, "-w", span, "-c", "2", "USR1")
        process.signal(signal.SIGUSR1)
        process.end(3)
        if process.out:
            break
    same(process.out.count(b"\n"), 1)
    if not process.err.endswith(b"wherry: signals: 1 came in time, fewer than were asked for\n"):
        raise tap.Failure(repr(process.err))
    quiet = stage.run_wherry("signals", "-q", "-w", "10ms", code=3)
    same(quiet.err, b"wherry: signals: 0 came in time\n")


def test_wrong_words(stage):
    """what is no signal, or cannot be received, is wrong usage"""
    for words, part in ((["TERMS"], b"TERMS"), (["0"], b"0"), (["33"], b"C library"), (["KILL"], b"SIGKILL"),
                        (["19"], b"SIGSTOP"), (["-c", "0", "USR1"], b"-c 0"), (["-n", "x"], b"-n x")):
        process = stage.run_wherry("signals", *words, code=2)
        one_line(process)
        if part not in process.err:
            raise tap.Failure(f"{words}: {process.err!r}")


def test_ten_thousand(stage):
    """10,000 with values: all are printed, in order"""
    process = start(stage, "-c", "10000", "RTMIN")
    for i in range(10000):
        while True:
            try:
                queue(process.pid, signal.SIGRTMIN, i)
                break
            except BlockingIOError:
                process._pump(0.01 + run.time.monotonic())
    process.end(0)
    same([int(line.rsplit(b"=", 1)[1]) for line in process.out.splitlines()], list(range(10000)))


def test_nobody_reads(stage):
    """when nobody reads standard output any more it dies of SIGPIPE"""
    near, far = os.pipe()
    process = start(stage, "USR1", stdout=far)
    os.close(far)
    os.close(near)
    process.signal(signal.SIGUSR1)
    process.end(-signal.SIGPIPE)


def test_sigchld_that_was_ignored(stage):
    """SIGCHLD comes, though whoever started the command ignored it"""
    process = start(stage, "-c", "1", "CHLD", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    process.signal(signal.SIGCHLD)
    process.end(0)
