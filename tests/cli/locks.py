# tests/cli/locks.py - `wherry locks` from outside: holders, waiters, the wait graph and its cycles; cases for
# tests/cli/run.py.
#
# SPDX-License-Identifier: MIT
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys

import run
import tap
from run import one_line, same

# Locks one thing after the other; "!" before a word: waits for it, in a thread of its own when it is the last but not
# alone.  Words: KIND MODE FILE START LENGTH.  Prints a line for each lock it has, and ends with its standard input.
ACTOR = r"""
import fcntl, struct, sys, threading
KINDS = {"posix": (6, 7), "ofd": (37, 38)}
files = {}
def take(kind, mode, name, start, length, again):
    if (name, again) not in files:
        files[name, again] = open(name, "r+")  # closing another one would drop classic locks
    file = files[name, again]
    if kind == "flock":
        fcntl.flock(file, fcntl.LOCK_SH if mode == "shared" else fcntl.LOCK_EX)
    else:
        lock = struct.pack("hhqqi4x", 0 if mode == "shared" else 1, 0, int(start), int(length), 0)
        fcntl.fcntl(file, KINDS[kind][1], lock)
    print("has", name, flush=True)
for words in sys.argv[1:]:
    name, *rest = words.split()
    if name == "thread":
        threading.Thread(target=take, args=(*rest, True), daemon=True).start()
    else:
        take(name, *rest, False)
sys.stdin.read()
"""


def actor(stage, *locks, has=None):
    """A process that takes these locks, of which it gets so many; the files are there."""
    for words in locks:
        name = words.split()[-3]
        if not (stage.path / name).exists():
            stage.write(name, b"")
    process = stage.start(sys.executable, "-c", ACTOR, *locks, stdin=subprocess.PIPE)
    count = len(locks) if has is None else has
    process.read_out(sum(len(f"has {words.split()[-3]}\n") for words in locks[:count]))
    return process


def end(*processes):
    """Those that wait for each other end by a signal."""
    for process in processes:
        process.popen.kill()
        process.end(None)


def locks(stage, *words, code=0):
    """What it prints, as JSON; some processes of this host may not be looked at."""
    process = stage.run_wherry("locks", "-q", "-J", *words, code=None)
    if process.popen.returncode not in (code, 4):
        raise tap.Failure(f"{process}: exit code {process.popen.returncode}, {process.err!r}")
    return json.loads(process.out)


def until_waiting(stage, process, *words):
    """The list, once the process waits in it."""
    found = []

    def waits():
        found[:] = locks(stage, *words)["locks"]
        return any(row["pid"] == process.pid and row["state"] == "waits" for row in found)
    run.wait_for(waits, f"{process} to wait")
    return found


def tree(stage, *words):
    process = stage.run_wherry("locks", "-q", "--wait-graph", *words, code=None)
    same(process.popen.returncode in (0, 4), True, f"the exit code {process.popen.returncode}")
    return process.out.decode()


def test_holders(stage):
    """each kind with its mode, its range and its descriptor"""
    stage.write("file", b"")
    names = {"posix exclusive": ("posix exclusive file 5 10", "5-14", 5, 15),
             "ofd shared": ("ofd shared file 100 0", "100-", 100, None),
             "flock exclusive": ("flock exclusive file 0 0", "all", 0, None)}
    for name, (words, shown, start, after) in names.items():
        holder = actor(stage, words)
        rows = locks(stage, "-o", "+start,end,user,type,evidence", "file")["locks"]
        same(len(rows), 1, f"the number of rows of {name}")
        row = rows[0]
        kind, mode = name.split()
        same((row["kind"], row["mode"], row["range"], row["start"], row["end"]), (kind, mode, shown, start, after))
        same((row["state"], row["pid"], row["file"], row["type"], row["blocked-by"]),
             ("holds", holder.pid, str(stage.path / "file"), "file", []))
        same(os.readlink(f"/proc/{holder.pid}/fd/{row['fd']}"), str(stage.path / "file"))
        same({"posix": "POSIX", "ofd": "OFDLCK", "flock": "FLOCK"}[kind] in row["evidence"], True, row["evidence"])
        end(holder)


def test_who_waits(stage):
    """who waits, for what, and for whom: conflicts alone count"""
    first = actor(stage, "ofd shared file 0 50")
    second = actor(stage, "ofd shared file 0 10", "posix shared file 20 10")
    third = actor(stage, "flock exclusive file 0 0", "ofd shared file 200 10")  # in nobody's way
    waiter = actor(stage, "posix exclusive file 25 100", has=0)
    rows = until_waiting(stage, waiter, "file")
    row = [r for r in rows if r["pid"] == waiter.pid][0]
    same((row["kind"], row["mode"], row["range"]), ("posix", "exclusive", "25-124"))
    same(sorted(int(by.split()[0]) for by in row["blocked-by"]), sorted([first.pid, second.pid]))
    same(len(rows), 6)
    same([r["blocked-by"] for r in rows if r["state"] == "holds"], [[]] * 5)
    same({r["pid"] for r in locks(stage, "--pid", str(second.pid))["locks"]}, {second.pid})
    end(waiter)
    fourth = actor(stage, "posix exclusive file 300 10")
    reader = actor(stage, "ofd shared file 0 0", has=0)
    row = [r for r in until_waiting(stage, reader, "file") if r["pid"] == reader.pid][0]
    same([int(by.split()[0]) for by in row["blocked-by"]], [fourth.pid])
    end(reader, first, second, third, fourth)


def test_chain(stage):
    """a chain of waits: whoever waits for nobody's sake comes first, and no cycle is seen"""
    last = actor(stage, "flock exclusive c 0 0")
    middle = actor(stage, "ofd exclusive b 0 0", "flock shared c 0 0", has=1)
    until_waiting(stage, middle, "c")
    first = actor(stage, "posix shared b 7 1", has=0)
    until_waiting(stage, first, "b")
    text = tree(stage, "b")
    fd = rf"fd \d+"
    here = re.escape(str(stage.path))
    wanted = (rf"{first.pid} \(\S+\)\n    waits for {here}/b: shared posix, bytes 7-7\n"
              rf"        {middle.pid} \(\S+\) has it: exclusive ofd, {fd}\n"
              rf"            waits for {here}/c: shared flock\n"
              rf"                {last.pid} \(\S+\) has it: exclusive flock, {fd}\n")
    if not re.fullmatch(wanted, text):
        raise tap.Failure(f"the tree is\n{text}")
    edges = locks(stage, "--wait-graph", "b", "c")["edges"]
    same({(e["waiter"], e["holder"]) for e in edges}, {(first.pid, middle.pid), (middle.pid, last.pid)})
    same([(e["cycle"], e["deadlock"]) for e in edges], [(None, None)] * 2)
    end(first, middle, last)


def test_deadlock(stage):
    """two and three processes that wait for each other across kinds of locks are said to"""
    for count in (2, 3):
        kinds = ["flock", "ofd", "posix"][:count]
        for i in range(count):
            stage.write(f"f{i}", b"")
        ring = []
        gates = [actor(stage, f"{kinds[i]} exclusive f{i} 0 0") for i in range(count)]
        end(*gates)
        # each takes its own first; the next one's only when told, by a pipe that all read to its end
        reader, writer = os.pipe()
        script = ACTOR.replace("for words in sys.argv[1:]:", "import os\nfor words in sys.argv[1:]:").replace(
            "    name, *rest = words.split()\n", "    name, *rest = words.split()\n    if name == 'wait':\n"
            "        os.read(int(rest[0]), 1)\n        continue\n")
        for i in range(count):
            j = (i + 1) % count
            ring.append(stage.start(sys.executable, "-c", script, f"{kinds[i]} exclusive f{i} 0 0", f"wait {reader}",
                                    f"{kinds[j]} exclusive f{j} 0 0", stdin=subprocess.PIPE, pass_fds=[reader]))
        for process in ring:
            process.read_out(7)
        os.close(reader)
        os.close(writer)
        for i, process in enumerate(ring):
            until_waiting(stage, process, f"f{(i + 1) % count}")
        edges = locks(stage, "--wait-graph", *(f"f{i}" for i in range(count)))["edges"]
        same({(e["waiter"], e["holder"], e["cycle"], e["deadlock"]) for e in edges},
             {(ring[i].pid, ring[(i + 1) % count].pid, edges[0]["cycle"], "yes") for i in range(count)})
        text = tree(stage, *(f"f{i}" for i in range(count)))
        same(text.count("; DEADLOCK "), count, f"the number of marks in\n{text}")
        names = ", ".join(rf"{pid} \(\S+\)" for pid in sorted(process.pid for process in ring))
        if not re.search(rf"^deadlock \d+: {names}$", text, re.M):
            raise tap.Failure(f"the deadlock is not told of:\n{text}")
        end(*ring)


# Locks "shared" and forks: the child has the lock, too.  When told, each waits for the file that it is to open and
# lock, or to have "shared" alone by the lock "itself", or, if neither, for its end.
FORKER = r"""
import fcntl, os, signal, struct, sys
def ofd(kind):
    fcntl.fcntl(first, 38, struct.pack("hhqqi4x", kind, 0, 0, 0, 0))
mode, parent, child = sys.argv[1:]
first = open("shared", "r+")
if mode == "ofd":
    ofd(fcntl.F_RDLCK)
else:
    fcntl.flock(first, fcntl.LOCK_SH if mode == "shared" else fcntl.LOCK_EX)
pid = os.fork()
if pid:
    print(f"{pid:10}", flush=True)
name = parent if pid else child
os.read(0, 1)
if name == "itself":
    ofd(fcntl.F_WRLCK)
elif name:
    fcntl.flock(open(name, "r+"), fcntl.LOCK_EX)
signal.pause()
"""


def forker(stage, mode, parent, child):
    """Such a process, and the pid of its child."""
    process = stage.start(sys.executable, "-c", FORKER, mode, parent, child, stdin=subprocess.PIPE)
    return process, int(process.read_out(11))


def end_forker(process, child):
    os.kill(child, signal.SIGKILL)
    end(process)
    os.waitpid(child, 0)  # it is the runner's now, which is a subreaper


def until_edges(stage, *wanted):
    """What the wait graph says of these edges alone, once it has them: whether a cycle, whether a deadlock."""
    found = {}

    def there():
        edges = locks(stage, "--wait-graph", "shared", "other")["edges"]
        found.clear()
        found.update({(e["waiter"], e["holder"]): (e["cycle"] is not None, e["deadlock"]) for e in edges})
        return set(found) == set(wanted)
    try:
        run.wait_for(there, f"the edges {wanted}")
    except tap.Failure as failure:
        raise tap.Failure(f"{failure}; there are {found}")
    return found


def test_an_inherited_lock_that_another_can_give_back(stage):
    """who waits for a lock that it has inherited itself is in no deadlock while the other one runs, unless both do"""
    stage.write("shared", b"")
    stage.write("other", b"")
    for there, deadlock in (("", None), ("shared", "yes")):
        parent, child = forker(stage, "exclusive", there, "shared")
        parent.write(b"go")
        waiting = [child, parent.pid] if there else [child]
        edges = until_edges(stage, *((waiter, holder) for waiter in waiting for holder in (child, parent.pid)))
        same({said for _, said in edges.values()}, {deadlock}, f"the deadlocks in {edges}")
        text = tree(stage, "shared")
        same("DEADLOCK" in text and "\ndeadlock" in text, bool(deadlock), text)
        end_forker(parent, child)


def test_a_ring_through_a_shared_lock(stage):
    """a ring is a deadlock if all wait who have the lock in the way, by that open file; others may have it, too"""
    stage.write("shared", b"")
    stage.write("other", b"")
    for mode, there, deadlock in (("exclusive", "", None), ("exclusive", "other", "yes"), ("shared", "", None),
                                  ("shared", "other", "yes")):
        parent, child = forker(stage, mode, "other", there)
        holders = [parent.pid, child]
        others = [actor(stage, "flock shared shared 0 0")] if mode == "shared" else []
        last = actor(stage, "flock exclusive other 0 0", "flock exclusive shared 0 0", has=1)
        parent.write(b"go")
        edges = until_edges(stage, *((last.pid, holder) for holder in holders + [process.pid for process in others]),
                            (parent.pid, last.pid), *([(child, last.pid)] if there else []))
        same(edges[parent.pid, last.pid], (True, deadlock), f"the ring in {edges}")
        same(edges[last.pid, parent.pid], (True, deadlock), f"the ring in {edges}")
        if others:
            same(edges[last.pid, others[0].pid], (False, None), "who is in no ring")
        end_forker(parent, child)
        end(last, *others)


def test_two_who_upgrade_one_lock(stage):
    """nobody waits for its own open file, whoever else has it: two upgrades of it wait for a third alone"""
    stage.write("shared", b"")
    stage.write("other", b"")
    third = actor(stage, "ofd shared shared 0 0")
    parent, child = forker(stage, "ofd", "itself", "itself")
    parent.write(b"go")
    edges = until_edges(stage, (parent.pid, third.pid), (child, third.pid))
    same(set(edges.values()), {(False, None)}, "the cycles")
    end_forker(parent, child)
    end(third)


def test_the_path_that_was_given(stage):
    """a lock whose file nobody has open, since it is on its way in a message, goes by the path it was asked for by"""
    near, far = socket.socketpair()
    for name in ("one", "two"):
        stage.write(name, b"")
        with open(stage.path / name, "r+") as file:
            fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
            socket.send_fds(near, [b"x"], [file.fileno()])
    rows = locks(stage, "one", "lock:two")["locks"]
    same([(row["file"], row["kind"], row["pid"]) for row in sorted(rows, key=lambda row: row["file"])],
         [("one", "ofd", None), ("two", "ofd", None)])
    same([row["file"] for row in locks(stage, "one", str(stage.path / "two"))["locks"] if row["file"] != "one"],
         [str(stage.path / "two")])
    near.close()
    far.close()


def test_a_file_made_anew(stage):
    """locks on a file that was unlinked are not those of the one that is there now, and are found when none is"""
    old = actor(stage, "flock exclusive file 0 0")
    path = str(stage.path / "file")
    os.unlink(path)
    same([row["pid"] for row in locks(stage, path)["locks"]], [old.pid])
    stage.write("file", b"")
    for name in ("file", path, f"lock:{path}", f"file:{path}"):
        same(locks(stage, name)["locks"], [], name)
    os.link(path, stage.mine("a:b"))
    new = actor(stage, "flock exclusive file 0 0")
    for name in ("file", path, f"lock:{path}", "a:b", "./a:b"):
        same([row["pid"] for row in locks(stage, name)["locks"]], [new.pid], name)
    end(old, new)


def test_cycle_with_an_idle_thread(stage):
    """a process with a thread that does not wait may yet end its cycle: no deadlock is claimed"""
    process = actor(stage, "ofd exclusive file 0 0", "thread ofd exclusive file 0 0", has=1)
    until_waiting(stage, process, "file")
    edges = locks(stage, "--wait-graph", "file")["edges"]
    same([(e["waiter"], e["holder"], e["cycle"] is not None, e["deadlock"]) for e in edges],
         [(process.pid, process.pid, True, None)])
    same(edges[0]["thread"] not in (None, process.pid), True, "the thread")
    text = tree(stage, "file")
    same("threads or processes that do not wait may end it" in text and "and waits: see above" in text, True, text)
    end(process)


def test_beside_lslocks(stage):
    """what lslocks shows of the case's files is there, with the same process where lslocks knows one"""
    stage.need("lslocks")
    holders = [actor(stage, "posix exclusive a 3 4", "flock shared b 0 0"), actor(stage, "ofd shared a 20 0")]
    waiter = actor(stage, "posix exclusive a 5 1", has=0)
    ours = until_waiting(stage, waiter, "a") + locks(stage, "b")["locks"]
    inodes = {os.stat(stage.path / name).st_ino for name in "ab"}
    theirs = [lock for lock in run.lslocks(stage, "PID,TYPE,MODE,START,END,PATH,INODE")
              if int(lock["inode"]) in inodes]
    same(len(theirs) >= 4, True, f"lslocks shows {theirs}")
    for lock in theirs:
        kind = {"POSIX": "posix", "FLOCK": "flock", "OFDLCK": "ofd"}[lock["type"]]
        mode = "exclusive" if "WRITE" in lock["mode"] else "shared"
        state = "waits" if lock["mode"].endswith("*") else "holds"
        same([1 for o in ours if (o["kind"], o["mode"], o["state"]) == (kind, mode, state)
              and (lock["pid"] in (-1, None) or o["pid"] == int(lock["pid"]))], [1], f"what fits {lock}")
    end(waiter, *holders)


def test_an_inherited_lock(stage):
    """h2: the lock of a process that has ended is its child's, which has the open file"""
    stage.need("flock")
    stage.write("file", b"")
    holder = stage.start("flock", "file", "sh", "-c", "exec 9<&0; (echo child; read line <&9) & wait",
                         stdin=subprocess.PIPE)
    holder.read_out(6)
    holder.popen.kill()
    holder.popen.wait()
    rows = locks(stage, "file")["locks"]
    pids = {row["pid"] for row in rows}
    same(holder.pid in pids, False, "whether the dead hold it")
    same(len(rows) >= 1 and all(row["command"] == "sh" for row in rows), True, f"the holders {rows}")
    holder.shut()
    os.waitpid(-1, 0)  # the first shell is the runner's now, which is a subreaper
    holder.end(None)


def test_bad_input(stage):
    """pids, paths, columns that are none; a terminal of 20 columns; a closed pipe; nothing to show"""
    gone = stage.run("true")
    one_line(stage.run_wherry("locks", "-q", "--pid", str(gone.pid), code=1), rf"there is no process {gone.pid}")
    one_line(stage.run_wherry("locks", "--pid", "0", code=2), "is no pid")
    one_line(stage.run_wherry("locks", "--pid", "4711x", code=2), "is no pid")
    one_line(stage.run_wherry("locks", "-o", "nonsense", code=2), "nonsense")
    one_line(stage.run_wherry("locks", "--wait-grap", "--nonsense", code=2), "nonsense")
    one_line(stage.run_wherry("locks", "-q", "missing", code=1), 'there is no object "missing"')
    one_line(stage.run_wherry("locks", "-q", "missing/below", code=1), "there is no object")
    one_line(stage.run_wherry("locks", "-q", "x" * 300, code=1), "there is no object")
    one_line(stage.run_wherry("locks", "-q", "", code=1), "there is no object")
    stage.write("plain", b"")
    for key, words in (("locks", ["plain"]), ("edges", ["--wait-graph", "plain"])):
        none = locks(stage, *words)
        same((none["schema"], none[key], list(none)), (1, [], ["schema", "hidden", key]))
    same(tree(stage, "plain"), "")
    holder = actor(stage, "flock exclusive file\x1b[31m 0 0".replace("file\x1b[31m", "odd\x1b[31m"))
    near, far = pty.openpty()
    narrow = stage.start("sh", "-c", 'stty cols 20; exec "$@"', "sh", stage.wherry, "locks", "-q", "odd\x1b[31m",
                         stdin=far, stdout=far)
    os.close(far)
    narrow.end(None)
    got = b""
    try:
        while data := os.read(near, 65536):
            got += data
    except OSError:  # the other end is closed
        pass
    os.close(near)
    same(b"\x1b[31m" in got, False, f"whether control bytes reach the terminal: {got!r}")
    same(str(holder.pid).encode() in got, True, f"whether {got!r} has the pid")
    reader, writer = os.pipe()
    os.close(reader)
    closed = stage.start_wherry("locks", "-q", stdout=writer)
    os.close(writer)
    closed.end(None)
    same(closed.popen.returncode in (-13, 1), True, f"the exit code {closed.popen.returncode}")
    end(holder)


def test_as_nobody(stage):
    """as another user: the lock is shown, what is hidden is counted, and the exit code says so"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root, to look as somebody else")
    stage.need("setpriv")
    holder = actor(stage, "posix exclusive file 40 2", "ofd exclusive file 0 10")
    inode = os.stat(stage.path / "file").st_ino
    looked = stage.run("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", stage.wherry, "locks", "-J",
                       "-o", "+inode", code=4)
    same(b"not seen: " in looked.err, True, repr(looked.err))
    rows = [row for row in json.loads(looked.out)["locks"] if row["inode"] == inode]
    same([(row["pid"], row["range"]) for row in rows if row["kind"] == "posix"], [(holder.pid, "40-41")])
    same([(row["pid"], row["mode"], row["range"]) for row in rows if row["kind"] == "ofd"],
         [(None, "exclusive", "0-9")])
    same(len(rows), 2)
    end(holder)
