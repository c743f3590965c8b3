# tests/cli/inventory.py - `wherry ls`, `show`, `who` and `peers` from outside; cases for tests/cli/run.py.
#
# SPDX-License-Identifier: MIT
import fcntl
import json
import os
import re
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import time

import run
import tap
from run import one_line, same

PARTIAL = 4


def look(stage, *words, code=0):
    """What a verb prints as JSON.  Something may be hidden on this host, even from root: then 4 is as good as 0."""
    process = stage.run_wherry(*words, "-q", "-J", code=None)
    if process.popen.returncode not in (code, PARTIAL if code == 0 else code):
        raise tap.Failure(f"{process}: exit code {process.popen.returncode}, {process.err!r}")
    return json.loads(process.out)


def holder(stage, text, *fds, **how):
    """A Python program that makes things, prints what it likes, and stays until its input ends."""
    process = stage.start(sys.executable, "-c", text + "\nimport sys\nprint('made', flush=True)\nsys.stdin.read()",
                          stdin=subprocess.PIPE, pass_fds=fds, **how)
    process.read(lambda: process.out.endswith(b"made\n"), "what it makes")
    return process


def end(*processes):
    for process in processes:
        process.popen.kill()
        process.end(None)


def inode(fd):
    return os.fstat(fd).st_ino


# ---- what is found ----

def test_ls_and_show_a_pipe(stage):
    """a pipe between two processes: ls, show, who and peers agree on who writes and who reads"""
    reading, writing = os.pipe()
    writer, reader = holder(stage, "", writing), holder(stage, "", reading)
    name = f"pipe:[{inode(reading)}]"
    os.close(reading)
    os.close(writing)
    rows = [r for r in look(stage, "ls", "pipe", "-o", "+INODE,REASON")["objects"] if r["name"] == name]
    same([(r["type"], r["holds"], r["state"]) for r in rows], [("pipe", 2, "live")])
    same(sorted(int(h.split()[0]) for h in rows[0]["holders"]), sorted([writer.pid, reader.pid]))
    shown = look(stage, "show", name)["objects"]
    same({(h["pid"], h["access"], h["how"]) for h in shown[0]["holds"]},
         {(writer.pid, "w", "open"), (reader.pid, "r", "open")})
    text = stage.run_wherry("show", "-q", f"[{rows[0]['inode']}]", code=None).out.decode()
    for line in (f"name       {name}", f"held by    {min(writer.pid, reader.pid)} (python3"):
        if line not in text:
            raise tap.Failure(f"{line!r} is not in {text!r}")
    same({h["pid"] for h in look(stage, "who", name)["holders"]}, {writer.pid, reader.pid})
    peers = [p for p in look(stage, "peers", f"{writer.pid}:{writing}")["peers"]]
    same([(p["object"], p["peer"], p["peerfd"]) for p in peers], [(name, reader.pid, reading)])
    end(writer, reader)


def test_who_a_mapped_file(stage):
    """who names a process that has a file mapped and not open, also by another name of the file"""
    stage.write("file", b"x" * 4096)
    process = holder(stage, "import mmap\nf = open('file', 'r+b')\nm = mmap.mmap(f.fileno(), 4096)\nf.close()\n"
                            "import gc\ngc.collect()")
    os.link(stage.path / "file", stage.mine("other"))
    for name in ("file", "other", str(stage.path / "file"), "lock:file"):
        found = look(stage, "who", name)["holders"]
        if not any(h["pid"] == process.pid and h["how"] == "mapped" and h["access"] == "rw" for h in found):
            raise tap.Failure(f"{name}: {found}")
    end(process)


def test_who_a_file_by_whom_it_was_made(stage):
    """a file that wherry lock made, which has no name at first, is shown by its name, however it was asked for"""
    lock = stage.start_wherry("lock", "made", "--", "sh", "-c", "echo in; read line", stdin=subprocess.PIPE)
    lock.read_out(3)
    stage.mine("made")
    for name in ("made", "./made", str(stage.path / "made"), "lock:made"):
        same({h["object"] for h in look(stage, "who", name)["holders"]}, {str(stage.path / "made")}, name)
    lock.shut()
    lock.end(1)


def test_who_a_directory(stage):
    """who names a process whose current directory it is, and one that has it open"""
    os.mkdir(stage.mine("there"))
    inside = holder(stage, "import os\nos.chdir('there')")
    opened = holder(stage, "import os\nfd = os.open('there', os.O_RDONLY)")
    found = look(stage, "who", "there")["holders"]
    same({h["object"] for h in found}, {str(stage.path / "there")})
    same({(h["pid"], h["how"], h["fd"] is None, h["evidence"]) for h in found},
         {(inside.pid, "open", True, "current directory"), (opened.pid, "open", False, None)})
    end(inside, opened)


def test_odd_bytes(stage):
    """what ls and locks show of a name with odd bytes is taken back; a name that has a backslash and x comes first"""
    wanted = {"a\n\x01b": "a\\x0a\\x01b", "c\\x41": "c\\x5cx41", "cA": "cA"}
    files = {name: open(stage.path / stage.write(name, b""), "r+b") for name in wanted}
    for name, file in files.items():
        fcntl.flock(file, fcntl.LOCK_EX)
        shown = stage.run_wherry("locks", "-n", "-r", "-o", "FILE", str(stage.path / name), code=None).out
        for given in (name, wanted[name]):
            found = look(stage, "who", given)["holders"]
            same({h["fd"] for h in found}, {file.fileno()}, given)
            for verb in (["show"], ["locks"], ["locks", "cA"]):
                out = stage.run_wherry(verb[0], "-J", *verb[1:], given, code=None).out
                same(json.dumps(str(stage.path / name)).encode() in out, True, f"{verb} {given}")
        same(shown.strip().decode(), str(stage.path / wanted[name]))
    named = holder(stage, "with open('/proc/self/comm', 'w') as comm: comm.write('1\\n2 (x')", files["cA"].fileno())
    row = next(r for r in look(stage, "ls", "file", "--pid", str(named.pid))["objects"] if r["name"].endswith("/cA"))
    same(sorted(row["holders"]), sorted([f"{os.getpid()} (python3)", f"{named.pid} (1?2 (x)"]))
    end(named)
    for file in files.values():
        file.close()


def test_who_a_socket(stage):
    """who finds a listening socket by path, by URL and by what ls calls it; peers name the client"""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(stage.mine("sock")))
    listener.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(stage.path / "sock"))
    accepted, _ = listener.accept()
    theirs = holder(stage, "", client.fileno())
    for name in (str(stage.path / "sock"), f"unix://{stage.path}/sock", f"unix:{stage.path}/sock"):
        found = look(stage, "who", name)["holders"]
        if not any(h["pid"] == os.getpid() and h["fd"] == listener.fileno() for h in found):
            raise tap.Failure(f"{name}: {found}")
    peers = look(stage, "peers", f"{os.getpid()}:{accepted.fileno()}")["peers"]
    same({(p["peer"], p["peerfd"]) for p in peers},
         {(theirs.pid, client.fileno()), (os.getpid(), client.fileno())})
    for each in (listener, client, accepted):
        each.close()
    end(theirs)


def holders_of(stage, name, code=0):
    """Who holds it: (pid, how)."""
    return {(h["pid"], h["how"]) for h in look(stage, "who", name, code=code)["holders"]}


def test_who_a_file_made_anew(stage):
    """a path means the file that is there: not its namesake that was unlinked, until nothing is there any more"""
    locks = "import fcntl\nf = open('file', 'r+b')\nfcntl.flock(f, fcntl.LOCK_EX)"
    path = str(stage.path / stage.write("file", b""))
    old = holder(stage, locks)
    forms = ("file", path, "./file", f"file:{path}", f"file://{path}", "lock:file")
    os.unlink(path)
    for name in (path, f"file:{path}", f"lock:{path}"):
        same(holders_of(stage, name), {(old.pid, "open"), (old.pid, "locked")}, name)
    stage.write("file", b"")
    for name in forms:
        same(holders_of(stage, name, 1), set(), name)
        same([o["holds"] for o in look(stage, "show", name)["objects"]], [[]], name)
    new = holder(stage, locks)
    for name in forms:
        same(holders_of(stage, name), {(new.pid, "open"), (new.pid, "locked")}, name)
    os.unlink(path)
    same(holders_of(stage, path), {(each.pid, how) for each in (old, new) for how in ("open", "locked")})
    end(old, new)


def test_who_a_fifo_and_a_socket_made_anew(stage):
    """the same of a FIFO and of a socket's file"""
    for make, opens, form in (("os.mkfifo(n)", "f = os.open(n, os.O_RDWR)", "fifo:"),
                              ("s = socket.socket(socket.AF_UNIX)", "s.bind(n)\ns.listen()", "unix:")):
        text = f"import os, socket\nn = 'again'\n{make}\n{opens}"
        path = str(stage.mine("again"))
        old = holder(stage, text)
        os.unlink(path)
        same(holders_of(stage, form + ("again" if form == "unix:" else path)), {(old.pid, "open")}, form)
        new = holder(stage, text)
        for name in (path, "again", form + path, f"{form}//{path}"):
            same(holders_of(stage, name), {(new.pid, "open")}, name)
        end(old, new)
        os.unlink(path)


def test_who_a_file_of_another_mount_namespace(stage):
    """a file of the same path in another mount namespace is not the one that a path means"""
    if os.geteuid() != 0:
        raise tap.Skip("only root mounts")
    stage.write("file", b"")
    text = ("import fcntl\nf = open('file', 'w')\nfcntl.flock(f, fcntl.LOCK_EX)\nimport sys\n"
            "print('made', flush=True)\nsys.stdin.read()")
    there = stage.start(stage.need("unshare"), "--mount", "sh", "-c", 'mount -t tmpfs none "$1" && cd "$1" || exit 9\n'
                        'exec "$2" -c "$3"', "sh", str(stage.path), sys.executable, text, stdin=subprocess.PIPE)
    there.read(lambda: there.out.endswith(b"made\n"), "that it has the file")
    same(holders_of(stage, str(stage.path / "file"), 1), set())
    os.unlink(stage.path / "file")
    same(holders_of(stage, str(stage.path / "file")), {(there.pid, "open"), (there.pid, "locked")})
    end(there)


def test_who_a_path_with_a_colon(stage):
    """a path may have a colon in it: after / or ., and after what is no scheme and no type"""
    names = ("a:b", "fifo:x", "tcp:y", "pipe:z")
    for name in names:
        stage.write(name, b"")
    process = holder(stage, f"f = [open(n) for n in {names}]")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(stage.mine("so:ck")))
    for name in names:
        for given in (f"./{name}", str(stage.path / name), f"file:{name}", f"lock:./{name}"):
            same(holders_of(stage, given), {(process.pid, "open")}, given)
    same(holders_of(stage, "a:b"), {(process.pid, "open")})
    for given in (str(stage.path / "so:ck"), "./so:ck", "so:ck", f"unix:{stage.path}/so:ck"):
        same(holders_of(stage, given), {(os.getpid(), "open")}, given)
    sock.close()
    end(process)


def shown(stage, name):
    return {o["name"] for o in look(stage, "show", name)["objects"]}


def test_urls_of_sockets(stage):
    """a channel's URL finds its sockets: by localhost, short numbers, no host and all addresses"""
    def port_of(sock):
        return sock.getsockname()[1]
    bound = {}
    for kind, scheme in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")):
        for host in ("127.0.0.1", "0.0.0.0"):
            sock = bound[scheme, host] = socket.socket(socket.AF_INET, kind)
            sock.bind((host, 0))
            if kind == socket.SOCK_STREAM:
                sock.listen()
    for scheme in ("tcp", "udp"):
        port = port_of(bound[scheme, "127.0.0.1"])
        for host in ("localhost", "LOCALHOST", "127.1", "127.0.0.1", "", "0x7f000001"):
            same(shown(stage, f"{scheme}://{host}:{port}"), {f"{scheme}:127.0.0.1:{port}"}, host)
        same(shown(stage, f"{scheme}://localhost:{port}?ttl=3"), {f"{scheme}:127.0.0.1:{port}"})
        same(look(stage, "show", f"{scheme}://127.2:{port}", code=1)["objects"], [])
        port = port_of(bound[scheme, "0.0.0.0"])
        same(shown(stage, f"{scheme}://*:{port}"), {f"{scheme}:0.0.0.0:{port}"})
    one_line(stage.run_wherry("who", "-q", "tcp://127.0.0.1", code=1), "a port is a number")
    for sock in bound.values():
        sock.close()


def test_urls_of_files(stage):
    """a path in a URL is percent-decoded and has options behind it, unless a file is called just so"""
    names = ("Af", "q?x", "%41g", "a b")
    for name in names:
        os.mkfifo(stage.mine(name))
    process = holder(stage, f"import os\nf = [os.open(n, os.O_RDWR) for n in {names}]")
    for given, name in (("fifo:./%41f", "Af"), (f"fifo://{stage.path}/%41f?frame=line", "Af"), ("fifo:q%3fx", "q?x"),
                        ("fifo:q?x", "q?x"), ("fifo:./%2541g", "%41g"), ("fifo:%41g", "%41g"), ("fifo:a%20b", "a b"),
                        ("file:a%20b", "a b")):
        same(shown(stage, given), {f"fifo:{stage.path / name}"}, given)
    os.unlink(stage.path / "%41g")
    same(shown(stage, f"fifo://{stage.path}/%41g"), {f"fifo:{stage.path}/%41g"}, "what was called just so")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(stage.mine("Ax")))
    for given in ("unix:./%41x", f"unix://{stage.path}/%41x?mode=0600", "unix+seqpacket:%41x"):
        same(shown(stage, given), {f"unix:{stage.path}/Ax"}, given)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0{stage.path}")
    for given in (f"unix:@{stage.path}", f"unix:@{stage.path}?listen", f"unix:%40{stage.path}"):
        same(shown(stage, given), {f"unix:@{stage.path}"}, given)
    sock.close()
    abstract.close()
    end(process)


def test_urls_of_objects(stage):
    """a System V queue by its file, and keys, numbers and names of objects in any spelling; a ring between two uids"""
    file = stage.write("app.conf", b"")
    key = os.stat(stage.path / file).st_ino & 0xffff | (os.stat(stage.path / file).st_dev & 0xff) << 16 | ord("q") << 24
    stage.run_wherry("mk", "sysv-msg", f"./{file}?id=q")
    try:
        made = look(stage, "show", f"sysv-msg:0x{key:x}")["objects"]
        same(len(made), 1)
        for given in (f"sysv:./{file}?id=q", f"sysv:{file}?mode=0600&id=q", f"sysv://{stage.path}/{file}?id=q",
                      f"sysv:0x{key:x}", f"sysv:0x{key:010x}", f"sysv:0x{key:X}", f"sysv-msg:0x{key:010X}",
                      f"sysv-msg:./{file}?id=q", f"sysv-msg:#{made[0]['id']:08}"):
            same(look(stage, "show", given)["objects"], made, given)
        one_line(stage.run_wherry("show", "-q", "sysv:./missing?id=q", code=1), "missing")
    finally:
        stage.run_wherry("rm", f"sysv-msg:0x{key:x}", code=None)
    ring = f"wherry-test-{os.getpid()}"
    receiver = stage.start_wherry("recv", f"shm://{ring}?share=65534")
    door = f"/dev/shm/wherry-{os.geteuid()}-shared/{ring}"
    stage.wait_path(door)
    same((receiver.pid, "open") in holders_of(stage, f"shm://{ring}?share=65534"), True)
    receiver.signal(signal.SIGTERM)
    receiver.end(None)


def test_a_path_that_may_not_be_looked_at(stage):
    """a path in a directory that may not be searched is no object that does not exist: the permission is said"""
    stage.write("file", b"")
    os.chmod(stage.path, 0o700)
    path = str(stage.path / "file")
    for verb in ("who", "show", "locks"):
        process = as_nobody(stage, verb, "-q", path).end(1)
        if path not in process.err.decode() or b"permission" not in process.err or b"as root" not in process.err:
            raise tap.Failure(f"{verb}: {process.err!r}")
    process = as_nobody(stage, "who", "-q", "/nothing").end(1)
    same(b"there is no object" in process.err, True)


# ---- peers: a row for each descriptor here and each there, whatever is mapped ----

COLUMNS = "FD,THREAD,HOW,ACCESS,OBJECT,PEER,PEERFD,PEERTHREAD,PEERHOW,PEEROBJECT,EVIDENCE"
# mmap.mmap() has a descriptor of its own for each
MANY_MAPS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
for i in range(4000):
    assert libc.mmap(None, 4096, 3, 1, %d, 0) != ctypes.c_void_p(-1).value
"""


def peers_of(stage, what, *objects):
    """The rows of these objects, all columns; what each of them says."""
    return [row for row in look(stage, "peers", str(what), "-o", COLUMNS)["peers"] if row["object"] in objects]


def test_peers_of_many_mappings(stage):
    """4000 mappings in each of two processes are one row, soon; what a process does to itself is none"""
    memory = os.memfd_create("many")
    os.truncate(memory, 4096)
    opened = holder(stage, MANY_MAPS % memory, memory)
    mapped = holder(stage, MANY_MAPS % memory + f"os.close({memory})", memory)
    again = os.open(f"/proc/self/fd/{memory}", os.O_RDWR)
    number = inode(memory)
    (name,) = [o["name"] for o in look(stage, "ls", "memfd", "-o", "NAME,INODE")["objects"] if o["inode"] == number]
    same([(r["fd"], r["peer"]) for r in peers_of(stage, os.getpid(), name)],
         [(fd, p.pid) for fd in sorted((memory, again)) for p in sorted((opened, mapped), key=lambda p: p.pid)],
         "two descriptors, two peers, and not oneself")
    os.close(memory)
    os.close(again)
    for one, fd, other, there in ((opened, memory, mapped, None), (mapped, None, opened, memory)):
        for _ in range(3):  # the machine may stand still meanwhile
            began = time.monotonic()
            (row,) = peers_of(stage, one.pid, name)
            took = time.monotonic() - began
            if took <= 10:
                break
        same((row["fd"], row["peer"], row["peerfd"], row["access"], row["evidence"]),
             (fd, other.pid, there, "rw", "the same object"))
        same((row["how"], row["peerhow"]), (["open", "mapped"] if fd is not None else ["mapped"],
                                            ["open", "mapped"] if there is not None else ["mapped"]))
        if took > 10:
            raise tap.Failure(f"it took {took} s")
    end(mapped)
    same([(r["fd"], r["peer"], r["evidence"]) for r in peers_of(stage, opened.pid, name)], [(memory, None, None)],
         "alone")
    end(opened)


def at_work(stage, name):
    """Who has it open and mapped; there may be no such thing yet."""
    process = stage.run_wherry("who", "-q", "-J", name, code=None)
    rows = json.loads(process.out)["holders"] if process.out else []
    open_at, mapped_at = ({r["pid"] for r in rows if r["how"] == how} for how in ("open", "mapped"))
    return open_at & mapped_at


def test_peers_of_a_ring(stage):
    """a ring between two processes is one row"""
    name = f"wherry-inventory-{os.getpid()}"
    recv = stage.start_wherry("recv", f"shm://{name}")
    send = stage.start_wherry("send", f"shm://{name}", stdin=subprocess.PIPE)
    run.wait_for(lambda: at_work(stage, f"ring:{name}") == {recv.pid, send.pid}, "both to have it")
    rows = peers_of(stage, recv.pid, f"ring:{name}")
    same([(r["peer"], r["access"], r["fd"] is None, r["peerfd"] is None) for r in rows],
         [(send.pid, "rw", False, False)])
    send.popen.stdin.close()
    send.end(0)
    recv.end(0)


def test_peers_within_a_process(stage):
    """both ends of a socketpair or a pipe in one process are peers by descriptor; copies of an end are rows each"""
    process = holder(stage, "import os, socket\na, b = socket.socketpair()\nr, w = os.pipe()\nv = os.dup(w)\n"
                            "e = os.eventfd(0)\nf = os.dup(e)\n"
                            "print(a.fileno(), b.fileno(), r, w, v, e, f, os.fstat(r).st_ino)")
    a, b, r, w, v, e, f, number = map(int, process.out.split()[:8])
    rows = look(stage, "peers", str(process.pid), "-o", COLUMNS)["peers"]
    here = {(row["fd"], row["peer"], row["peerfd"]) for row in rows if row["fd"] in (a, b, r, w, v, e, f)}
    pid = process.pid
    same(here, {(a, pid, b), (b, pid, a), (r, pid, w), (r, pid, v), (w, pid, r), (v, pid, r), (e, None, None),
                (f, None, None)})
    same(len(peers_of(stage, f"{pid}:{r}", f"pipe:[{number}]")), 2)
    end(process)


def test_peers_of_a_thread(stage):
    """a thread with descriptors of its own has rows of its own, that THREAD and PEERTHREAD tell apart"""
    reading, writing = os.pipe()
    thread = ("import ctypes, threading\ndone, ready = threading.Event(), threading.Event()\n"
              "def work():\n"
              "    assert ctypes.CDLL(None).unshare(0x400) == 0  # CLONE_FILES\n"
              "    ready.set()\n"
              "    done.wait()\n"
              "t = threading.Thread(target=work, daemon=True)\nt.start()\nready.wait()\nprint(t.native_id)")
    process = holder(stage, thread, writing)
    tid, name = int(process.out.split()[0]), f"pipe:[{inode(reading)}]"
    os.close(writing)
    rows = peers_of(stage, f"{os.getpid()}:{reading}", name)
    same([(r["thread"], r["peer"], r["peerfd"], r["peerthread"]) for r in rows],
         [(None, process.pid, writing, None), (None, process.pid, writing, tid)])
    rows = peers_of(stage, f"{process.pid}:{writing}", name)
    same([(r["fd"], r["thread"], r["peer"], r["peerfd"], r["peerthread"]) for r in rows],
         [(writing, None, os.getpid(), reading, None), (writing, tid, os.getpid(), reading, None)])
    os.close(reading)
    end(process)


def test_ls_by_pid_and_owner(stage):
    """--pid lists what a process holds, --owner what a user owns, types filter, a column more is shown"""
    first = holder(stage, "import os\na, b = os.pipe()\nprint(os.fstat(a).st_ino)")
    number = int(first.out.split()[0])
    rows = look(stage, "ls", "--pid", str(first.pid), "-o", "TYPE,NAME,INODE")["objects"]
    if not any(r["name"] == f"pipe:[{number}]" and r["inode"] == number for r in rows):
        raise tap.Failure(f"{rows}")
    for row in look(stage, "ls", "--pid", str(first.pid), "sockets", "memory")["objects"]:
        if row["type"] in ("pipe", "eventfd", "epoll"):
            raise tap.Failure(f"{row}")
    rows = look(stage, "ls", "--owner", str(os.getuid()), "pipe", "-o", "NAME,OWNER")["objects"]
    if not any(r["name"] == f"pipe:[{number}]" for r in rows):
        raise tap.Failure("its own pipe is not among a user's")
    same(len({r["owner"] for r in rows}), 1)
    end(first)


# ---- what another user sees ----

def as_nobody(stage, *words):
    """The command as a user that may look at no process of ours."""
    if os.geteuid() != 0:
        raise tap.Skip("only root can be another user")
    return stage.start("setpriv", "--reuid", "65534", "--clear-groups", stage.wherry, *words)


def test_hidden(stage):
    """who may not look at others' processes is told how many were hidden, exits 4, and sees no orphan of theirs"""
    name = f"/dev/shm/wherry-test-{os.getpid()}"
    with open(name, "w", encoding="ascii"):
        pass
    try:
        os.chmod(name, 0o600)
        process = as_nobody(stage, "ls", "posix-shm", "-J").end(PARTIAL)
        rows = [r for r in json.loads(process.out)["objects"] if r["name"].endswith(f"-{os.getpid()}")]
        same([r["state"] for r in rows], ["unknown"])
        if b"not seen:" not in process.err or b"processes" not in process.err:
            raise tap.Failure(f"{process.err!r}")
        quiet = as_nobody(stage, "ls", "posix-shm", "-q").end(PARTIAL)
        same(quiet.err, b"")
        hidden = as_nobody(stage, "peers", str(os.getpid())).end(1)
        if b"may not be looked at" not in hidden.err:
            raise tap.Failure(f"{hidden.err!r}")
        orphans = look(stage, "ls", "posix-shm", "--orphan")["objects"]
        mine = [r for r in orphans if r["name"].endswith(f"-{os.getpid()}")]
        same(len(mine), 1)  # root has the kernel's word for it
    finally:
        os.unlink(name)


def test_hidden_in_json(stage):
    """JSON says what was hidden, as the lines on standard error do"""
    me = str(os.getpid())
    for words in (["ls", "pipe"], ["show", "/dev/null"], ["who", "/dev/null"], ["locks"], ["locks", "--wait-graph"],
                  ["peers", me], ["gc", "sem"], ["top", "--batch", "-c", "1", "-d", "50ms"], ["map"]):
        user = [] if words[0] == "peers" else ["setpriv", "--reuid", "65534", "--clear-groups"]
        if user and os.geteuid() != 0:
            raise tap.Skip("only root can be another user")
        process = stage.run(*user, stage.wherry, *words, "--json", code=None)
        lines = re.findall(r"^wherry: \w+: not seen: (.*?)(?: \((\d+)\))?; (.*)$", process.err.decode(), re.M)
        same([(one["what"], one["count"], one["why"]) for one in json.loads(process.out)["hidden"]],
             [(what, int(count or 0), why) for what, count, why in lines], words)
        same(bool(user) <= bool(lines), True, f"lines of {words}: {process.err!r}")


# ---- wrong input ----

def test_bad_input(stage):
    """a pid that does not exist, no pid, no descriptor, no type, no user, no object: a line each says what is wrong"""
    def refuse(code, word, *words):
        process = stage.run_wherry(*words, "-q", code=None)
        one_line(process, word)
        same(process.popen.returncode, code)
        same(process.out, b"")
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        none = int(file.read()) + 1
    refuse(1, f"there is no process {none}", "ls", "--pid", str(none))
    refuse(1, f"there is no process {none}", "peers", str(none))
    refuse(1, "is not open", "peers", f"{os.getpid()}:987654")
    refuse(2, "is no pid", "peers", "x")
    refuse(2, "is no descriptor", "peers", "1:x")
    refuse(2, "is no pid", "ls", "--pid", "0")
    refuse(2, "there is no user", "ls", "--owner", "no such user")
    refuse(2, "there is no user", "ls", "--owner", "4294967295")
    refuse(2, "is no type of object", "ls", "pipes")
    refuse(2, "needs the name of a column", "ls", "-o", "+")
    refuse(2, "name of a column is missing", "ls", "-o", "NAME,")
    refuse(2, "no column", "ls", "-o", "NAME,,TYPE")
    same(stage.run_wherry("transports", "-J", "-o", "SCHEME,OBJECT,SCHEME").out,
         stage.run_wherry("transports", "-J", "-o", "SCHEME,OBJECT").out)
    refuse(1, "there is no object", "show", "pipe:[0]")
    refuse(1, "there is no object", "who", str(stage.path / "nothing"))
    refuse(2, "", "who")
    refuse(2, "", "show", "a", "b")
    empty = look(stage, "show", "pipe:[0]", code=1)
    same((empty["schema"], empty["objects"]), (1, []))


def test_closed_output(stage):
    """output into a pipe that nobody reads ends it by SIGPIPE, and a full disk is said"""
    reading, writing = os.pipe()
    os.close(reading)
    process = stage.start_wherry("ls", "-q", stdout=writing)
    os.close(writing)
    process.end(-signal.SIGPIPE)
    with open("/dev/full", "wb") as full:
        process = stage.start_wherry("ls", "-q", stdout=full).end(1)
    if b"No space left" not in process.err:
        raise tap.Failure(f"{process.err!r}")


def on_terminal(stage, columns, *words, **environment):
    """What it prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = stage.start_wherry(*words, stdout=theirs, env=dict(os.environ, **environment))
    os.close(theirs)
    got = b""
    try:
        while data := os.read(ours, 65536):
            got += data
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    process.end(None)
    return got.decode(errors="replace")


def test_narrow_terminal(stage):
    """a terminal 20 columns wide is no reason to fail, nor one without colours; hostile names do nothing to it"""
    stage.write("evil\x1b[31m\nname", b"x" * 4096)
    process = holder(stage, "import mmap\nf = open('evil\\x1b[31m\\nname', 'r+b')\nm = mmap.mmap(f.fileno(), 4096)")
    for columns, term in ((20, "xterm"), (1, "dumb"), (300, "xterm")):
        text = on_terminal(stage, columns, "ls", "-q", "--pid", str(process.pid), TERM=term, NO_COLOR="1")
        if "\x1b" in text:
            raise tap.Failure(f"{columns}: {text!r}")
        if columns == 300 and "evil\\x1b[31m" not in text:
            raise tap.Failure(f"{text!r}")
        if not text:
            raise tap.Failure(f"{columns}: nothing")
        shown = on_terminal(stage, columns, "who", "-q", str(stage.path / "evil\x1b[31m\nname"), TERM=term)
        if "\x1b" in shown or str(process.pid)[:1] not in shown:
            raise tap.Failure(f"{columns}: {shown!r}")
    end(process)



OVERLAY = r"""
mount -t tmpfs none "$2" && cd "$2" && mkdir low up work both || exit 9
mount -t overlay none -o lowerdir="$2/low,upperdir=$2/up,workdir=$2/work" both || exit 9
"$1" recv -q 'unix:both/sock?listen' & receiver=$!
until [ -S up/sock ] && grep -q '^State:.S' /proc/$receiver/status; do
    kill -0 $receiver || break
    sleep 0.05
done
"$1" show -q "unix:$2/up/sock"
"$1" ls -q unix --orphan -n -r -o NAME | grep -x "unix:$2/up/sock"
kill $receiver
wait $receiver
"""


def test_overlay(stage):
    """a socket bound through an overlay is no orphan by what lies in its upper directory"""
    if os.geteuid() != 0:
        raise tap.Skip("only root mounts overlays")
    process = stage.run("unshare", "--mount", "sh", "-c", OVERLAY, "sh", stage.wherry, stage.path, code=None,
                        env=dict(os.environ, XDG_RUNTIME_DIR=str(stage.path)))
    if process.popen.returncode == 9:
        raise tap.Skip("the kernel has no overlays here")
    text = process.out.decode()
    for word in ("state      unknown", "beneath an overlay"):
        if word not in text:
            raise tap.Failure(f"{word!r} is not in {text!r}, {process.err!r}")
    same([line for line in text.splitlines() if line.startswith("unix:")], [])
