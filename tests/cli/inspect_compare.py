# tests/cli/inspect_compare.py - wherry ls beside ipcs, lsipc, lslocks, ss and lsof on the same host: it misses nothing.
#
# SPDX-License-Identifier: MIT
"""Each of them is asked before wherry and after.  What it shows both times was there all the while, and wherry must
have it, too, with its holder; what came or went meanwhile is not compared.  A program of ours makes objects of all
kinds, so that none of them has nothing to show."""
import ctypes
import json
import os
import re
import signal
import sys

import run
import tap

MAKER = r'''
import ctypes, fcntl, mmap, os, select, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
word, key = sys.argv[1], int(sys.argv[2])
def good(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
kept = []
pipe = os.pipe()
os.mkfifo("fifo")
fifo = os.open("fifo", os.O_RDWR)
kept += socket.socketpair()
server = socket.socket(socket.AF_UNIX); server.bind("socket"); server.listen()
client = socket.socket(socket.AF_UNIX); client.connect("socket"); accepted = server.accept()[0]
named = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); named.bind("\0" + word)
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    try:
        tcp = socket.socket(family); tcp.bind((host, 0)); tcp.listen()
    except OSError:
        continue
    peer = socket.create_connection(tcp.getsockname()[:2])
    udp = socket.socket(family, socket.SOCK_DGRAM); udp.bind((host, 0))
    sender = socket.socket(family, socket.SOCK_DGRAM); sender.connect(udp.getsockname())
    kept += [tcp, peer, tcp.accept()[0], udp, sender]
kept.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
def shared(path, keep):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, 8192)
    kept.append(mmap.mmap(fd, 8192, mmap.MAP_SHARED))
    if not keep:
        os.close(fd)
    return fd
shared("mapped", False)
shared("deleted", False); os.unlink("deleted")
shared("/dev/shm/" + word, True)
memory = os.memfd_create(word)
os.ftruncate(memory, 4096)
kept.append(mmap.mmap(memory, 4096, mmap.MAP_SHARED))
kept.append(mmap.mmap(-1, 4096, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
flock = os.open("flock", os.O_RDWR | os.O_CREAT); fcntl.flock(flock, fcntl.LOCK_EX)
record = os.open("record", os.O_RDWR | os.O_CREAT); fcntl.lockf(record, fcntl.LOCK_EX, 5, 10)
lease = os.open("lease", os.O_RDWR | os.O_CREAT); fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_WRLCK)
good(libc.eventfd(0, 0))
good(libc.timerfd_create(1, 0))
good(libc.signalfd(-1, ctypes.create_string_buffer(128), 0))
os.pidfd_open(os.getpid())
epoll = select.epoll(); epoll.register(pipe[0])
libc.shmat.restype = ctypes.c_void_p
ids = [good(libc.shmget(key, 4096, 0o1600)), good(libc.shmget(0, 4096, 0o1600)),
       good(libc.semget(key, 2, 0o1600)), good(libc.msgget(key, 0o1600))]
libc.shmat(ids[0], None, 0)
libc.shmat(ids[1], None, 0)
good(libc.shmctl(ids[1], 0, None))
child = os.fork()
if child == 0:
    fcntl.flock(os.open("flock", os.O_RDWR), fcntl.LOCK_EX) # waits
if child:
    print(child, *ids, flush=True)
signal.pause()
'''


def word(stage):
    return f"wherry-cli-{os.getpid()}-{stage.path.name}"


def key(stage):
    return 0x77000000 | (os.getpid() & 0xffff) << 8 | sum(stage.path.name.encode()) & 0xff


class Made:
    """The program that makes known objects; its System V objects are removed at the end."""

    def __init__(self, stage):
        for name in ("fifo", "socket", "mapped", "flock", "record", "lease"):
            stage.mine(name)
        self.stage = stage
        self.process = stage.start(sys.executable, "-c", MAKER, word(stage), str(key(stage)))
        self.process.read(lambda: b"\n" in self.process.out, "its child's number")
        self.child, *self.ids = (int(n) for n in self.process.out.split())
        self.pids = {self.process.pid, self.child}

    def wait(self):
        program = os.readlink(f"/proc/{self.child}/exe")
        tap.wait_for(lambda: tap.asleep(self.child, program), "the child to wait for the lock")

    def end(self):
        libc = ctypes.CDLL(None)
        libc.shmctl(self.ids[0], 0, None)
        libc.semctl(self.ids[2], 0, 0)
        libc.msgctl(self.ids[3], 0, None)
        os.unlink(f"/dev/shm/{word(self.stage)}")
        os.kill(self.child, signal.SIGKILL)  # it has the same standard output
        self.process.popen.kill()
        self.process.end(None)
        os.waitpid(self.child, 0)  # it has come to us


def output(stage, *words):
    """What a program prints, whatever it thinks of what it could not see."""
    return stage.run(stage.need(words[0]), *words[1:], code=None).out.decode(errors="replace")


# ---- what each of them knows, as (kind, number, pid); pid None: it does not say ----

def by_ipcs(stage, _):
    known = set()
    for option, kind in (("-m", "sysv-shm"), ("-s", "sysv-sem"), ("-q", "sysv-msg")):
        for line in output(stage, "ipcs", option).splitlines():
            fields = line.split()
            if fields and fields[0].startswith("0x"):
                known.add((kind, int(fields[1]), None))
    return known


def by_lsipc(stage, _):
    known = set()
    for option, kind in (("-m", "sysv-shm"), ("-s", "sysv-sem"), ("-q", "sysv-msg")):
        for rows in json.loads(output(stage, "lsipc", "-J", option) or "{}").values():
            known.update((kind, int(row["id"]), None) for row in rows)
    return known


def by_lslocks(stage, made):
    """Of the locks of others only the file: who took one may have given it to a child."""
    return {("lock", int(row["inode"]), int(row["pid"]) if int(row["pid"]) in made.pids else None)
            for row in run.lslocks(stage, "PID,INODE,TYPE,MODE")}


def by_ss(stage, _):
    known = set()
    for line in output(stage, "ss", "-xtupaneOH").splitlines():
        match = (re.match(r"u_\w+\s+\S+\s+\d+\s+\d+\s+.*?\s(\d+)\s+\S+\s+\d+\s", line + " ")
                 or re.search(r"\bino:(\d+)", line))
        if match and int(match.group(1)):
            pids = re.findall(r"\bpid=(\d+)", line)
            known.update(("socket", int(match.group(1)), int(pid)) for pid in pids)
            known.add(("socket", int(match.group(1)), None))
    return known


def of_lsof(entry, pid, made):
    """What one entry of lsof names: kind and number; None: no kind of ours, or nothing that it tells from others."""
    kind, name = entry.get("t", ""), entry.get("n", "")
    inode = int(entry["i"]) if entry.get("i", "").isdigit() else 0
    if kind == "FIFO":
        return ("pipe" if name == "pipe" else "fifo", inode)
    if kind in ("unix", "sock", "netlink"):
        return ("socket", inode)
    if kind in ("IPv4", "IPv6"):
        return ("socket", int(entry["d"])) if entry.get("d", "").isdigit() else None
    if kind == "a_inode":
        for anonymous, ours in (("eventfd", "eventfd"), ("eventpoll", "epoll"), ("timerfd", "timerfd"),
                                ("signalfd", "signalfd"), ("pidfd", "pidfd")):
            if name.startswith(f"[{anonymous}"):
                return (ours, None)
    if pid in made.pids and entry["f"] in ("mem", "DEL"): # which of others' are shared it does not say
        if name.startswith("/SYSV"):
            return ("sysv-shm", inode)
        if name.startswith((str(made.stage.path), "/dev/shm/", "/memfd:", "/dev/zero")):
            return ("file", inode)
    if pid in made.pids and name.startswith(("/dev/shm/", "/memfd:")):
        return ("file", inode)
    return None


def by_lsof(stage, made):
    known, pid, entry = set(), None, {}

    def close():
        what = of_lsof(entry, pid, made) if entry else None
        if what and what[1] != 0:
            known.add((*what, pid))
    for line in output(stage, "lsof", "-nP", "-F", "pftdin").splitlines():
        letter, value = line[:1], line[1:]
        if letter in ("p", "f"):
            close()
            entry = {"f": value} if letter == "f" else {}
        if letter == "p":
            pid = int(value)
        elif entry:
            entry.setdefault(letter, value)
    close()
    return known


# ---- what wherry knows ----

SOCKETS = ("unix", "tcp", "udp", "socket")


def by_wherry(stage):
    known = set()
    got = stage.run_wherry("ls", "-J", "-o", "type,inode,id,holders", code=None).out
    for row in json.loads(got)["objects"]:
        kind = row["type"]
        pids = [int(holder.split()[0]) for holder in row["holders"] if holder] + [None]
        for pid in pids:
            known.add((kind, None, pid))
            if row["id"] is not None and kind.startswith("sysv-"):
                known.add((kind, row["id"], pid))
            if row["inode"] is not None:
                known.add(("socket" if kind in SOCKETS else kind, row["inode"], pid))
                known.add(("lock", row["inode"], pid))
                known.add(("file", row["inode"], pid))
    return known


ROUNDS = 5


def compare(stage, ask, least):
    """Others on this host may let go of a thing and take it again between the two looks: of theirs only what is missed
    each time counts."""
    def is_made(what):
        return what[2] in made.pids or what[1] in made.ids
    made = Made(stage)
    missed = None
    try:
        made.wait()
        for _ in range(ROUNDS):
            before = ask(stage, made)
            ours = by_wherry(stage)
            theirs = before & ask(stage, made)
            of_made = {what for what in theirs if is_made(what)}
            if len(of_made) < least:
                raise tap.Failure(f"of what was made it shows {len(of_made)}, and not {least}: "
                                  f"{sorted(of_made, key=str)}")
            now = theirs - ours
            missed = now if missed is None else missed & now
            if any(is_made(what) for what in now):
                missed = now
                break
            if not missed:
                break
    finally:
        made.end()
    if missed:
        raise tap.Failure(f"of {len(theirs)} that it shows wherry misses {len(missed)}: {sorted(missed, key=str)[:20]}")
    print(f"# {len(theirs)} compared, {len(of_made)} of them made here, missed 0")


def test_ipcs(stage):
    """ipcs knows of no System V object that wherry does not know"""
    compare(stage, by_ipcs, 3)


def test_lsipc(stage):
    """lsipc knows of no System V object that wherry does not know"""
    compare(stage, by_lsipc, 3)


def test_lslocks(stage):
    """lslocks knows of no lock that wherry does not know, nor of another holder or waiter"""
    compare(stage, by_lslocks, 4)


def test_ss(stage):
    """ss knows of no Unix, TCP or UDP socket that wherry does not know, nor of another process that has it"""
    compare(stage, by_ss, 20)


def test_lsof(stage):
    """lsof knows of no pipe, FIFO, socket, eventfd, mapping that wherry does not know, nor of another holder"""
    compare(stage, by_lsof, 40)
