# tests/cli/objects.py - wherry segment, sem, mk and rm, beside ipcs, ipcrm, ipcmk and programs that know nothing of it.
#
# SPDX-License-Identifier: MIT
import os
import re
import shutil
import signal
import socket
import stat
import subprocess

import tap
from run import one_line, same, wait_for


def word(stage):
    return f"wherry-cli-{os.getpid()}-{stage.path.name}"


def key(stage):
    """A key that nobody else has: the low bits of our pid, and the name's."""
    return f"0x77{os.getpid() & 0xffff:04x}{sum(stage.path.name.encode()) & 0xff:02x}"


def key_file(stage):
    stage.write("key", b"")
    return "key"


def removed(stage, *objects):
    """For the end of a case: away with it, whatever became of it."""
    stage.run_wherry("rm", "-f", *objects)


def ipcs(stage, kind):
    """The rows of ipcs by key: id, owner, permissions, and what follows."""
    rows = [line.split() for line in stage.run(stage.need("ipcs"), kind).out.decode().splitlines()]
    return {row[0]: row[1:] for row in rows if row and row[0].startswith("0x")}


def id_of(process):
    return re.search(rb"id: (\d+)", process.out).group(1).decode()


# ---- programs of others ----

def test_a_program_fills_a_segment_and_posts_a_semaphore(stage):
    """a C program fills a POSIX segment and posts a semaphore: wherry waits for both, or comes later, or makes them"""
    shm, sem = f"posix-shm:/{word(stage)}", f"posix-sem:/{word(stage)}"
    raw = [stage.helper("raw_segment"), f"/{word(stage)}", f"/{word(stage)}", "from another program"]
    try:
        for order in ("waits", "later", "makes"):
            if order == "makes":
                stage.run_wherry("mk", "-s", "4k", "posix-shm", f"/{word(stage)}")
                stage.run_wherry("mk", "posix-sem", f"/{word(stage)}")
            if order == "later":
                stage.run(*raw)
                waiter = stage.start_wherry("sem", "wait", sem)
            else:
                waiter = stage.start_wherry("sem", "wait", sem)
                stage.wait_asleep(waiter)
                stage.run(*raw)
            waiter.end(0)
            same(stage.run_wherry("segment", "show", "-t", shm).out, b"from another program\n", order)
            same(stage.run_wherry("sem", "value", sem).out, b"0\n", order)
            stage.run_wherry("rm", shm, sem)
    finally:
        removed(stage, shm, sem)


def test_a_segment_of_a_relative_path_and_a_character(stage):
    """a program that knows the segment by ftok of a relative path and a character, in either order"""
    name = f"sysv-shm:./{key_file(stage)}?id=A"
    raw = [stage.helper("raw_sysv"), "read", "key", "A"]
    try:
        for first in (True, False):
            if first:
                reader = stage.start(*raw)
                stage.wait_asleep(reader)
            stage.run_wherry("segment", "create", "-s", "1000", name, "-", input=b"made by wherry")
            if not first:
                reader = stage.start(*raw)
            same(reader.end(0).out, b"made by wherry")
            stage.run_wherry("rm", name)
        waiter = stage.start_wherry("segment", "show", "-t", "-w", "60", name)
        stage.wait_asleep(waiter)
        stage.run(stage.helper("raw_sysv"), "write", "key", "A", "and by the other")
        waiter.end(0)
        same(stage.run_wherry("segment", "show", "--text", name).out, b"and by the other\n")
    finally:
        removed(stage, name)


def test_a_program_waits_on_our_set(stage):
    """a program waits on a System V set that wherry made, and sees sem_otime set, in either order"""
    name = f"sysv-sem:{key_file(stage)}?id=S"
    raw = [stage.helper("raw_sysv"), "wait", "key", "S"]
    try:
        for first in (True, False):
            if first:
                waiter = stage.start(*raw)
                stage.wait_asleep(waiter)
            stage.run_wherry("sem", "create", name, "0", "7")
            if not first:
                waiter = stage.start(*raw)
            same(waiter.read_out(17), b"sem_otime is set\n")
            stage.run_wherry("sem", "post", name)
            waiter.end(0)
            ours = stage.start_wherry("sem", "wait", name, "0")
            stage.wait_asleep(ours)
            stage.run(stage.helper("raw_sysv"), "post", "key", "S")
            ours.end(0)
            same(stage.run_wherry("sem", "value", name).out, b"0\n7\n")
            stage.run_wherry("sem", "remove", name)
    finally:
        removed(stage, name)


# ---- ipcs, ipcrm, ipcmk ----

def test_ipcs_shows_what_wherry_made_and_ipcrm_removes_it(stage):
    """ipcs shows our segment and set as they are; ipcrm removes them, and wherry says that they are gone"""
    shm, sem = f"sysv-shm:{key(stage)}", f"sysv-sem:{key(stage)}"
    stage.need("ipcrm")
    try:
        stage.run_wherry("mk", "-s", "12345", "-m", "0640", "sysv-shm", key(stage))
        stage.run_wherry("mk", "-n", "3", "-m", "0660", "--value", "2", "sysv-sem", key(stage))
        row = ipcs(stage, "-m")[key(stage)]
        same(row[2:5], ["640", "12345", "0"])
        same(ipcs(stage, "-s")[key(stage)][2:4], ["660", "3"])
        said = stage.run_wherry("segment", "stat", shm).out.decode()
        same(re.search(r"^id (\d+)$", said, re.M).group(1), row[0], "the number")
        stage.run("ipcrm", "-M", key(stage), "-S", key(stage))
        one_line(stage.run_wherry("segment", "show", shm, code=1), "there is none")
        one_line(stage.run_wherry("rm", sem, code=1), "there is none")
        stage.run_wherry("rm", "-f", sem)
    finally:
        removed(stage, shm, sem)


def test_what_ipcmk_made_is_used_and_removed(stage):
    """what ipcmk made is filled, shown, posted, waited for and removed by its number"""
    stage.need("ipcmk")
    shm = f"sysv-shm:#{id_of(stage.run('ipcmk', '-M', '100'))}"
    sem = f"sysv-sem:#{id_of(stage.run('ipcmk', '-S', '2'))}"
    try:
        stage.run_wherry("segment", "write", "-o", "90", shm, input=b"0123456789")
        same(stage.run_wherry("segment", "show", "--raw", "-o", "88", shm).out, b"\0\0000123456789")
        refused = stage.run_wherry("segment", "write", "-o", "91", shm, input=b"0123456789", code=1)
        one_line(refused, "10 bytes at 91 are not within its 100")
        stage.run_wherry("sem", "post", "-b", "3", sem, "0", "1")
        stage.run_wherry("sem", "wait", "-b", "2", sem, "1")
        same(stage.run_wherry("sem", "value", sem).out, b"3\n1\n")
    finally:
        stage.run_wherry("rm", shm, sem)
    one_line(stage.run_wherry("rm", shm, code=1), "there is none")


def test_a_set_that_another_program_may_not_have_initialised(stage):
    """a set of ipcmk under its key: wait says what it waits for, and takes it with --as-found, or once it was used"""
    stage.need("ipcmk")
    sem_id = id_of(stage.run("ipcmk", "-S", "1"))
    name = "sysv-sem:" + next(k for k, row in ipcs(stage, "-s").items() if row[0] == sem_id)
    try:
        one_line(stage.run_wherry("sem", "post", name, code=1), "may not be initialised; .*--as-found")
        stage.run_wherry("sem", "post", "--as-found", name)
        waiter = stage.run_wherry("sem", "wait", name)
        same(waiter.err, b"")
    finally:
        removed(stage, name)


# ---- removal ----

def test_a_segment_removed_while_attached(stage):
    """a segment removed while attached stays for who has it; by its number it is told from one that lives"""
    name = f"sysv-shm:{key_file(stage)}?id=R"
    try:
        stage.run_wherry("segment", "create", "-s", "100", name, "-", input=b"still here\n")
        number = re.search(r"^id (\d+)$", stage.run_wherry("segment", "stat", name).out.decode(), re.M).group(1)
        holder = stage.start(stage.helper("raw_sysv"), "hold", "key", "R", stdin=subprocess.PIPE)
        same(holder.read_out(9), b"attached\n")
        stage.run_wherry("rm", name)
        one_line(stage.run_wherry("segment", "show", name, code=1), "there is none")
        one_line(stage.run_wherry("segment", "show", f"sysv-shm:#{number}", code=1), "was removed, and lives until")
        same("state removed" in stage.run_wherry("segment", "stat", f"sysv-shm:#{number}").out.decode(), True)
        stage.run_wherry("segment", "create", "-s", "50", name)  # the name is free
        holder.shut()
        same(holder.end(0).out, b"attached\nstill here\n")
        one_line(stage.run_wherry("segment", "show", f"sysv-shm:#{number}", code=1), "there is none")
    finally:
        removed(stage, name)


def test_a_set_removed_under_its_waiters(stage):
    """a set removed under a waiter: ours fails at once, and so does another program's"""
    name = f"sysv-sem:{key_file(stage)}?id=W"
    try:
        for remove in (["ipcrm", "-S"], None):
            stage.run_wherry("sem", "create", name)
            ours = stage.start_wherry("sem", "wait", name)
            other = stage.start(stage.helper("raw_sysv"), "wait", "key", "W")
            other.read_out(17)
            for process in (ours, other):
                stage.wait_asleep(process)
            if remove:
                status = os.stat(stage.path / "key")  # as ftok(3)
                mine = f"0x{ord('W') << 24 | (status.st_dev & 0xff) << 16 | status.st_ino & 0xffff:08x}"
                same(ipcs(stage, "-s")[mine][3], "1", "the size of our set")
                stage.run(*remove, mine)
            else:
                stage.run_wherry("sem", "remove", name)
            one_line(ours.end(1), "the set was removed")
            same(other.end(1).err, b"semop: Identifier removed\n")
    finally:
        removed(stage, name)


# ---- what is printed ----

def test_show(stage):
    """show prints what hexdump -C prints, text up to the first NUL, or the bytes; from an offset, a part"""
    name = f"posix-shm:/{word(stage)}"
    data = b"line one\nline two\n" + bytes(100) + bytes(range(256)) + b"x" * 64 + b"end"
    stage.write("data", data)
    try:
        stage.run_wherry("segment", "create", name, "data")
        same(stage.run_wherry("segment", "show", "--raw", name).out, data)
        same(stage.run_wherry("segment", "show", "--raw", "-o", "5", "-n", "9", name).out, data[5:14])
        same(stage.run_wherry("segment", "show", "-t", name).out, b"line one\nline two\n")
        same(stage.run_wherry("segment", "show", name).out, stage.run(stage.need("hexdump"), "-C", "data").out)
        same(stage.run_wherry("segment", "show", "-o", "18", name).out[:10], b"00000012  ")
        for how in ([], ["-t"], ["--raw"]):  # as head -c 0 and hexdump -n 0
            same(stage.run_wherry("segment", "show", *how, "-o", "18", "-n", "0", name).out, b"", f"-n 0 {how}")
        same(stage.run_wherry("segment", "show", "--raw", "-o", "441", name).out, b"", "from the end on")
        one_line(stage.run_wherry("segment", "show", "-o", "1k", name, code=1), "has 441 bytes, none at 1024")
        one_line(stage.run_wherry("segment", "create", name, "data", code=1), "there is one of 441 bytes")
        one_line(stage.run_wherry("segment", "create", "-s", "4", name, "data", code=1), "more than the 4 bytes")
        endless = stage.run_wherry("segment", "create", "-s", "1M", name, "/dev/zero", code=1)
        one_line(endless, "more than the 1048576")
    finally:
        removed(stage, name)


def test_a_segment_is_waited_for(stage):
    """with -w show waits for the segment, and times out with 3; without, it tries once"""
    name = f"posix-shm:/{word(stage)}"
    one_line(stage.run_wherry("segment", "show", name, code=1), "there is none")
    one_line(stage.run_wherry("segment", "show", "-w", "20ms", name, code=3), "there is none")
    for limit in ("20ms", "1s", "10s"):  # in which it has to look once
        told = stage.run_wherry("sem", "wait", "-v", "-w", limit, f"posix-sem:/{word(stage)}",
                                code=3).err.decode().splitlines()
        if len(told) == 2:
            break
    same([line.split(": ", 2)[2] for line in told], ["there is none; waiting", "there is none"], "what -v tells")
    shower = stage.start_wherry("segment", "show", "-t", "-w", "1m", name)
    stage.wait_asleep(shower)
    try:
        stage.run_wherry("segment", "create", "-s", "10", name, "-", input=b"late")
        same(shower.end(0).out, b"late\n")
    finally:
        removed(stage, name)


def test_sem_waits_and_times_out(stage):
    """sem wait: -w exits with 3 and takes nothing; --by and --zero"""
    posix, sysv = f"posix-sem:/{word(stage)}", f"sysv-sem:{key(stage)}"
    try:
        stage.run_wherry("sem", "create", posix, "2")
        for limit in ("20ms", "1s", "10s"):  # in which it has to come to the third
            late = stage.run_wherry("sem", "wait", "-w", limit, "-b", "3", posix, code=3)
            same(stage.run_wherry("sem", "value", posix).out, b"2\n", "those taken are given back")
            if b"deadline" in late.err:
                break
        one_line(late, f"{posix}: .*deadline")
        stage.run_wherry("sem", "wait", "-b", "2", posix)
        stage.run_wherry("sem", "create", sysv, "1", "2", "3")
        one_line(stage.run_wherry("sem", "wait", "-w", "20ms", sysv, "0", "1", "2", "-b", "2", code=3), "not possible")
        same(stage.run_wherry("sem", "value", sysv).out, b"1\n2\n3\n", "all or none")
        zero = stage.start_wherry("sem", "wait", "--zero", sysv, "0")
        stage.wait_asleep(zero)
        stage.run_wherry("sem", "wait", sysv, "0")
        zero.end(0)
        one_line(stage.run_wherry("sem", "post", sysv, "3", code=1), "an index is from 0 to 2")
        one_line(stage.run_wherry("sem", "create", sysv, "1", code=1), "there is one")
        killed = stage.start_wherry("sem", "wait", sysv, "0")
        stage.wait_asleep(killed)
        killed.signal(signal.SIGINT)
        killed.end(-signal.SIGINT)
    finally:
        removed(stage, posix, sysv)


def test_sem_gives_back_at_a_signal(stage):
    """sem wait --by: at SIGINT, SIGTERM and SIGHUP it gives back what it took and dies of it; an ignored one is none"""
    name = f"posix-sem:/{word(stage)}"

    def value():
        return int(stage.run_wherry("sem", "value", name).out)

    def waiting(**how):
        process = stage.start_wherry("sem", "wait", "-b", "3", name, **how)
        wait_for(lambda: value() == 0, "both to be taken")
        return process
    try:
        stage.run_wherry("sem", "create", name, "2")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = waiting()
            process.signal(number)
            process.end(-number)
            same(value(), 2, f"the value after {number!r}")
        process = waiting(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        process.signal(signal.SIGHUP)
        stage.run_wherry("sem", "post", name)
        process.end(0)
        same(value(), 0)
    finally:
        removed(stage, name)


# ---- mk and rm ----

def test_mk_and_rm(stage):
    """mk makes each type with exactly its mode, and refuses what is there; rm removes all of them"""
    name = word(stage)
    made = [("posix-shm", f"/{name}", ["-s", "1k"]), ("posix-sem", f"/{name}", ["--value", "3"]),
            ("sysv-shm", key(stage), ["-s", "1"]), ("sysv-sem", key(stage), ["-n", "2"]), ("fifo", "f", []),
            ("posix-mq", f"/{name}", ["-n", "2", "-s", "100"]), ("sysv-msg", key(stage), ["-s", "1000"])]
    objects = [f"{kind}:{what}" for kind, what, _ in made]
    try:
        for kind, what, more in made:
            stage.run_wherry("mk", *more, "-m", "0666", kind, what, umask=0o077)
            one_line(stage.run_wherry("mk", *more, kind, what, code=1), "there is one.*; .*remove it")
        for path in (f"/dev/shm/{name}", f"/dev/shm/sem.{name}", stage.path / "f"):
            same(stat.S_IMODE(os.lstat(path).st_mode), 0o666, str(path))
        same(ipcs(stage, "-m")[key(stage)][2], "666")
        same(ipcs(stage, "-q")[key(stage)][2], "666")
        for _ in range(2):
            stage.run_wherry("send", f"mq:///{name}", input=b"x")
        one_line(stage.run_wherry("send", "-w0", f"mq:///{name}", input=b"x", code=3), "holds 2 messages")
        one_line(stage.run_wherry("send", f"mq:///{name}", input=b"x" * 101, code=1), "100")
        stage.run_wherry("rm", *objects)
        for one in objects:
            one_line(stage.run_wherry("rm", one, code=1), f"{one}: there is no")
        stage.run_wherry("rm", "--force", *objects)
    finally:
        removed(stage, *objects)


def test_mk_of_a_fifo_that_cannot_be(stage):
    """mk fifo: says what is in its place, and what to do"""
    stage.write("file", b"precious")
    stage.fifo("fifo")
    one_line(stage.run_wherry("mk", "fifo", "fifo", code=1), "fifo:fifo: there is one already; use it, or remove it")
    one_line(stage.run_wherry("mk", "fifo", "file", code=1), "fifo:file: something else .* take another")
    one_line(stage.run_wherry("mk", "fifo", "no/fifo", code=1), "the directory does not exist; make it")
    one_line(stage.run_wherry("mk", "fifo", "file/fifo", code=1), "could not be made: Not a directory")
    same(sorted(os.listdir(stage.path)), ["fifo", "file"])


def test_rm_never_removes_a_file(stage):
    """rm removes FIFOs and sockets by their path, and neither files, directories nor what links lead to"""
    stage.write("file", b"precious")
    os.mkdir(stage.path / "directory")
    stage.fifo("fifo")
    os.symlink("fifo", stage.mine("link"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stage.mine("socket")))
    for path in ("file", "directory", "link", "fifo:file", "unix:fifo", "fifo:socket"):
        one_line(stage.run_wherry("rm", path, code=1), "is no ")
    same(sorted(os.listdir(stage.path)), ["directory", "fifo", "file", "link", "socket"])
    process = stage.run_wherry("rm", "nothing", "fifo", "file", "unix:socket", code=1)
    same(len(process.err.splitlines()), 2, "complaints")
    same(sorted(os.listdir(stage.path)), ["directory", "file", "link"])
    one_line(stage.run_wherry("rm", "unix:@abstract", code=1), "goes with the last process")


# ---- bad input ----

def test_rm_of_nothing(stage):
    """an empty word is named as one, and is no object"""
    one_line(stage.run_wherry("rm", "", code=2), "an empty word: the path is missing")
    for one, kind in (("shm:x", "shm:"), ("foo:bar", "foo:"), ("posix-sh:/x", "posix-sh:")):
        one_line(stage.run_wherry("rm", one, code=1), f'"{kind}" is no type of object .*, and there is no file')
        stage.run_wherry("rm", "-f", one)
    stage.fifo("odd:name")
    stage.run_wherry("rm", "odd:name")
    one_line(stage.run_wherry("rm", "./odd:name", code=1), "there is none")


def test_usage(stage):
    """wrong words are one line and exit code 2"""
    for words, says in (
            (["segment", "create", f"posix-shm:/{word(stage)}"], "needs a size"),
            (["segment", "create", "-s", "1x", "posix-shm:/x"], "is no size"),
            (["segment", "create", "-s", "1", "-m", "0755", "posix-shm:/x"], "is no mode"),
            (["segment", "create", "-s", "1", "posix-shm:/a/b"], "no slash but the first"),
            (["segment", "show", "posix-shm:/x", "file"], "takes no file"),
            (["segment", "dance", "posix-shm:/x"], "none of create"),
            (["segment", "show", "/x"], "begins with one of"),
            (["segment", "show", "-t", "--raw", "posix-shm:/x"], "exclude each other"),
            (["sem", "create", "posix-sem:/x", "1", "2"], "is one"),
            (["sem", "create", "posix-sem:/a/b"], "no slash but the first"),
            (["sem", "wait", "posix-sem:/x", "1"], "no indices"),
            (["sem", "create", "sysv-sem:0x1", "40000"], "no whole number"),
            (["sem", "value", "fifo:x"], "is no semaphore"),
            (["mk", "posix-shm", "/x"], "needs a size"),
            (["mk", "file", "x"], "is no type"),
            (["mk", "fifo", ""], "the path is missing"),
            (["mk", "sysv-msg", "0x1", "-s", "0"], "of 0 bytes cannot be"),
            (["mk", "posix-mq", "/x", "-s", "0"], "of 0 bytes cannot be"),
            (["sem", "create", "-n", "3", "sysv-sem:0x1", "1", "2"], "-n says 3 semaphores, and 2 have a value"),
            (["sem", "wait", "-z", "-b", "2", "sysv-sem:0x1"], "-z changes nothing"),
            (["sem", "post", "-z", "sysv-sem:0x1"], "-z is for wait, and says nothing to post"),
            (["sem", "value", "-n", "2", "sysv-sem:0x1"], "-n is for create"),
            (["segment", "stat", "-s", "10", "posix-shm:/x"], "-s is for create, and says nothing to stat"),
            (["segment", "write", "--text", "posix-shm:/x"], "-t is for show"),
            (["mk", "-n", "3", "sysv-msg", "0x1"], "in any number of messages"),
            (["mk", "-s", "1k", "fifo", "x"], "-s: fifo takes none"),
            (["mk", "-n", "2", "fifo", "x"], "-n: fifo takes none"),
            (["mk", "--value", "0", "fifo", "x"], "--value: fifo takes none"),
            (["mk", "-s", "0", "posix-sem", "/x"], "-s: posix-sem takes none"),
            (["mk", "-n", "1", "posix-sem", "/x"], "-n: posix-sem takes none"),
            (["mk", "-s", "1", "sysv-sem", "0x1"], "-s: sysv-sem takes none"),
            (["mk", "-s", "1", "-n", "2", "posix-shm", "/x"], "-n: posix-shm takes none"),
            (["mk", "-s", "1", "--value", "2", "sysv-shm", "0x1"], "--value: sysv-shm takes none"),
            (["mk", "--value", "2", "posix-mq", "/x"], "--value: posix-mq takes none"),
            (["mk", "sysv-sem", "#3"], "gives out the numbers"),
            (["rm"], "expects OBJECT"),
            (["rm", "sysv-shm:0x"], "write 0xKEY")):
        one_line(stage.run_wherry(*words, code=2), says)


def test_a_full_dev_shm(stage):
    """a full /dev/shm is one line that says where there is no room"""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        raise tap.Skip("needs root, for a /dev/shm of its own")
    script = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"'
    inside = ["unshare", "-m", "sh", "-c", script, "sh", stage.wherry]
    for words in (["segment", "create", "-s", "1M", "posix-shm:/big"], ["mk", "-s", "65k", "posix-shm", "/big"]):
        one_line(stage.run(*inside, *words, code=1), "no room for .* in /dev/shm .df /dev/shm.")


def test_somebody_elses_objects(stage):
    """another user's objects are refused with his number, and taken with --any-owner"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root, to be another user as well")
    name = word(stage)
    objects = [f"posix-shm:/{name}", f"posix-sem:/{name}", f"sysv-shm:{key(stage)}", f"sysv-sem:{key(stage)}"]
    try:
        for one in objects:
            kind, what = one.split(":")
            size = ["-s", "10"] if "shm" in kind else []
            made = stage.run_wherry("mk", *size, "-m", "0666", kind, what, code=None, user=65534, group=65534)
            if made.popen.returncode != 0 and b"Permission denied" in made.err:
                raise tap.Skip("the build is in a directory that other users may not enter")
            same(made.err, b"", one)
        for one in objects:
            looks = ["segment", "show"] if "shm" in one else ["sem", "value"]
            one_line(stage.run_wherry(*looks, one, code=1), f"{one}: belongs to uid 65534.*--any-owner")
            stage.run_wherry(*looks, "--any-owner", one)
        stage.run_wherry("rm", *objects)
        stage.run_wherry("mk", "-s", "10", "sysv-shm", key(stage))
        one_line(stage.run_wherry("segment", "show", objects[2], user=65534, group=65534, code=1), "its mode 0600")
        one_line(stage.run_wherry("rm", objects[2], user=65534, group=65534, code=1), "belongs to uid 0")
    finally:
        removed(stage, *objects)


def test_more_than_a_segment_has_room_for(stage):
    """what does not fit names the segment, and where it came from"""
    name = f"posix-shm:/{word(stage)}"
    try:
        stage.run_wherry("mk", "-s", "4", "posix-shm", f"/{word(stage)}")
        one_line(stage.run_wherry("segment", "write", name, input=b"12345", code=1),
                 f"{name}: standard input has more than the 4 bytes that there is room for")
    finally:
        removed(stage, name)


def test_without_dev_shm(stage):
    """where there is no /dev/shm nothing waits for one"""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        raise tap.Skip("needs root, for a /dev of its own")
    script = 'mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"'
    inside = ["unshare", "-m", "sh", "-c", script, "sh", stage.wherry]
    for words in (["sem", "create", "posix-sem:/x", "3"], ["segment", "create", "-s", "1", "posix-shm:/x"],
                  ["sem", "create", "sysv-sem:0x1", "3"], ["recv", "shm://x"]):
        one_line(stage.run(*inside, *words, code=1), "there is no /dev/shm to make it in; mount one")
