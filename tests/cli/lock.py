# tests/cli/lock.py - `wherry lock` from outside: with util-linux's flock(1), with programs that use one system call,
# and with itself; cases for tests/cli/run.py.
#
# SPDX-License-Identifier: MIT
import json
import os
import pathlib
import re
import signal
import subprocess

import run
import tap
from run import one_line, same, wait_for


def hold(stage, *words):
    """`wherry lock` that holds the lock until told to end: it has it when `cat` has answered."""
    process = stage.start_wherry("lock", *words, "--", "sh", "-c", "echo locked; read line", stdin=subprocess.PIPE)
    process.read_out(7)
    return process


def let_go(process):
    process.shut()
    process.end(None)


def raw_hold(stage, kind, mode="exclusive", name="file"):
    process = stage.start(stage.helper("raw_lock"), kind, mode, "hold", name, stdin=subprocess.PIPE)
    process.read_out(7)
    return process


def raw_try(stage, kind, mode="exclusive", name="file"):
    return stage.run(stage.helper("raw_lock"), kind, mode, "try", name, code=None).popen.returncode


def files(stage):
    stage.mine("file")
    return "file"


def test_flock_keeps_wherry_out(stage):
    """flock(1) holds it: wherry lock --kind flock waits, is refused, and names it"""
    name = files(stage)
    stage.need("flock")
    other = stage.start("flock", "-x", name, "sh", "-c", "echo locked; read line", stdin=subprocess.PIPE)
    other.read_out(7)
    refused = stage.run_wherry("lock", "-k", "flock", "-w", "0", name, "--", "true", code=5)
    one_line(refused, rf"lock: file: pid \d+ \((flock|sh)\) has an exclusive lock on all of it")
    stage.run_wherry("lock", "-k", "flock", "-w", "0.05", name, "--", "true", code=5)
    stage.run_wherry("lock", "-k", "flock", "-w", "0", "-E", "77", name, "--", "true", code=77)
    stage.run_wherry("lock", "-k", "flock", "-s", "-w", "0", name, "--", "true", code=5)
    waiter = stage.start_wherry("lock", "-k", "flock", name, "--", "echo", "mine")
    stage.wait_asleep(waiter)
    same(waiter.out, b"")
    let_go(other)
    waiter.end(0)
    same(waiter.out, b"mine\n")


def test_wherry_keeps_flock_out(stage):
    """wherry lock --kind flock holds it: flock(1) is refused, and waits"""
    name = files(stage)
    stage.need("flock")
    holder = hold(stage, "-k", "flock", name)
    stage.run("flock", "-n", name, "true", code=1)
    stage.run("flock", "-n", "-s", name, "true", code=1)
    waiter = stage.start("flock", name, "echo", "mine")
    stage.wait_asleep(waiter)
    same(waiter.out, b"")
    let_go(holder)
    waiter.end(0)
    same(waiter.out, b"mine\n")
    shared = hold(stage, "-k", "flock", "-s", name)
    stage.run("flock", "-n", "-s", name, "true", code=0)
    stage.run("flock", "-n", name, "true", code=1)
    let_go(shared)


def test_flock_directory(stage):
    """a directory, as flock(1) takes one"""
    stage.need("flock")
    holder = hold(stage, "-k", "flock", ".")
    stage.run("flock", "-n", ".", "true", code=1)
    let_go(holder)
    one_line(stage.run_wherry("lock", ".", "--", "true", code=125), "is a directory; name a file in it")


def test_programs_with_system_calls(stage):
    """classic fcntl locks, lockf and OFD locks, in either order"""
    name = files(stage)
    for theirs in ("classic", "lockf", "ofd"):
        for ours in ("ofd", "posix"):
            holder = hold(stage, "-k", ours, name)
            same(raw_try(stage, theirs), 5, f"{theirs} while wherry holds {ours}")
            same(raw_try(stage, "flock"), 0, "flock, which is another world")
            waiter = stage.start(stage.helper("raw_lock"), theirs, "exclusive", "hold", name, stdin=subprocess.PIPE)
            stage.wait_asleep(waiter)
            let_go(holder)
            waiter.read_out(7)
            refused = stage.run_wherry("lock", "-k", ours, "-w", "0", name, "--", "true", code=5)
            one_line(refused, rf"pid {waiter.pid} \(raw_lock\)")
            behind = stage.start_wherry("lock", "-k", ours, name, "--", "echo", "mine")
            stage.wait_asleep(behind)
            let_go(waiter)
            behind.end(0)
            same(behind.out, b"mine\n")


def test_shared(stage):
    """shared locks go together, with those of other programs too"""
    name = files(stage)
    first, second = hold(stage, "-s", name), hold(stage, "-s", "--fair", name)
    same(raw_try(stage, "classic", "shared"), 0)
    same(raw_try(stage, "classic"), 5)
    let_go(first)
    same(raw_try(stage, "classic"), 5)
    let_go(second)
    same(raw_try(stage, "classic"), 0)


def test_ranges(stage):
    """ranges that do not meet do not keep each other out"""
    name = files(stage)
    holder = hold(stage, "-R", "100:200", name)
    stage.run_wherry("lock", "-w", "0", "-R", "200:", name, "--", "true")
    stage.run_wherry("lock", "-w", "0", "-R", "0:100", name, "--", "true")
    refused = stage.run_wherry("lock", "-w", "0", "-R", "199:300", name, "--", "true", code=5)
    one_line(refused, "has an exclusive lock on bytes 100 to 199")
    let_go(holder)
    for wrong in ("5", ":5", "5:5", "9:3", "a:b", "-1:3", "1:2:3"):
        one_line(stage.run_wherry("lock", "-R", wrong, name, code=2), "--range takes A:B")
    one_line(stage.run_wherry("lock", "-k", "flock", "-R", "1:2", name, code=2), "flock locks a whole file")


def test_holders(stage):
    """--holders lists who holds and who waits, of each kind"""
    name = files(stage)
    for kind in ("ofd", "posix", "flock"):
        holder = hold(stage, "-k", kind, "-s", name)
        waiter = stage.start_wherry("lock", "-k", kind, name, "--", "true")

        def listed():
            return json.loads(stage.run_wherry("lock", "--holders", "-J", name).out)["holders"]
        run.wait_for(lambda: len(listed()) == 2, "the waiter's note")
        rows = {row["pid"]: row for row in listed()}
        same((rows[holder.pid]["kind"], rows[holder.pid]["mode"], rows[holder.pid]["state"], rows[holder.pid]["start"],
              rows[holder.pid]["end"], rows[holder.pid]["command"]), (kind, "shared", "holds", 0, None, "wherry"))
        waits = rows[waiter.pid]
        same((waits["kind"], waits["mode"], waits["state"]), (kind, "exclusive", "waits"))
        let_go(holder)
        waiter.end(0)
    same(json.loads(stage.run_wherry("lock", "--holders", "-J", name).out)["holders"], [])
    one_line(stage.run_wherry("lock", "--holders", "nothing", code=1), "No such file")


def test_exit_codes(stage):
    """the command's exit code, the signal that ended it, and what could not be run"""
    name = files(stage)
    stage.run_wherry("lock", name, "--", "sh", "-c", "exit 7", code=7)
    stage.run_wherry("lock", name, "--", "sh", "-c", "kill -9 $$", code=128 + 9)
    one_line(stage.run_wherry("lock", name, "--", "./no-such-program", code=127), "No such file")
    stage.write("plain", b"")
    one_line(stage.run_wherry("lock", name, "--", "./plain", code=126), "Permission denied")
    one_line(stage.run_wherry("lock", "no/such/file", "--", "true", code=125), "the directory does not exist; make it")
    one_line(stage.run_wherry("lock", "no/such/file", code=1), "the directory does not exist; make it")
    one_line(stage.run_wherry("lock", code=2), "expects FILE")
    one_line(stage.run_wherry("lock", name, "--", code=2), "no command follows")
    one_line(stage.run_wherry("lock", "-k", "posixx", name, code=2), "ofd, posix or flock")
    one_line(stage.run_wherry("lock", "-E", "256", name, code=2), "from 0 to 255")
    same(os.stat(stage.path / name).st_mode & 0o7777, 0o600)


def test_nothing_outlives_the_command(stage):
    """what the command leaves running in the background does not keep the lock"""
    name = files(stage)
    for kind in ("ofd", "posix", "flock"):
        out = stage.run_wherry("lock", "-k", kind, name, "--", "sh", "-c", "sleep 100 >/dev/null 2>&1 & echo $!").out
        try:
            os.kill(int(out), 0)  # it lives
            stage.run_wherry("lock", "-w", "0", "-k", kind, name, "--", "true")
        finally:
            os.kill(int(out), signal.SIGKILL)
            os.waitpid(int(out), 0)


def test_killed(stage):
    """killed with SIGKILL: the lock is free, and the command dies too"""
    name = files(stage)
    for kind in ("ofd", "posix", "flock"):
        holder = hold(stage, "-k", kind, name)
        child, = pathlib.Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        holder.signal(signal.SIGKILL)
        holder.end(-signal.SIGKILL)
        stage.run_wherry("lock", "-w", "5", "-k", kind, name, "--", "true")
        same(os.waitstatus_to_exitcode(os.waitpid(int(child), 0)[1]), -signal.SIGKILL)


def test_signals(stage):
    """SIGTERM goes to the command; without one it ends the lock; a waiter ends, and leaves no note"""
    name = files(stage)
    trap = "trap 'echo got it; exit 3' TERM; echo locked; while :; do sleep 0.01; done"
    holder = stage.start_wherry("lock", name, "--", "sh", "-c", trap)
    holder.read_out(7)
    holder.signal(signal.SIGTERM)
    holder.end(3)
    same(holder.out, b"locked\ngot it\n")
    holder = stage.start_wherry("lock", "-v", name, stderr=subprocess.PIPE)
    holder.read(lambda: b"locked after" in holder.err, "the note")
    waiter = stage.start_wherry("lock", name)

    def noted():
        where = f"/dev/shm/wherry-{os.geteuid()}"
        return [n for n in os.listdir(where) if n.startswith(".wait-") and int(n.split("-")[2], 16) == waiter.pid]
    run.wait_for(noted, "the note of a waiter")
    waiter.stop()
    same(noted(), [], "the notes of a waiter that ended")
    holder.stop()
    stage.run_wherry("lock", "-w", "0", name, "--", "true")


def test_what_ends_no_lock(stage):
    """without a command, neither being stopped and continued nor an ignored signal gives the lock back"""
    name = files(stage)
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    holder = stage.start_wherry("lock", "-v", name, stdin=subprocess.DEVNULL, preexec_fn=ignore)
    stage.wait_asleep(holder)
    for number in signal.SIGHUP, signal.SIGSTOP, signal.SIGCONT:
        holder.signal(number)
    stage.run_wherry("lock", "-w", "0.3", name, "--", "true", code=5)
    holder.signal(signal.SIGTERM)
    holder.end(128 + signal.SIGTERM)


def wait_looks(stage, process, times):
    """Until the lock command that the process's child has become has woken up so often from its sleep in the wait."""
    def wakeups():
        pid, = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if not os.path.samefile(f"/proc/{pid}/exe", stage.wherry):
            return 0
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.M).group(1))
    wait_for(lambda: wakeups() >= 1, f"the child of {process} to be a lock command")
    before = wakeups()
    wait_for(lambda: wakeups() >= before + times, f"the child of {process} to look {times} times")


def test_nested(stage):
    """one lock within another, crosswise: no deadlock is claimed, and who is ended gives both back"""
    stage.mine("file")
    stage.mine("other")
    ready = "echo ready; read line"

    def both(first, second):
        return stage.start_wherry("lock", first, "--", "sh", "-c",
                                  f"{ready}; exec {stage.wherry} lock {second} -- echo got", stdin=subprocess.PIPE)
    # each is a shell that became the second lock; the process of the first waits for its end, and not for a lock
    one, two = both("file", "other"), both("other", "file")
    one.read_out(6)
    two.read_out(6)
    one.write(b"go\n")
    two.write(b"go\n")
    # no deadlock is claimed between processes of which none holds what another waits for: each has looked often
    for process in (one, two):
        wait_looks(stage, process, 20)
    same((one.out, two.out), (b"ready\n", b"ready\n"))
    one.signal(signal.SIGTERM)
    one.end(128 + signal.SIGTERM)
    two.end(0)
    same(two.out, b"ready\ngot\n")


def test_stale(stage):
    """a file that is removed while one waits for it: the new one is locked"""
    name = files(stage)
    holder = hold(stage, name)
    waiter = stage.start_wherry("lock", name, "--", "echo", "mine")
    stage.wait_asleep(waiter)
    os.unlink(stage.path / name)
    second = hold(stage, name)  # a new file
    let_go(holder)
    stage.wait_asleep(waiter)
    same(waiter.out, b"")
    let_go(second)
    waiter.end(0)
    same(waiter.out, b"mine\n")


def test_somebody_elses(stage):
    """someone else's file: one line that says whose it is and what does"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root to become somebody else")
    stage.need("setpriv")
    name = files(stage)
    (stage.path / name).write_bytes(b"")
    os.chmod(stage.path / name, 0o644)
    os.chmod(stage.path, 0o755)
    poor = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", stage.wherry, "lock", "-w", "0"]
    one_line(stage.run(*poor, name, "--", "true", code=125), "belongs to uid 0", "may not open it for writing",
             "--shared")
    stage.run(*poor, "-s", name, "--", "true")
    stage.run(*poor, "-k", "flock", name, "--", "true")
    holder = hold(stage, name)
    hidden = stage.run(*poor, "--holders", name, code=4)
    same(b"ofd" in hidden.out and str(holder.pid).encode() not in hidden.out, True)
    let_go(holder)


def test_where_no_file_can_be_made(stage):
    """a file that is not there and cannot be made: why, also for a shared lock, which reading would do for"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root, to be another user as well")
    os.chmod(stage.path, 0o755)
    for words in ([], ["-s"], ["-k", "flock"]):
        refused = stage.run_wherry("lock", *words, "file", "--", "true", code=125, user=65534, group=65534)
        one_line(refused,
                 "lock: file: could not be made: Permission denied: uid 65534 may not write the current directory")
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    one_line(stage.run("sh", "-c", script, "sh", stage.wherry, "lock", "-s", "file", "--", "true", code=125),
             "the current directory was removed; cd to one that exists")
