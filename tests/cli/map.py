# tests/cli/map.py - wherry map: who is joined to whom, by what, as text, as JSON, for graphviz; the file of the page.
#
# SPDX-License-Identifier: MIT
import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import xml.etree.ElementTree

import tap
from run import one_line, same
from tap import wait_for

# What actors run: argv[1] is the name they take, in hex, when they have done the rest.
ACTOR = """
import ctypes, fcntl, mmap, os, signal, socket, sys
keep = []
%s
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)
while True: signal.pause()
"""
# Names that mean something in a terminal, in graphviz, in JSON, in HTML or in a script.
HOSTILE = [b"</script ><b>x", b"<!--<script x>", b"\"; \n\\N\\", b"\xff\xfe\x80bad", "\u202e\u2028x".encode(),
           b"&lt;&#x3c;", b"\x1b[31mred", b"'${x}`"]


def comm(process):
    try:
        with open(f"/proc/{process.pid}/comm", "rb") as file:
            return file.read()[:-1]
    except OSError:
        return b""


def actor(stage, name, code="", fds=(), words=()):
    """A process of that name that has these descriptors, and has run this code."""
    name = name.encode() if isinstance(name, str) else name
    process = stage.start(sys.executable, "-B", "-c", ACTOR % code, name.hex(), *words, pass_fds=fds,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: comm(process) == name or process.popen.poll() is not None, f"an actor to be called {name!r}")
    if process.popen.poll() is not None:
        raise tap.Failure(f"the actor {name!r} ended")
    return process


def exeunt(*actors):
    for process in actors:
        process.signal(signal.SIGKILL)
        process.end(-signal.SIGKILL)


def pipe_pair(stage, writer="writer", reader="reader"):
    """Two actors with a pipe: the writer, the reader, the pipe's name, its descriptors here, which are closed."""
    read, write = os.pipe()
    name = f"pipe:[{os.fstat(read).st_ino}]"
    actors = actor(stage, writer, fds=(write,)), actor(stage, reader, fds=(read,))
    os.close(read)
    os.close(write)
    return *actors, name, read, write


def graph(stage, *words, code=0, **how):
    """0 or 4: on some hosts there are processes that even root may not look at."""
    process = stage.run_wherry("map", "-q", "-J", *words, code=None, **how)
    if process.popen.returncode not in (code, 4):
        raise tap.Failure(f"{process}: {process.popen.returncode}: {process.err!r}")
    return json.loads(process.out)


def text(stage, *words):
    process = stage.run_wherry("map", "-q", *words, code=None)
    if process.popen.returncode not in (0, 4):
        raise tap.Failure(f"{process}: {process.popen.returncode}: {process.err!r}")
    return process.out.decode()


def ties(data, *pids):
    """The edges between these processes: (kind, relation, arrow, from, to, the object, evidence of either side)."""
    found = []
    for edge in data["edges"]:
        ends = edge["from"].get("pid"), edge["to"].get("pid")
        if set(ends) <= set(pids):
            found.append((edge["kind"], edge["relation"], edge["arrow"], *ends, data["objects"][edge["object"]]["name"],
                          [h["text"] for h in edge["from"]["holds"]], [h["text"] for h in edge["to"]["holds"]]))
    return found


# ---- who is joined to whom ----

def test_a_pipe(stage):
    """a pipe: from who writes to who reads, with both descriptors, in each form"""
    writer, reader, name, read, write = pipe_pair(stage)
    data = graph(stage, "pipe")
    same(ties(data, writer.pid, reader.pid),
         [("pipe", "flow", "to", writer.pid, reader.pid, name, [f"fd {write} w"], [f"fd {read} r"])], "the tie")
    same(text(stage, "--pid", writer.pid, "pipe").splitlines(),
         [f"{writer.pid} (writer), root" if os.getuid() == 0 else f"{writer.pid} (writer), {os.environ.get('USER')}",
          f"  -> {reader.pid} (reader)", f"       {name}: fd {write} w -> fd {read} r"], "the text")
    same(text(stage, "--pid", reader.pid).splitlines()[1:],
         [f"  <- {writer.pid} (writer)", f"       {name}: fd {read} r <- fd {write} w"], "the other side's text")
    dot = text(stage, "--dot", "--pid", writer.pid)
    same([line for line in dot.splitlines() if "->" in line][0].strip(),
         f'p{writer.pid} -> p{reader.pid} [dir=forward, style=solid, label="{name}", '
         f'tooltip="pipe, flow: fd {write} w and fd {read} r"];', "the line of dot")
    exeunt(writer, reader)


def test_ends_of_a_pipe(stage):
    """two that only write are not joined, unless nobody reads; one process alone is joined to nobody"""
    read, write = os.pipe()
    one, two = actor(stage, "one", fds=(write,)), actor(stage, "two", fds=(write,))
    third = actor(stage, "third", fds=(read,))
    alone = actor(stage, "alone", "keep.append(os.pipe())")
    os.close(read)
    os.close(write)
    pids = one.pid, two.pid, third.pid
    data = graph(stage, "pipe")
    same(sorted(t[3:5] for t in ties(data, *pids)), sorted([(one.pid, third.pid), (two.pid, third.pid)]),
         "who is joined")
    same([p["pid"] for p in data["processes"] if p["pid"] == alone.pid], [], "the one that shares nothing")
    same(text(stage, "--pid", alone.pid).splitlines()[1:], ["  shares nothing with another process"], "its text")
    exeunt(third)
    same([t[:3] for t in ties(graph(stage, "pipe"), *pids)], [("pipe", "shared", "none")], "when nobody reads")
    exeunt(one, two, alone)


def test_a_socket(stage):
    """the two ends of a Unix socket are joined, with the kernel's list as evidence; and a connection nobody accepted"""
    path = str(stage.mine("s"))
    server = actor(stage, "server", f"s = socket.socket(socket.AF_UNIX); s.bind({path!r}); s.listen(); keep.append(s)")
    client = actor(stage, "client", f"s = socket.socket(socket.AF_UNIX); s.connect({path!r}); keep.append(s)")
    waiting = ties(graph(stage, "unix"), server.pid, client.pid)
    same([t[:5] for t in waiting], [("unix", "queued", "to", client.pid, server.pid)], "a connection that waits")
    ours, theirs = socket.socketpair()
    left, right = actor(stage, "left", fds=(ours.fileno(),)), actor(stage, "right", fds=(theirs.fileno(),))
    numbers = ours.fileno(), theirs.fileno()
    ours.close()
    theirs.close()
    data = graph(stage, "unix")
    same([(t[0], t[1], t[2], {t[3], t[4]}) for t in ties(data, left.pid, right.pid)],
         [("unix", "peer", "none", {left.pid, right.pid})], "a pair")
    found = text(stage, "--pid", left.pid).splitlines()
    same(found[1], f"  -- {right.pid} (right)", "the neighbour")
    if not re.fullmatch(rf" {{7}}unix:\[\d+\] -- unix:\[\d+\]: fd {numbers[0]} rw -- fd {numbers[1]} rw; .+", found[2]):
        raise tap.Failure(f"the tie is {found[2]!r}")
    exeunt(server, client, left, right)


def test_memory(stage):
    """a memfd that both map is shared; a file that nobody can write joins nobody, one that somebody writes does"""
    memory = os.memfd_create("table")
    os.truncate(memory, 8192)
    mapped = f"keep.append(mmap.mmap({memory}, 8192)); os.close({memory})"
    one, two = actor(stage, "one", mapped, (memory,)), actor(stage, "two", mapped, (memory,))
    os.close(memory)
    (tie,) = ties(graph(stage, "memfd"), one.pid, two.pid)
    same(tie[:3], ("memfd", "shared", "none"), "the tie")
    for side in tie[6:]:
        if not re.search(r"mapped rw at 0x[0-9a-f]+, 8192 bytes", " ".join(side)):
            raise tap.Failure(f"evidence: {side}")
    path = str(stage.path / stage.write("data", bytes(4096)))
    reads = (f"f = open({path!r}, 'rb')\n"
             "keep.append(mmap.mmap(f.fileno(), 4096, mmap.MAP_SHARED, mmap.PROT_READ)); f.close()")
    writes = f"f = open({path!r}, 'r+b'); keep.append(mmap.mmap(f.fileno(), 4096)); f.close()"
    a, b = actor(stage, "a", reads), actor(stage, "b", reads)
    data = graph(stage, "file")
    same((ties(data, a.pid, b.pid), data["quiet_files"] > 0), ([], True), "two that only read a file")
    c = actor(stage, "c", writes)
    same(sorted({t[3], t[4]} == {a.pid, b.pid} for t in ties(graph(stage, "file"), a.pid, b.pid, c.pid)),
         [False, False, True], "with one that writes")
    exeunt(one, two, a, b, c)


def test_a_lock(stage):
    """who waits for a lock is joined to who holds it, and not to who holds other bytes"""
    path = str(stage.path / stage.write("state", bytes(100)))

    def locked(first, length):
        return f"f = open({path!r}, 'r+b'); keep.append(f); fcntl.lockf(f, fcntl.LOCK_EX, {length}, {first})"
    holder, other = actor(stage, "holder", locked(0, 10)), actor(stage, "other", locked(50, 10))
    waiter = stage.start(sys.executable, "-B", "-c", ACTOR % locked(5, 2), "00", stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)

    def waits():
        with open("/proc/locks", encoding="ascii") as file:
            return any("->" in line and f" {waiter.pid} " in line for line in file)
    wait_for(waits, "the waiter to wait")
    found = ties(graph(stage, "file"), holder.pid, other.pid, waiter.pid)
    if not found and not text(stage, "file"):
        raise tap.Failure("no locks are seen")
    same(sorted((t[0], t[1], t[2]) + ((t[3], t[4]) if t[1] == "wait" else ()) for t in found),
         sorted([("lock", "wait", "to", waiter.pid, holder.pid), ("lock", "lock", "none"), ("lock", "lock", "none")]),
         "the locks")
    exeunt(holder, other, waiter)


def test_a_pidfd(stage):
    """who has a pidfd is joined to the process that it stands for"""
    watched = actor(stage, "watched")
    watcher = actor(stage, "watcher", f"keep.append(os.pidfd_open({watched.pid}))")
    same([t[:5] for t in ties(graph(stage, "pidfd"), watched.pid, watcher.pid)],
         [("pidfd", "watches", "to", watcher.pid, watched.pid)], "the tie")
    exeunt(watched, watcher)


def test_a_hub(stage):
    """a pipe of 14 processes is a node of its own, with an arrow from each that writes; 12 are joined one by one"""
    read, write = os.pipe()
    number = os.fstat(read).st_ino
    reader = actor(stage, "reader", fds=(read,))
    writers = [actor(stage, f"writer-{i}", fds=(write,)) for i in range(10)]
    os.close(read)
    found = ties(graph(stage, "pipe"), reader.pid, *[w.pid for w in writers])
    same(len(found), 10, "arrows of 10, to one; we are the 12th")
    same(hubs(graph(stage, "pipe"), number), [], "hubs of 12")
    writers += [actor(stage, f"writer-{i}", fds=(write,)) for i in range(10, 13)]
    os.close(write)
    data = graph(stage, "pipe")
    (hub,) = hubs(data, number)
    same(hub["processes"], 14, "processes at the hub")
    joined = [e for e in data["edges"] if hub["object"] in (e["from"].get("hub"), e["to"].get("hub"))]
    same(sorted(e["from"].get("pid", 0) for e in joined), sorted([0] + [w.pid for w in writers]), "arrows to it")
    same([e["to"]["pid"] for e in joined if "hub" in e["from"]], [reader.pid], "arrows from it")
    lines = text(stage, "--pid", writers[0].pid).splitlines()
    same(lines[1], f"  -> pipe:[{number}], which 14 processes share", "the hub, in text")
    same(sum(line.startswith("  <- ") for line in lines), 13, "those that write, beneath it")
    exeunt(reader, *writers)


def hubs(data, number):
    return [h for h in data["hubs"] if data["objects"][h["object"]]["name"] == f"pipe:[{number}]"]


def of_socket(data, name, number):
    """The hubs of that socket, and how many edges of each relation there are to a hub, and to none, of its sockets."""
    names = [o["name"] for o in data["objects"]]
    made = [h for h in data["hubs"] if names[h["object"]] in (name, f"unix:[{number}]")]
    places = {h["object"] for h in made}
    counts = {}
    for edge in data["edges"]:
        sides = edge["from"], edge["to"]
        objects = {edge["object"], *(s.get("object") for s in sides), *(s.get("hub") for s in sides)}
        if any(o is not None and names[o] in (name, f"unix:[{number}]") for o in objects):
            key = edge["relation"], bool(places & {s.get("hub") for s in sides})
            counts[key] = counts.get(key, 0) + 1
    return made, counts


FORKS = """
ready, done = os.pipe()
for i in range(%d):
    if os.fork() == 0:
        os.close(done)
        os.read(ready, 1)  # until the first one ends
        os._exit(0)
"""


def family(process):
    """It and its children."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        return [process.pid, *map(int, file.read().split())]


def disperse(*actors):
    """Those that forked: their children end with them, and are ours by then."""
    children = [pid for process in actors for pid in family(process)[1:]]
    exeunt(*actors)
    for child in children:
        os.waitpid(child, 0)


def test_a_hub_of_sockets(stage):
    """who waits at a listening socket of 20, or is at the other end of a connection of 20, has one tie, to its hub"""
    path = str(stage.mine("sock"))
    server = actor(stage, "server", f"s = socket.socket(socket.AF_UNIX); s.bind({path!r}); s.listen(50); keep.append(s)"
                   + FORKS % 19)
    client = f"c = socket.socket(socket.AF_UNIX); c.connect({path!r}); keep.append(c)"
    clients = [actor(stage, f"client-{i}", client) for i in range(5)]
    clients += [actor(stage, f"pair-{i}", client + FORKS % 1) for i in range(3)]
    data = graph(stage, "unix")
    (hub,), counts = of_socket(data, f"unix:{path}", 0)
    same(hub["processes"], 20, "processes at the hub")
    same(counts, {("shared", True): 20, ("queued", True): 5 + 2 * 3}, "ties of the listening socket")
    (edge,) = [e for e in data["edges"] if e["from"].get("pid") == clients[0].pid and e["relation"] == "queued"]
    same((edge["arrow"], edge["to"].get("hub"), len(edge["from"]["holds"])), ("to", hub["object"], 1), "one of them")
    lines = text(stage, "--pid", clients[0].pid, "unix").splitlines()
    same(lines[1], f"  -> unix:{path}, which 20 processes share", "the hub, in text")
    same(lines[2].endswith("; not accepted yet; sock_diag"), True, f"the tie, in text: {lines[2]}")
    near = graph(stage, "--pid", clients[0].pid, "unix")
    same(sorted(p["pid"] for p in near["processes"]), sorted([clients[0].pid, *family(server)]),
         "who is a step from one client: the workers, no other client")
    near = graph(stage, "--pid", server.pid, "unix")
    same({p["pid"] for p in near["processes"]} - {*family(server)}, {pid for c in clients for pid in family(c)},
         "who is a step from the server, beside the workers")
    disperse(*clients, server)
    left, right = socket.socketpair()
    number = os.fstat(right.fileno()).st_ino
    workers = actor(stage, "workers", FORKS % 19, fds=(right.fileno(),))
    one = actor(stage, "one", fds=(left.fileno(),))
    left.close()
    right.close()
    (hub,), counts = of_socket(graph(stage, "unix"), "", number)
    same((hub["processes"], counts), (20, {("shared", True): 20, ("peer", True): 1}), "an accepted connection")
    disperse(one, workers)
    left, right = socket.socketpair()
    numbers = [os.fstat(s.fileno()).st_ino for s in (left, right)]
    several = [actor(stage, f"side-{i}", FORKS % 6, fds=(s.fileno(),)) for i, s in enumerate((left, right))]
    left.close()
    right.close()
    found = [of_socket(graph(stage, "unix"), "", number) for number in numbers]
    same(sorted((len(made), counts.get(("peer", False), 0)) for made, counts in found), [(0, 7), (1, 0)], "7 and 7")
    same([counts for made, counts in found if made], [{("shared", True): 7, ("peer", True): 7}], "7 and 7, at the hub")
    disperse(*several)


# ---- which part ----

def test_depth(stage):
    """--pid: one step, or as many as --depth says; what the last ones share among themselves is left out"""
    actors, before = [], None
    for i in range(4):
        read, write = os.pipe()
        fds = [fd for fd in (before, write) if fd is not None]
        actors.append(actor(stage, f"link-{i}", fds=fds))
        for fd in fds:
            os.close(fd)
        before = read
    os.close(before)
    pids = [a.pid for a in actors]
    for depth, count in ((1, 2), (2, 3), (3, 4)):
        words = ["--pid", pids[0]] + (["--depth", depth] if depth > 1 else [])
        data = graph(stage, *words)
        same([p["pid"] for p in data["processes"]], sorted(pids[:count]), f"processes within {depth}")
        same(len(data["edges"]), count - 1, f"edges within {depth}")
    blocks = text(stage, "--pid", pids[1], "--depth", "2").split("\n\n")
    same([int(b.split()[0]) for b in blocks], [pids[1]] + [p for p in sorted(pids) if p != pids[1]],
         "blocks, its own first")
    exeunt(*actors)


def test_depth_through_a_hub(stage):
    """the way through a hub counts when it is the shorter one: a-hub-m-d-e is three steps, a-b-c-d-e is four"""
    pipes = {pair: os.pipe() for pair in ("ab", "bc", "cd", "md", "de")}
    memory = os.memfd_create("hub")
    fds = {who: [ends[pair.index(who)] for pair, ends in pipes.items() if who in pair] for who in "abcdem"}
    actors = {who: actor(stage, who, fds=fds[who] + ([memory] if who in "am" else [])) for who in "abcdem"}
    others = [actor(stage, f"other-{i}", fds=(memory,)) for i in range(12)]
    for fd in [memory] + [fd for ends in pipes.values() for fd in ends]:
        os.close(fd)
    for depth, there in (("1", "abm"), ("2", "abmcd"), ("3", "abmcde")):
        near = {p["pid"] for p in graph(stage, "--pid", actors["a"].pid, "--depth", depth)["processes"]}
        same("".join(who for who in "abmcde" if actors[who].pid in near), there, f"within {depth}")
    exeunt(*actors.values(), *others)


def test_arguments(stage):
    """command lines are there with --args, and nowhere without, in any form"""
    secret = "--password=hunter2-wherry"
    read, write = os.pipe()
    one, two = actor(stage, "one", fds=(write,), words=[secret]), actor(stage, "two", fds=(read,))
    os.close(read)
    os.close(write)
    for form in ([], ["--dot"], ["-J"]):
        for words, there in (([], False), (["--args"], True)):
            same(secret in text(stage, "--pid", one.pid, *form, *words), there, f"the secret with {form + words}")
    for words, there in (([], False), (["--args"], True)):
        stage.run_wherry("map", "-q", f"--html={stage.mine('page')}", *words, code=None)
        same(secret.encode() in (stage.path / "page").read_bytes(), there, f"the secret in the page with {words}")
    exeunt(one, two)


def test_hidden(stage):
    """as another user most is hidden: 4, a line that says how much, and -q without it"""
    if os.getuid() != 0:
        raise tap.Skip("needs root, to be nobody else")
    words = [stage.need("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", stage.wherry, "map"]
    os.chmod(stage.path, 0o755)
    process = stage.run(*words, code=4)
    lines = process.err.decode().splitlines()
    if not any(re.search(r"^wherry: map: not seen: processes .* \(\d+\); ", line) for line in lines):
        raise tap.Failure(f"{process.err!r}")
    same(b"not seen" in process.err, True, "a line that says so")
    same(stage.run(*words, "-q", code=4).err, b"", "with -q")
    same(json.loads(stage.run(*words, "-q", "-J", code=4).out)["hidden"][0]["count"] > 0, True, "as JSON")


# ---- foreign names ----

def hostile(stage):
    """Actors with hostile names, that share a FIFO of a hostile path; the path."""
    folder = stage.path / "dir<"
    folder.mkdir()
    name = b"script><img src=x onerror=alert(1)>\"\\\n\xff\xe2\x80\xa8<!--&quot;"
    path = os.fsencode(folder) + b"/" + name
    os.mkfifo(path)
    code = f"keep.append(os.open(bytes.fromhex({path.hex()!r}), os.O_RDWR))"
    words = ["</script><script>window.hacked = 1</script>", b"\xff\n"]
    return [actor(stage, name, code, words=words) for name in HOSTILE], path


def leave(stage, actors, path):
    exeunt(*actors)
    os.unlink(path)
    shutil.rmtree(stage.path / "dir<")


def test_hostile_names(stage):
    """names with control characters, quotes, bytes that are no UTF-8: none gets to a terminal, JSON or graphviz"""
    actors, path = hostile(stage)
    pid = actors[0].pid
    shown = stage.run_wherry("map", "-q", "--args", "--pid", pid, code=None).out
    same(re.findall(rb"[\x00-\x09\x0b-\x1f\x7f]", shown), [], "control characters in the text")
    same(shown.decode().count(r"onerror=alert(1)>\"\x0a\xff".replace(r"\"", '"\\')) > 0, True, "the name in the text")
    data = graph(stage, "--args", "--pid", pid)
    names = {p["pid"]: p["command"] for p in data["processes"]}
    same([names[a.pid] for a in actors],
         [re.sub("[\udc80-\udcff]", lambda m: f"\\x{ord(m.group()) - 0xdc00:02x}", n.decode("utf-8", "surrogateescape"))
          for n in HOSTILE], "names in JSON")
    raw = stage.run_wherry("map", "-q", "-J", "--args", "--pid", pid, code=None).out
    same(re.findall(rb"[\x00-\x09\x0b-\x1f\x7f]", raw), [], "control characters in JSON")
    dot = stage.run_wherry("map", "-q", "--dot", "--args", "--pid", pid, code=None).out
    drawn = stage.run(stage.need("dot"), "-Tsvg", input=dot)
    same(drawn.err, b"", "what dot complains of")
    picture = xml.etree.ElementTree.fromstring(drawn.out)
    labels = ["".join(t.itertext()) for t in picture.iter("{http://www.w3.org/2000/svg}text")]
    for name in ("</script ><b>x", '"; \\x0a\\N\\', "\\xff\\xfe\\x80bad", "&lt;&#x3c;", "\\x1b[31mred"):
        if name not in [label.replace("\u00a0", " ") for label in labels]:
            raise tap.Failure(f"{name!r} is not among what dot drew: {labels[:20]}")
    leave(stage, actors, path)


def test_an_abstract_name(stage):
    """an abstract socket whose name holds NULs, a quote and a newline"""
    name = f'\0wherry-map-{os.getpid()}\0"\n</script>'
    server = actor(stage, "server", f"s = socket.socket(socket.AF_UNIX); s.bind({name!r}); s.listen(); keep.append(s)\n"
                                    f"c = socket.socket(socket.AF_UNIX); c.connect({name!r}); keep.append(c)\n"
                                    "keep.append(s.accept()[0])\n"
                                    "if os.fork() == 0: keep.append(0)")
    try:
        data = graph(stage, "unix")
        shared = f'unix:@wherry-map-{os.getpid()}@"\n</script>'
        same(shared in [o["name"] for o in data["objects"]], True, "the name in JSON")
        lines = text(stage, "unix").splitlines()
        wanted = " " * 7 + shared.replace("\n", "\\x0a") + ": fd "
        same(any(line.startswith(wanted) for line in lines), True, "the name in the text")
        dot = stage.run_wherry("map", "-q", "--dot", "unix", code=None).out
        same(stage.run(stage.need("dot"), "-Tdot", input=dot).err, b"", "what dot complains of")
    finally:
        for child in open(f"/proc/{server.pid}/task/{server.pid}/children", encoding="ascii").read().split():
            os.kill(int(child), signal.SIGKILL)
        exeunt(server)


# ---- the file of the page ----

def html(stage, path, code=0, **how):
    process = stage.run_wherry("map", "-q", f"--html={path}", code=None, **how)
    wanted = (0, 4) if code == 0 else (code,)
    if process.popen.returncode not in wanted:
        raise tap.Failure(f"{process}: {process.popen.returncode}: {process.err!r}")
    return process


def test_the_file(stage):
    """0600 whatever the umask; a file is replaced as a whole; nothing else is left"""
    path = stage.mine("page.html")
    before = os.umask(0)
    try:
        html(stage, path)
    finally:
        os.umask(before)
    same(stat.S_IMODE(path.stat().st_mode), 0o600, "the mode")
    same(path.read_text().rstrip().endswith("</html>"), True, "its end")
    inode = path.stat().st_ino
    path.chmod(0o644)
    html(stage, "page.html")
    same((path.stat().st_ino != inode, stat.S_IMODE(path.stat().st_mode)), (True, 0o600), "another file")
    same(os.listdir(stage.path), ["page.html"], "what is left")


def test_the_page_on_standard_output(stage):
    """--html=-: to standard output, and no file is made"""
    process = html(stage, "-")
    same((process.out[:15].lower(), process.out.rstrip()[-7:]), (b"<!doctype html>", b"</html>"), "its ends")
    same(os.listdir(stage.path), [], "what is left")


def test_killed(stage):
    """killed while it writes the page: nothing is left, and the old one stays"""
    page = stage.write("page", b"old")
    stage.run("sh", "-c", 'ulimit -f 8; exec "$0" map -q --html=page', stage.wherry, code=-signal.SIGXFSZ)
    same((os.listdir(stage.path), (stage.path / page).read_bytes()), (["page"], b"old"), "what is left")


def test_no_file(stage):
    """a link, a directory, a FIFO, no directory, no name: refused in one line, and left as it was"""
    victim = stage.write("victim", b"precious")
    os.symlink(victim, stage.mine("link"))
    os.symlink("nowhere", stage.mine("dangling"))
    os.mkdir(stage.path / "folder")
    for name, what in (("link", "a symbolic link"), ("dangling", "a symbolic link"), ("folder", "a directory"),
                       (stage.fifo("fifo"), "no regular file"),
                       ("none/page", "No such file.*; make it, or give --html another")):
        one_line(html(stage, name, 1), what)
    one_line(html(stage, "", 2), "name of a file")
    same((stage.path / victim).read_bytes(), b"precious", "the file behind the link")
    same(sorted(os.listdir(stage.path)), ["dangling", "fifo", "folder", "link", "victim"], "what is there")
    os.rmdir(stage.path / "folder")


def test_a_full_disk(stage):
    """a full disk is said; the old page stays whole, and no half of a new one is left"""
    os.mkdir(stage.path / "disk")
    script = ('mount -t tmpfs -o size=16k none disk && echo old >disk/page && "$0" map -q --html=disk/page; code=$?; '
              'ls -A disk; cat disk/page; umount disk; exit $code')
    words = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]
    process = stage.run(stage.need(words[0]), words[1], "sh", "-c", script, stage.wherry, code=1)
    same(process.out, b"page\nold\n", "what is on the disk")
    one_line(process, "disk/page: No space left on device")
    os.rmdir(stage.path / "disk")


# ---- bad input ----

def test_bad_input(stage):
    """two forms at once, a pid that is none or gone, a type that is none, a depth without a pid, a closed pipe"""
    gone = stage.run("true").pid
    for code, words, pattern in ((2, ["--dot", "--json"], "choose one"), (2, ["--pid", "x"], "no pid"),
                                 (2, ["--pid", "0"], "no pid"), (2, ["shmem"], "no type"),
                                 (2, ["--depth", "2"], "--pid"),
                                 (2, ["--pid", "1", "--depth", "0"], "--depth"),
                                 (1, ["--pid", gone], f"no process {gone}")):
        process = stage.run_wherry("map", "-q", *words, code=code)
        one_line(process, pattern)
        same(process.out, b"", "the output")
    process = stage.run_wherry("map", "-q", stdout=open("/dev/full", "wb"), code=1)
    one_line(process, "standard output: No space left")
    read, write = os.pipe()
    os.close(read)
    process = stage.run_wherry("map", "-q", "-J", stdout=write, code=None)
    os.close(write)
    same(process.popen.returncode in (-signal.SIGPIPE, 128 + signal.SIGPIPE), True, "into a closed pipe")
