# tests/cli/top.py - wherry top: on a terminal, whatever happens to it, and as tables for scripts.
#
# SPDX-License-Identifier: MIT
import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import time

import tap
from run import one_line, same
from tap import wait_for
from terminal_kit import Terminal

PR_SET_NAME = 15


def word(stage):
    return stage.path.name


@contextlib.contextmanager
def terminal(stage, *words, **how):
    there = Terminal(stage, stage.wherry, "top", "-d", "100ms", *words, **how)
    try:
        yield there
    finally:
        there.close()


@contextlib.contextmanager
def queues(stage, **depths):
    """POSIX queues /WORD-NAME with so many messages."""
    urls = {name: f"mq:///{word(stage)}-{name}" for name in depths}
    names = [f"posix-mq:/{word(stage)}-{name}" for name in depths]
    try:
        for name, depth in depths.items():
            def made(name=name):  # the bytes for queues are all of a user's, also those of tests beside this one
                process = stage.run_wherry("mk", "posix-mq", f"/{word(stage)}-{name}", code=None)
                if process.popen.returncode != 0 and b"RLIMIT_MSGQUEUE" not in process.err:
                    raise tap.Failure(f"{process}: {process.err!r}")
                return process.popen.returncode == 0
            wait_for(made, "room for a queue")
            if depth:
                stage.run_wherry("send", urls[name], input=b"x\n" * depth)
        yield
    finally:
        stage.run_wherry("rm", "-f", *names)


@contextlib.contextmanager
def held_fifo(stage, name):
    """A FIFO that this process holds."""
    os.mkfifo(stage.mine(name))
    fd = os.open(stage.path / name, os.O_RDWR)
    try:
        yield
    finally:
        os.close(fd)


# ---- what it shows ----

def test_depths_sorted(stage):
    """queues with their depths; sorted by depth, by name, the other way round; q ends, the terminal is as it was"""
    with queues(stage, c=1, a=2, b=5), terminal(stage, "posix-mq", "--filter", word(stage)) as there:
        def order():
            return "".join(re.findall(rf"{word(stage)}-(\w)", "\n".join(there.screen.lines())))
        there.shows(r"by activity", r"posix-mq .*-b +5 +10", "-a +2 +10", "-c +1 +10")
        same(order(), "bac")
        for keys, wanted in (("n", "abc"), ("r", "cba"), ("d", "cab"), ("r", "bac"), ("t", "abc"), ("a", "bac")):
            there.type(keys)
            there.until(lambda: order() == wanted, f"{wanted} after {keys}")
        assert not there.is_restored()
        there.type("q")
        same(there.end(), 0)
        assert there.is_restored()


def test_filters(stage):
    """typed: a part of a name, a type, a pid, a holder; Esc shows all again"""
    with open("/proc/self/comm", encoding="utf-8") as file:
        comm = file.read().strip()
    with held_fifo(stage, "one"), held_fifo(stage, "two"), queues(stage, q=0), \
            terminal(stage, "fifo", "posix-mq") as there:
        there.shows(r"\d+ objects?")
        for keys, shown, hidden in (("/" + stage.path.name, ["/one", "/two", "-q "], []),
                                    (" type:fifo", ["/one", "/two"], ["-q "]),
                                    (" /one", ["/one"], ["/two", "-q "]),
                                    ("\x7f" * 5 + f" pid:{os.getpid()}", ["/one", "/two"], ["-q "]),
                                    ("\x15pid:1", [], ["/one", "/two", "-q "]),
                                    (f"\x15({comm}) {stage.path.name}", ["/one", "/two"], ["-q "]),
                                    (f"\x15{stage.path.name}\r", ["/one", "/two", "-q "], []),
                                    ("/ type:posix\r", ["-q "], ["/one"])):
            there.type(keys)
            there.shows(*[rf"{stage.path.name}{end}" for end in shown])
            for end in hidden:
                there.hides(rf"{stage.path.name}{end}")
        there.shows(rf"^/{stage.path.name} type:posix: 1 (of \d+ )?objects?")
        there.type("\x1b")
        there.shows(r"^\d+ objects?")
        there.type("q")
        same(there.end(), 0)


def test_new_and_gone(stage):
    """what is new has a +, what is gone a -, for four looks; paused, it looks when it is told to"""
    with queues(stage, old=0), terminal(stage, "posix-mq", "--filter", word(stage)) as there:
        def then(keys, order, title):
            """These keys, and another order by which it shows that they were heard."""
            there.type(keys + order)
            there.shows(title)
            there.settle()

        there.shows("^  posix-mq .*-old ")
        there.type(" ")
        there.shows("^paused, ")
        with queues(stage, late=0):
            until = time.monotonic() + 0.5
            while time.monotonic() < until:  # it must not look, and that nothing comes shows in nothing but time
                there.pump(0.05)
            then("", "n", "by name")
            assert "-late" not in "".join(there.screen.lines())
            then("l", "d", "by depth")
            there.has("^[+] posix-mq .*-late ", "^  posix-mq .*-old ", ": 2 .*, 1 new")
            then("lll", "n", "by name")
            there.has("^[+] posix-mq .*-late ")
            then("l", "d", "by depth")
            there.has("^  posix-mq .*-late ", r": 2 (of \d+ )?objects(, \d+ hidden)?, by")
        then("l", "n", "by name")
        there.has("^- posix-mq .*-late ", ", 1 gone")
        then("lll", "d", "by depth")
        there.has("^- posix-mq .*-late ")
        then("l", "n", "by name")
        assert "-late" not in "".join(there.screen.lines())
        there.type(" ")
        there.hides("paused")
        with queues(stage, again=0):
            there.shows("-again ")
        there.hides("-again")
        there.type("q")
        same(there.end(), 0)


def test_help(stage):
    """h shows the keys, any key goes back"""
    with terminal(stage, "fifo") as there:
        there.shows("objects?")
        there.type("h")
        there.shows("^q +end", "^space +pause", "^/ +filter")
        there.type("q")
        there.shows("objects?")
        there.type("q")
        same(there.end(), 0)


def test_rates_of_a_ring(stage):
    """a ring's messages and bytes a second, on the screen and in JSON"""
    url = f"shm://{word(stage)}"
    with open("/dev/zero", "rb") as zeros:
        sender = stage.start_wherry("send", "--fixed", "1000", url, stdin=zeros)
        receiver = stage.start_wherry("recv", "--raw", url, stdout=subprocess.DEVNULL)
        with terminal(stage, "ring", "--filter", word(stage)) as there:
            there.shows(rf"ring +ring:{word(stage)} +[\d.]+[kM]? +[\d.]+[kMG] .*{sender.pid} \(wherry\)")
            there.type("q")
            same(there.end(), 0)
        out = stage.run_wherry("top", "--batch", "-J", "-c", "2", "-d", "200ms", "ring", code=None).out.decode()
        documents = []
        while out.strip():
            document, end = json.JSONDecoder().raw_decode(out.lstrip())
            documents.append(document)
            out = out.lstrip()[end:]
        same(len(documents), 2, "the number of tables")
        for document in documents:
            row, = [row for row in document["objects"] if row["name"] == f"ring:{word(stage)}"]
            assert row["msgrate"] > 100 and 900 < row["byterate"] / row["msgrate"] < 1100, row
            same((row["type"], row["mark"], document["schema"]), ("ring", None, 1))
            assert sorted(row["holders"]) == sorted(f"{p.pid} (wherry)" for p in (sender, receiver)), row
        sender.signal(signal.SIGSTOP)
        stage.run_wherry("top", "--batch", "-c", "1", "-d", "200ms", "-q", "ring", code=None)  # what is under way comes
        still = json.loads(stage.run_wherry("top", "--batch", "-J", "-c", "1", "-d", "100ms", "ring", code=None).out)
        same([(row["msgrate"], row["byterate"]) for row in still["objects"] if row["name"] == f"ring:{word(stage)}"],
             [(0, 0)], "the rates of a ring whose sender is stopped")
        sender.signal(signal.SIGCONT)
        sender.stop()
        receiver.end(0)


def test_what_is_not_read(stage):
    """a socket's unread bytes, and connections that nobody has accepted"""
    server = stage.listen("s")
    client = stage.connect("s")
    with server, client:
        with server.accept()[0] as peer, stage.connect("s"), \
                terminal(stage, "unix", "--filter", f"pid:{os.getpid()}") as there:
            client.sendall(b"x" * 3000)
            there.shows(r"unix +unix:\S+ .* 3000 ", r"unix:\S+/s +1 +128 ")
            peer.recv(4096)
            there.hides(" 3000 ")
            there.type("q")
            same(there.end(), 0)


# ---- what happens to terminals ----

def test_sizes(stage):
    """20 columns, 1 row, 1 column, 300 columns: what has room, and no line is broken"""
    with queues(stage, q=3), terminal(stage, "posix-mq", "--filter", word(stage)) as there:
        there.shows("HOLDERS")
        there.resize(20, 5)
        there.shows(r"^  NAME +DEPTH$", "^[ +] .{10}~ {6}3$", "^/wherry-cli.*~$")
        same(there.screen.lines()[3:], ["", ""])
        there.resize(77, 5)
        there.shows("posix-mq:/.{19}~ ")  # one more than there is room for
        there.resize(20, 1)
        there.shows("^/wherry-cli-")
        there.resize(1, 1)
        there.shows("^~$")
        there.resize(300, 3)
        there.shows(rf"^[ +] posix-mq  posix-mq:/{word(stage)}-q +3 +10", "^  TYPE .* HOLDERS")
        there.type("q")
        same(there.end(), 0)
    for columns, rows in ((20, 24), (5, 2), (1, 1)):
        with terminal(stage, "fifo", columns=columns, rows=rows) as there:
            there.until(lambda: there.screen.lines()[0], "a title")
            there.type("hxq")
            same(there.end(), 0)
            assert there.is_restored()


def test_signals_that_end_it(stage):
    """SIGTERM, SIGINT, SIGHUP, SIGQUIT and ^C end it with 128 and the number; the terminal is as it was"""
    for number, send in ((signal.SIGTERM, None), (signal.SIGINT, None), (signal.SIGHUP, None), (signal.SIGQUIT, None),
                         (signal.SIGINT, "\x03")):
        with terminal(stage, "fifo", TERM="xterm", blind=True) as there:
            there.until(lambda: b" object" in there.raw and not there.is_restored(), "the first drawing")
            if send:
                there.type(send)
            else:
                there.signal(number)
            same(there.end(), 128 + number)
            assert there.is_restored(), f"after {number}"
            assert b"\x1b[?1l\x1b>" in there.raw[-80:], there.raw[-80:]
            assert b"\x1b[?1049l" in there.raw and b"\x1b[?25h" in there.raw, there.raw[-80:]


def test_stopped_and_continued(stage):
    """^Z, SIGTSTP and SIGSTOP stop it; with the first two the terminal is as it was; continued, it draws again"""
    with queues(stage, q=1), terminal(stage, "posix-mq", "--filter", word(stage)) as there:
        there.shows("-q +1 ")
        for how in ("\x1a", signal.SIGTSTP, signal.SIGSTOP):
            if isinstance(how, str):
                there.settle()  # ^Z throws away what of a drawing has not yet come here, in the midst of a sequence
                there.type(how)
            else:
                there.signal(how)
            same(there.stopped(), how != signal.SIGSTOP, "whether the terminal was as before")
            there.screen.resize(200, 24)  # the shell has written all over it
            there.go_on()
            there.shows("-q +1 ", "by activity")
            assert not there.is_restored()
        there.type("q")
        same(there.end(), 0)
        assert there.is_restored()


def test_held_output(stage):
    """^S holds it, also in the midst of a drawing; it can be ended all the same, and the terminal is as it was"""
    for _ in range(12):  # where in a drawing ^S comes is chance
        with terminal(stage, "fifo", TERM="xterm", blind=True) as there:
            there.until(lambda: b" object" in there.raw, "the first drawing")
            there.type("\x13")
            there.resize(90, 20)  # has it draw
            there.resize(80, 20)
            wait_for(lambda: tap.asleep(there.pid, there.program), "it to sleep")
            there.signal(signal.SIGTERM)
            same(there.end(), 143)
            assert there.is_restored()
            assert b"\x1b[?1049l" in there.raw[-200:] and b"\x1b[?25h" in there.raw[-200:], there.raw[-200:]


def test_colours(stage):
    """what is new is green, with --color or without; not with NO_COLOR, not with --color=never"""
    for words, environment, coloured in (([], {}, True), ([], {"NO_COLOR": "1"}, False),
                                         (["--color=never"], {}, False), (["--color"], {"NO_COLOR": "1"}, True)):
        # ours alone: of a name that takes another's place on the screen only what differs is written
        with terminal(stage, "posix-mq", "--filter", word(stage), *words, TERM="xterm-256color", blind=True,
                      **environment) as there:
            there.until(lambda: b" object" in there.raw, "the first drawing")
            with queues(stage, q=0):
                there.until(lambda: f"/{word(stage)}-q".encode() in there.raw, "the queue")
            there.type("q")
            same(there.end(), 0)
            same(bool(re.search(rb"\x1b\[(\d+;)*32m", there.raw)), coloured, f"green with {words} {environment}")


def test_terminals_that_will_not_do(stage):
    """no TERM, TERM=dumb, an unknown one, no terminal at all: says what to do"""
    for term, pattern in ((None, "TERM is not set"), ("", "TERM is not set"), ("dumb", "TERM=dumb"),
                          ("nonsense", "does not know")):
        with terminal(stage, TERM=term) as there:
            same(there.end(), 1)
            assert re.search(rf"^wherry: top: .*{pattern}.*--batch".encode(), there.raw), there.raw
            assert there.is_restored()
    one_line(stage.run_wherry("top", code=1), "no terminal.*--batch")


# ---- what others call themselves ----

def test_hostile_names(stage):
    """escape sequences and odd bytes in names and commands are shown, not obeyed; wide characters take their room"""
    libc = ctypes.CDLL(None)
    before = open("/proc/self/comm", "rb").read().strip()
    name = "\x1b]0;owned\x07\x9b31m日本é"
    with held_fifo(stage, name), held_fifo(stage, os.fsdecode(b"bad\xff\xfe")):
        libc.prctl(PR_SET_NAME, b"\x1b[2J\xff\xe6\x97\xa5", 0, 0, 0)
        try:
            with terminal(stage, "fifo", "--pid", os.getpid()) as there:
                there.shows(r"/\\x1b\]0;owned\\x07\\xc2\\x9b31m日本é .*\(\\x1b\[2J\\xff日\)", r"/bad\\xff\\xfe ")
                there.resize(40, 24)
                there.shows("^  NAME")
                there.type("q")
                same(there.end(), 0)
            with terminal(stage, "fifo", "--pid", os.getpid(), LC_ALL="C") as there:
                there.shows(r"/\\x1b\]0;owned\\x07\\xc2\\x9b31m\?{8} ")
                there.type("q")
                same(there.end(), 0)
            table = stage.run_wherry("top", "--batch", "-c", "1", "-d", "50ms", "fifo", code=None).out
            assert b"\x1b" not in table and b"owned" in table, table
        finally:
            libc.prctl(PR_SET_NAME, before, 0, 0, 0)


# ---- tables ----

def test_tables(stage):
    """--batch: as many tables as -c says, sorted and filtered; columns, marks, and the depth"""
    with queues(stage, a=1, b=2), held_fifo(stage, "one"):
        words = ["top", "--batch", "-d", "50ms", "--filter", stage.path.name]
        out = stage.run_wherry(*words, "-c", "3", "posix-mq", code=None).out.decode()
        same(len(out.split("\n\n")), 3)
        for table in out.split("\n\n"):
            same(re.findall(r"-(\w) ", table.split("\n", 1)[1]), ["b", "a"])
        raw = ["-r", "-n", "-o"]
        out = stage.run_wherry(*words, "-c", "1", *raw, "type,depth,limit,holders", "--sort", "name", "fifo",
                               "posix-mq", code=None).out.decode()
        same(sorted(line.split() for line in out.splitlines())[1:], [["posix-mq", "1", "10"], ["posix-mq", "2", "10"]])
        assert re.search(rf"^fifo .*{os.getpid()}\\x20", out, re.M), out
        same(json.loads(stage.run_wherry("top", "--batch", "-J", "-c", "1", "-d", "50ms", "--filter", "no such name",
                                         code=None).out)["objects"], [])
        process = stage.start_wherry("top", "--batch", "-d", "100ms", *raw, "mark,name", "posix-mq", "--filter",
                                     word(stage))
        process.read(lambda: b"-a\n\n" in process.out, "a first table")
        assert b"new" not in process.out, process.out
        with queues(stage, late=0):
            process.read(lambda: re.search(rb"new \S+-late\n", process.out), "the new one")
        process.read(lambda: re.search(rb"gone \S+-late\n", process.out), "its end")
        process.signal(signal.SIGTERM)
        process.end(-signal.SIGTERM)


def test_closed_pipe(stage):
    """a reader that ends ends the tables, by SIGPIPE"""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as out:
        process = stage.start_wherry("top", "--batch", "-d", "50ms", stdout=out)
    assert os.read(reader, 4) == b"MARK"
    os.close(reader)
    process.end(-signal.SIGPIPE)


def test_hidden(stage):
    """what an ordinary user may not see is counted, and the exit code is 4"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root, to be nobody")
    stage.need("setpriv")
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    process = stage.run(*nobody, stage.wherry, "top", "--batch", "-c", "1", "-d", "50ms", code=4)
    assert re.search(rb"^wherry: top: not seen: .* \(\d+\); ", process.err), process.err
    process = stage.run(*nobody, stage.wherry, "top", "--batch", "-c", "1", "-d", "50ms", "-q", code=4)
    same(process.err, b"")


def test_wrong_words(stage):
    """options and operands that do not go"""
    for words, pattern in ((["-J"], "--batch"), (["-c", "3"], "--batch"), (["-o", "name"], "--batch"),
                           (["-d", "1us"], "50ms"), (["-d", "soon"], "no duration"), (["--sort", "x"], "--sort takes"),
                           (["--pid", "x"], "no pid"), (["nonsense"], "no type"), (["--batch", "-c", "0"], "-c 0"),
                           (["--filter", "x" * 200], "longer"), (["--batch", "-o", "x"], "no column")):
        one_line(stage.run_wherry("top", "-d", "50ms", *words, code=2), pattern)


def test_what_it_costs(stage):
    """however often it is to look, it takes a fifth of a processor at most, and what drawing takes"""
    with terminal(stage, "fifo", "posix-mq", "-d", "50ms") as there:
        there.shows("objects?")
        wait_for(lambda: tap.asleep(there.pid, os.path.realpath(stage.wherry)), "it to sleep")
        ticks = os.sysconf("SC_CLK_TCK")

        def used():
            with open(f"/proc/{there.pid}/stat", encoding="utf-8", errors="replace") as file:
                return sum(int(n) for n in file.read().rsplit(")", 1)[1].split()[11:13]) / ticks
        shares = []
        while len(shares) < 3 and (not shares or shares[-1] >= 0.4):  # a look may fall into a second whole, and once
            begin, spent = time.monotonic(), used()
            while time.monotonic() < begin + 1:
                there.pump(0.1)
            shares.append((used() - spent) / (time.monotonic() - begin))
        assert shares[-1] < 0.4, f"{shares} of a processor"
        there.type("q")
        same(there.end(), 0)
