# tests/cli/gc.py - wherry gc: what it lists, what it removes, and what it leaves alone.
#
# SPDX-License-Identifier: MIT
"""Whatever removes something runs in namespaces of its own, with a /dev/shm of its own, and names the types: no other
program's objects are within its reach.  tests/crash/test_gc.c has the proof that nothing in use goes."""
import json
import os
import shlex

import tap
from run import same


def inside(stage, script, code=0):
    """Run a shell script in such namespaces; $W is the command, `gc` runs it and takes 4 (something hidden) for 0."""
    if os.geteuid() != 0:
        raise tap.Skip("needs root, for namespaces in which gc can do no harm")
    prelude = f"""
        set -e
        mount --make-rprivate /
        mount -t tmpfs -o mode=1777 none /dev/shm
        W={shlex.quote(str(stage.wherry))}
        gc() {{ "$W" gc -q "$@" || [ $? = 4 ]; }}
    """
    return stage.run(stage.need("unshare"), "--ipc", "--mount", "sh", "-c", prelude + script, code=code)


def rows(output):
    document = json.loads(output)
    same(document["schema"], 1)
    return {row["name"]: row for row in document["leftovers"]}


# A ring that nobody keeps any more; a segment and a semaphore of other programs; one that somebody has open.
SCENE = """
    "$W" recv -q shm://jobs & pid=$!
    until [ -e /dev/shm/wherry-0/jobs ] && grep -q "^State:.S" /proc/$pid/status; do :; done
    kill -KILL $pid; wait $pid 2>/dev/null || :
    echo 1234 > /dev/shm/foreign
    "$W" mk posix-sem /count > /dev/null
    echo held > /dev/shm/held; exec 9< /dev/shm/held
"""


def test_without_apply_nothing_goes(stage):
    """without --apply it only lists: a dead ring; with --unheld what nobody holds, too; never what somebody holds"""
    out = inside(stage, SCENE + "gc -J shm sem ring; echo; gc -J --unheld shm sem ring; ls /dev/shm").out.decode()
    first, rest = out.split("\n\n", 1)
    second, names = rest[:rest.rindex("}") + 1], rest[rest.rindex("}") + 1:].split()
    same(sorted(rows(first)), ["ring:jobs"])
    same(sorted(rows(second)), ["posix-sem:/count", "posix-shm:/foreign", "ring:jobs"])
    same({row["result"] for row in rows(second).values()}, {"left"})
    row = rows(second)["posix-shm:/foreign"]
    same((row["type"], row["owner"], row["size"]), ("posix-shm", "root", 5))
    assert "nobody holds it" in row["why"], row
    assert "none of its ends lives" in rows(first)["ring:jobs"]["why"], first
    same(sorted(names), ["foreign", "held", "sem.count", "wherry-0"])


def test_apply_removes_what_it_lists(stage):
    """--apply removes the dead ring alone, --apply --unheld the rest; what is held stays"""
    out = inside(stage, SCENE + """
        gc --apply -rno NAME,RESULT shm sem ring
        ls /dev/shm/wherry-0 /dev/shm
        gc --apply --unheld -rno NAME,RESULT shm sem ring
        ls /dev/shm
        gc --apply --unheld -J shm sem ring
    """).out.decode().split("\n")
    same(out[0], "ring:jobs removed")
    assert "foreign" in out and "jobs" not in out, out
    assert "posix-shm:/foreign removed" in out and "posix-sem:/count removed" in out, out
    end = out.index("posix-shm:/foreign removed")
    end = max(end, out.index("posix-sem:/count removed"))
    same(out[end + 1:end + 3], ["held", "wherry-0"])
    same(rows("\n".join(out[end + 3:])), {})


def test_age_and_type(stage):
    """--older spares the young, a type the others"""
    wanted = ["posix-shm:/old", "posix-sem:/old"]
    for age in (2, 8, 25):  # the look at the young one has to come sooner
        out = inside(stage, f"""
            echo > /dev/shm/young; echo > /dev/shm/old
            "$W" mk posix-sem /old >/dev/null
            sleep {age}.1
            echo > /dev/shm/young
            gc --unheld --older {age}s -rno NAME shm
            gc --unheld --older {age}s -rno NAME sem
            gc --unheld --older 1h -rno NAME shm sem ring
        """).out.decode().split()
        if out == wanted:
            break
    same(out, wanted)


def test_queues_need_an_age(stage):
    """System V queues and sets go with --unheld --older alone, segments without it"""
    process = inside(stage, """
        "$W" mk sysv-msg 0x4711 >/dev/null; "$W" mk sysv-sem 0x4711 >/dev/null; ipcmk -M 100 -p 600 >/dev/null
        "$W" gc --unheld --apply -rno TYPE,RESULT sysv || [ $? = 4 ]
        ipcs -q | grep -c 0x; ipcs -s | grep -c 0x
        gc --unheld --apply --older 0s -rno TYPE,RESULT sysv
        ipcs | grep -c 0x || :
    """)
    same(process.out.decode().split("\n"),
         ["sysv-shm removed", "1", "1", "sysv-sem removed", "sysv-msg removed", "0", ""])
    assert b"2 System V queues and sets are left alone" in process.err and b"--older" in process.err, process.err


def test_others_are_left_to_others(stage):
    """who is not root is shown his own alone, and removes it by the kernel's word"""
    out = inside(stage, """
        echo > /dev/shm/roots
        setpriv --reuid 65534 --clear-groups sh -c 'umask 077; echo > /dev/shm/mine'
        setpriv --reuid 65534 --clear-groups "$W" gc -q --unheld --apply -rno NAME,RESULT shm || [ $? = 4 ]
        ls /dev/shm
    """).out.decode().split("\n")
    same(out, ["posix-shm:/mine removed", "roots", ""])


def test_mistakes(stage):
    """types that there are not, or that end with their holders, and ages that are none: usage errors"""
    for words in (["nonsense"], ["pipe"], ["--older", "soon"], ["--older"], ["--nonsense"]):
        process = stage.run_wherry("gc", *words, code=2)
        assert process.err and not process.out, words
    assert b"RESULT" in stage.run_wherry("gc", "--list-columns").out
    assert b"--apply" in stage.run_wherry("gc", "--help").out
