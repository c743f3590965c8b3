# tests/cli/verbs.py - what is common to the verbs: terminals, ask, transports, help, signals.
#
# SPDX-License-Identifier: MIT
import json
import os
import pathlib
import pty
import random
import re
import select
import signal
import subprocess

import run
from run import one_line, same


# ---- terminals ----

def on_terminal(stage, *words, before=lambda: None, **how):
    """What a program prints on a terminal of its own, standard output and error together."""
    near, far = pty.openpty()
    process = stage.start(*words, stdout=far, stderr=far, **how)
    os.close(far)
    before()
    got = b""
    try:
        while True:
            got += os.read(near, 65536)
    except OSError:  # EIO: the last descriptor of the other side is closed
        pass
    os.close(near)
    return process.end(None), got.replace(b"\r\n", b"\n")


def test_control_bytes_on_a_terminal(stage):
    """on a terminal control bytes are shown, not obeyed; --raw obeys"""
    data = b"\x1b]0;title\x07 \x7f \xc2\x9b31m \xff ok \t gr\xc3\xbc\xc3\x9fe\n"
    shown = b"\\x1b]0;title\\x07 \\x7f \\xc2\\x9b31m \\xff ok \t gr\xc3\xbc\xc3\x9fe\n"
    for flags, wanted in (([], shown), (["--raw"], data[:-1])):
        _, got = on_terminal(stage, stage.wherry, "recv", *flags, "unix:./s",
                             before=lambda: stage.run_wherry("send", "unix:./s", input=data))
        same(got, wanted)


def test_progress_on_a_terminal(stage):
    """no progress line for short work; a summary with -v; nothing with -q"""
    stage.write("text", b"one\ntwo\n")
    for flags, wanted in (([], rb""), (["-v"], rb"wherry: 2 messages sent, 6 B in .* messages/s.*\n"),
                          (["-q", "-v"], rb"")):
        for _ in range(3):  # a machine that stands still may make it long work, but not each time
            recv = stage.start_wherry("recv", "unix:./s")
            stage.wait_listening("s")
            _, got = on_terminal(stage, stage.wherry, "send", *flags, "unix:./s", "text")
            recv.end()
            if re.fullmatch(wanted, got):
                break
        else:
            raise run.tap.Failure(f"{flags}: {got!r}")


def test_long_work_on_a_terminal(stage):
    """after a second of work a line on the terminal is rewritten, and taken away at the end"""
    stage.fifo("in")

    def feed():
        recv = stage.start_wherry("recv", "unix:./s")
        fd = os.open(stage.path / "in", os.O_WRONLY)
        for _ in range(70):
            os.write(fd, b"x\n" * 64)
            select.select([], [], [], 0.02)  # long work is what is tested
        os.close(fd)
        recv.end()

    process, got = on_terminal(stage, stage.wherry, "send", "unix:./s", "in", before=feed)
    same(process.popen.returncode, 0)
    if not re.search(rb"\r\d+ messages sent, .*\x1b\[K", got) or not got.endswith(b"\r\x1b[K"):
        raise run.tap.Failure(repr(got))


def test_waiting_where_no_directory_is(stage):
    """who waits for an address in a directory that is not there says so: on a terminal, with -v, and after a second"""
    stage.write("text", b"x\n")
    line = rb"wherry: waiting for %s:\./no/such/x(?:\?connect)?: the directory \./no/such does not exist\n"
    late = rb"wherry: %s:\./no/such/x(?:\?connect)?: nobody is there: the directory \./no/such does not exist; .*\n"

    def says(got, *lines):
        if not re.fullmatch(b"".join(lines), got):
            raise run.tap.Failure(f"{got!r} is not {lines}")

    def of_scheme(scheme):
        url, name = scheme.decode() + ":./no/such/x", re.escape(scheme)
        says(on_terminal(stage, stage.wherry, "send", "-w.2", url, "text")[1], line % name, late % name)
        says(on_terminal(stage, stage.wherry, "send", "-qw.2", url, "text")[1], late % name)
        says(stage.run_wherry("send", "-vw.2", url, "text", code=3).err, line % name, late % name)
        says(stage.run_wherry("send", "-w.2", url, "text", code=3).err, late % name)

    for scheme in (b"unix+seqpacket", b"fifo"):
        for left in (2, 1, 0):  # a machine that stands still may make a second of .2 s, but not each time
            try:
                of_scheme(scheme)
                break
            except run.tap.Failure:
                if not left:
                    raise
    later = [stage.start_wherry("send", "-w1.5", "unix:./no/such/x", "text"),
             stage.start_wherry("recv", "-w1.5", "fifo:./no/such/x?connect"),
             stage.start_wherry("ask", "-w1.5", "unix:./no/such/x", "x")]
    for process in later:
        name = re.escape(process.words[-2 if process.words[1] != "recv" else -1].split(":")[0].encode())
        says(process.end(3).err, line % name, late % name)


def test_names_of_missing_directories(stage):
    """the missing directory as the URL means it; none where it exists or where there is none"""
    stage.write("text", b"x\n")
    for url, directory in (("unix:///nowhere/x", "/nowhere"), ("unix:/nowhere/deep/x", "/nowhere/deep"),
                           ("unix:no/x", "no"), ("unix:./n%6f/%3Fx?frame=line", "./no"), ("fifo:./no//x", "./no/"),
                           ("unix:./x", None), ("unix:x", None), ("unix:/x-nobody-has", None), ("unix:@no/such", None)):
        text = stage.run_wherry("send", "-vw.15", url, "text", code=3).err.decode()
        said = re.findall(r"waiting for (.*): the directory (.*) does not exist", text)
        same(said, [(url, directory)] if directory else [], url)
    recv = stage.start_wherry("recv", "-v", "unix:./later/x?connect")
    recv.read(lambda: b"\n" in recv.err, "the line")
    (stage.path / "later").mkdir()
    send = stage.run_wherry("send", "unix:./later/x?listen", "text")
    same((recv.end().out, send.err), (b"x\n", b""))


def test_relay_where_no_directory_is(stage):
    """a relay whose TO is in a directory that does not exist says so, once for all peers"""
    relay = stage.start_wherry("relay", "-v", "unix:./s?frame=line", "unix:./no/such/x?frame=line")
    senders = [stage.start_wherry("send", "unix:./s?frame=line", stdin=subprocess.PIPE) for _ in range(3)]
    for sender in senders:
        sender.write(b"x\n")
    relay.read(lambda: b"\n" in relay.err, "the line")
    one_line(relay, r"waiting for unix:\./no/such/x\?frame=line: the directory \./no/such does not exist")
    (stage.path / "no/such").mkdir(parents=True)
    recv = stage.start_wherry("recv", "unix:./no/such/x?frame=line")
    recv.read_out(6)
    for sender in senders:
        sender.shut()
        sender.end()
    same(recv.end().out, b"x\n" * 3)
    relay.end()
    same(relay.err.count(b"waiting for"), 1, "lines about the directory")


# ---- ask, transports, help ----

def test_ask_without_an_answer(stage):
    """ask: a server that closes without an answer"""
    recv = stage.start_wherry("recv", "-c1", "unix:./s?frame=raw")
    stage.wait_listening("s")
    one_line(stage.run_wherry("ask", "unix:./s", "x", code=1), r"unix:\./s", "without a reply; ask sends raw bytes: .*"
             r"'\?frame=length'$")
    recv.end()


def test_ask_of_a_library_server(stage):
    """ask: a server of the library's framing: the hint at frame=length, with which it answers"""
    echo = stage.start_wherry("echo", "unix:./s?frame=length")
    stage.wait_listening("s")
    one_line(stage.run_wherry("ask", "-w.2", "unix:./s", "x", code=3),
             r"no reply came in time; ask .*'\?frame=length'$")
    same(stage.run_wherry("ask", "unix:./s?frame=length", "x").out, b"x\n")
    one_line(stage.run_wherry("ask", "-w.2", "unix:./s?frame=nul", "x", code=3), "no reply came in time$")
    echo.signal(signal.SIGINT)
    echo.end(None)


def test_ask_all(stage):
    """ask --all prints everything until the server closes"""
    data = random.Random(9).randbytes(3_000_000)
    server = stage.start(stage.helper("raw_echod"), "a", "stream", 1)
    stage.wait_listening("a")
    same(stage.run_wherry("ask", "--all", "--raw", "-w20s", "unix:./a", input=data).out, data)
    server.end()


def test_ask_echo(stage):
    """ask and echo over every scheme that goes both ways, in every framing"""
    for url in ("unix:./a", "unix:./b?frame=length", "unix:./c?frame=line", "unix:./d?frame=nul",
                "unix:./e?frame=fixed:5", "unix+seqpacket:./f", "unix+dgram:./g"):
        echo = stage.start_wherry("echo", url)
        for _ in range(3):
            same(stage.run_wherry("ask", url, "hello").out, b"hello\n", url)
        same(stage.run_wherry("ask", "--raw", url, input=b"12345").out, b"12345", url)
        echo.signal(signal.SIGINT)
        echo.end(128 + 2)


def test_ask_big(stage):
    """ask and echo carry a message of 1 MiB in length frames"""
    data = random.Random(10).randbytes(1 << 20)
    echo = stage.start_wherry("echo", "unix:./s?frame=length")
    same(stage.run_wherry("ask", "--raw", "unix:./s?frame=length", input=data).out, data)
    echo.signal(signal.SIGINT)
    echo.end(128 + 2)


def test_sides_in_the_url(stage):
    """what the URL says wins: a listening ask, a connecting echo"""
    echo = stage.start_wherry("echo", "unix:./s?connect&frame=line")
    same(stage.run_wherry("ask", "unix:./s?listen&frame=line", "the other way round").out, b"the other way round\n")
    echo.signal(signal.SIGTERM)
    echo.end(None)


def test_transports(stage):
    """transports: a table, chosen columns, JSON with a schema, scdoc"""
    table = stage.run_wherry("transports").out.decode()
    for word in ("SCHEME", "OBJECT", "unix+seqpacket", "fifo"):
        if word not in table:
            raise run.tap.Failure(f"{word} is not in {table}")
    same(stage.run_wherry("transports", "-n", "-r", "-o", "scheme").out.decode().split(),
         [t["scheme"] for t in json.loads(stage.run_wherry("transports", "-J").out)["transports"]])
    rows = json.loads(stage.run_wherry("transports", "-J", "-o", "SCHEME,KEEPS,LIMITS,TRAITS,LARGEST").out)
    same(rows["schema"], 1)
    unix = next(r for r in rows["transports"] if r["scheme"] == "unix")
    same((isinstance(unix["keeps"], list), isinstance(unix["traits"], list), unix["largest"]), (True, True, None))
    same(all(isinstance(n, int) for n in unix["keeps"]), True, "clauses are numbers")
    same(("stream" in unix["traits"], "no-types" in unix["limits"], 16 in unix["keeps"]), (True, False, True), "unix")
    packets = next(r for r in rows["transports"] if r["scheme"] == "unix+seqpacket")
    same(("stream" in packets["traits"], "no-types" in packets["limits"], 16 in packets["keeps"]), (False, True, False),
         "unix+seqpacket")
    same(b"LIMITS" in stage.run_wherry("transports", "--list-columns").out, True)
    scdoc = stage.run_wherry("transports", "--scdoc").out
    same((scdoc[:3], scdoc.count(b"\n[[ "), b"unix+dgram" in scdoc), (b"[[ ", 1, True))
    stage.need("scdoc")
    page = b"wherry-semantics(7)\n\n# NAME\n\nwherry-semantics - what is kept\n\n# TABLE\n\n" + scdoc
    stage.run("scdoc", input=page)


def test_transports_on_a_terminal(stage):
    """transports on a terminal of 80 columns: cells are folded between words"""
    _, got = on_terminal(stage, stage.wherry, "transports", env={**os.environ, "COLUMNS": "80"})
    same(max(len(line.rstrip()) for line in got.decode().splitlines()) <= 80, True, "lines fit")
    for word in (b"keeps-tail", b"no-in-place", b"boundaries", b"descriptors"):
        same(word in got, True, f"{word} in one piece")


def test_tables_of_both_kinds(stage):
    """a table in a pipe is drawn as on a wide terminal: empty cells, numbers last, no rows, names that are no text"""
    wide = {**os.environ, "COLUMNS": "1000"}
    for name in ("plain", "gr\u00fcn \\x41 \t.", "100%"):
        stage.write(name, b"")
        with open(stage.path / name):
            for columns in ("COMMAND,PID,FD", "FD,THREAD,LENGTH,START", "OBJECT,HOW,TYPE", "START", "OBJECT,LENGTH"):
                for more in ([], ["-n"]):
                    words = [*more, "-o", columns, name]
                    shown = on_terminal(stage, stage.wherry, "who", *words, env=wide)[1]
                    kept = b"".join(line + b"\n" for line in shown.splitlines() if not line.startswith(b"wherry: "))
                    same(stage.run_wherry("who", *words, code=None).out, kept, " ".join(words))
    same(stage.run_wherry("who", "-o", "PID", "plain", code=None).out, b"")


def listed_verbs(stage):
    """The verbs of --help: two in a line, the second in column 40."""
    lines = [line for line in stage.run_wherry("-h").out.decode().splitlines() if line.startswith("  ")]
    return [part.split()[0] for line in lines for part in (line[:40], line[40:]) if part]


def test_help_on_a_screen(stage):
    """--help fits a terminal of 80 by 24, prompt included; every verb has a page, and stands in one of four groups"""
    lines = stage.run_wherry("--help").out.decode().splitlines()
    same(len(lines) <= 23, True, "its lines")
    same(max(len(line) for line in lines) <= 80, True, "its width")
    same(len([line for line in lines if line.endswith(":")]), 4, "groups")
    verbs = listed_verbs(stage)
    pages = pathlib.Path(os.environ["WHERRY_SOURCE"]).glob("docs/man/wherry-*.1.scd")
    same(sorted(verbs), sorted(page.name[len("wherry-"):-len(".1.scd")] for page in pages), "verbs")
    same([line for line in lines if line.startswith("  ") and line[38:40].strip()], [], "lines that run together")


def test_the_verb_that_was_meant(stage):
    """an unknown verb: the nearest is named, or none when none is near"""
    for wrong, meant in (("lsit", "ls"), ("list", "ls"), ("sned", "send"), ("resv", "recv"), ("seg", "segment"),
                         ("transprot", "transports"), ("Kill", "kill"), ("dcotor", "doctor"), ("sgnals", "signals")):
        for words in ([wrong], ["help", wrong]):
            one_line(stage.run_wherry(*words, code=2), f"there is no verb \"{wrong}\"; did you mean '{meant}'\\?")
    for wrong in ("", "x", "frobnicate", "a" * 300, "\x1b[31m"):
        one_line(stage.run_wherry(wrong, code=2), r'there is no verb ".*"; try \'wherry --help\'')
    for verb in listed_verbs(stage):
        twice = verb[0] + verb
        one_line(stage.run_wherry(twice, code=2), f"there is no verb \"{twice}\"; did you mean '{verb}'\\?")


def test_help(stage):
    """help of every verb: exit codes and an example; the version"""
    same(stage.run_wherry("--help").out, stage.run_wherry("help").out)
    verbs = listed_verbs(stage)
    for verb in verbs:
        text = stage.run_wherry(verb, "--help").out
        same(text, stage.run_wherry("help", verb).out, f"help {verb}")
        for word in (b"Usage: wherry " + verb.encode(), b"Exit codes:", b"Examples:", b"--timeout"):
            same(word in text, True, f"{word} in the help of {verb}")
        same(max(len(line) for line in text.decode().splitlines()) <= 80, True, f"help of {verb} fits a terminal")
    same(re.fullmatch(rb"wherry \d+\.\d+\.\d+\n", stage.run_wherry("-V").out) is not None, True, "the version")


def test_color_is_accepted(stage):
    """--color in all its forms, and NO_COLOR"""
    plain = stage.run_wherry("transports").out
    for flag in ("--color", "--color=auto", "--color=always", "--color=never"):
        for more in ({}, {"NO_COLOR": "1"}):
            same(stage.run_wherry("transports", flag, env={**os.environ, **more}).out, plain, f"with {flag}")


# ---- signals ----

def test_signals_end_cleanly(stage):
    """SIGINT, SIGTERM and SIGHUP end every verb with 128+N and remove what it made"""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for words in (["recv", "unix:./s"], ["recv", "unix+dgram:./s"], ["echo", "unix:./s"],
                      ["relay", "unix:./s", "unix:./t"]):
            process = stage.start_wherry(*words)
            stage.wait_listening("s")
            stage.wait_asleep(process)
            process.signal(number)
            process.end(128 + number)
            same(os.path.lexists(stage.path / "s"), False, f"{words[0]} left its socket")


def test_a_long_wait_for_the_other_side(stage):
    """send and ask wait for a receiver that comes only after a while"""
    stage.write("text", b"x\n")
    senders = [stage.start_wherry("send", url, "text") for url in ("unix:./s", "fifo:./f")]
    asker = stage.start_wherry("ask", "-w20s", "unix:./a", "x")
    for process in senders + [asker]:
        stage.wait_asleep(process)
    select.select([], [], [], 0.4)  # that time passes is what is tested
    for url in ("unix:./s", "fifo:./f"):
        same(stage.run_wherry("recv", url).out, b"x\n", url)
    echo = stage.start_wherry("echo", "unix:./a")
    same(asker.end().out, b"x\n")
    echo.stop()
    for process in senders:
        process.end()


def test_signals_end_waits(stage):
    """a signal ends send and ask while they wait for somebody to come, for input, and for room"""
    def stop(process):
        process.signal(signal.SIGINT)
        process.end(128 + 2)

    for words in (["send", "unix:./s", "/dev/null"], ["send", "fifo:./f", "/dev/null"],
                  ["ask", "unix:./s", "x", "-w1d"], ["recv", "unix:./s?connect"]):
        process = stage.start_wherry(*words)
        stage.wait_asleep(process)
        run.wait_for(lambda p=process: run.catches(p, signal.SIGINT), "the handler")
        stop(process)
    stage.fifo("f")
    hold = os.open(stage.path / "f", os.O_RDWR)
    waiting = stage.start_wherry("send", "fifo:./f", stdin=subprocess.PIPE)
    stage.wait_opened(waiting, "f")
    stage.wait_asleep(waiting)
    stop(waiting)
    waiting.shut()
    full = stage.start_wherry("send", "--raw", "fifo:./f", "/dev/zero")
    stage.wait_opened(full, "f")
    stage.wait_asleep(full)
    full.signal(signal.SIGINT)
    run.wait_for(lambda: not run.catches(full, signal.SIGINT), "the first signal to be taken")
    full.signal(signal.SIGINT)  # the second does not wait for the reader that never comes
    full.end(None)
    os.close(hold)


def test_signals_in_every_wait(stage):
    """SIGINT, SIGTERM and SIGHUP in each wait of each verb: exit code 128+N, no line, no name left"""
    def quietly(words, number, ready=lambda process: None, **how):
        process = stage.start_wherry(*words, **how)
        run.wait_for(lambda: run.catches(process, number), f"{process} to catch the signal")
        ready(process)
        stage.wait_asleep(process)
        process.signal(number)
        process.end(128 + number)
        same((process.out, process.err), (b"", b""), f"what {process} says")
        same(os.listdir(stage.path), [], f"what {process} left")
        if process.popen.stdin:
            process.shut()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for words in (["send", "unix:./s", "/dev/null"], ["send", "unix+seqpacket:./s", "/dev/null"],
                      ["send", "unix+dgram:./s", "/dev/null"], ["send", "fifo:./s", "/dev/null"],
                      ["ask", "unix:./s", "x"],
                      ["recv", "unix:./s?connect"], ["recv", "fifo:./s?connect"], ["echo", "unix:./s?connect"],
                      ["relay", "unix:./s?connect", "unix:./t"]):
            quietly(words, number)
        for words in (["recv", "unix:./s"], ["recv", "unix+seqpacket:./s"], ["recv", "unix+dgram:./s"],
                      ["recv", "-w1d", "unix:./s"], ["echo", "unix:./s"],
                      ["echo", "unix+seqpacket:./s"], ["echo", "unix+dgram:./s"],
                      ["relay", "unix:./s", "unix:./t"], ["relay", "--one-way", "unix:./s", "unix:./t"],
                      ["relay", "unix+dgram:./s", "fifo:./t"],
                      ["relay", "--keep", "unix:./t?listen", "unix:./s?listen"]):
            quietly(words, number, lambda _: stage.wait_listening("s"))
        for words in (["recv", "fifo:./s"], ["recv", "--keep", "fifo:./s?frame=line"],
                      ["relay", "fifo:./s", "unix:./t"]):
            quietly(words, number, lambda process: (stage.wait_path("s"), stage.wait_opened(process, "s")))
        quietly(["ask", "unix:./s"], number, stdin=subprocess.PIPE)
        quietly(["send", "unix:./s?listen"], number, lambda _: stage.wait_listening("s"), stdin=subprocess.PIPE)


def test_signals_while_peers_are_there(stage):
    """a signal while a peer is connected: ask before its answer, recv, echo and relay between two messages"""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with stage.listen("server") as server:
            asker = stage.start_wherry("ask", "-w1d", "unix:./server", "question")
            client, _ = server.accept()
            with client:
                same(client.recv(100), b"question")
                stage.wait_asleep(asker)
                asker.signal(number)
                same((asker.end(128 + number).out, asker.err), (b"", b""))
            (stage.path / "server").unlink()
        for words in (["recv", "--raw", "unix:./s?frame=raw"], ["echo", "unix:./s"]):
            process = stage.start_wherry(*words)
            stage.wait_listening("s")
            with stage.connect("s") as client:
                client.sendall(b"hello")
                if words[0] == "recv":
                    process.read_out(5)
                else:
                    same(client.recv(5), b"hello")
                stage.wait_asleep(process)
                process.signal(number)
                process.end(128 + number)
                same(client.recv(5), b"", f"after {process} has gone")
            same(os.listdir(stage.path), [], f"what {process} left")


def test_a_signal_with_a_message_begun(stage):
    """SIGTERM while the receiver does not read: after 5 s send ends, and says what went out whole"""
    stage.write("big", (b"x" * 99_999 + b"\n") * 30)
    with stage.listen("s") as server:
        send = stage.start_wherry("send", "unix:./s?frame=line", "big")
        client, _ = server.accept()
        run.wait_for(lambda: run.unread(client) or select.select([client], [], [], 0)[0], "a message")
        stage.wait_asleep(send)
        send.stop()
        with client:
            got = client.makefile("rb").read()
    same(got.endswith(b"\n"), False, "whether a message was begun")
    whole = got.count(b"\n")
    one_line(send, rf"unix:\./s\?frame=line: the receiver did not take all in time; {whole} messages? w(as|ere) sent, ")


def test_a_signal_keeps_what_was_sent(stage):
    """what send accepted before a signal is delivered"""
    recv = stage.start_wherry("recv", "unix:./s")
    send = stage.start_wherry("send", "unix:./s", stdin=subprocess.PIPE)
    data = b"".join(b"line %d\n" % i for i in range(1000))
    send.write(data)
    same(recv.read_out(len(data)), data)
    send.stop()
    send.shut()
    same(recv.end().out, data)


def test_nohup(stage):
    """a signal that was ignored when the command began stays ignored"""
    process = stage.start("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", stage.wherry, "recv", "unix:./s")
    stage.wait_listening("s")
    process.signal(signal.SIGHUP)
    stage.run_wherry("send", "unix:./s", input=b"alive\n")
    same(process.end().out, b"alive\n")


def test_sigpipe(stage):
    """recv into a closed pipe dies of SIGPIPE, as commands do, once its names are gone and the loss was said"""
    for url in ("unix:./s", "unix+dgram:./s", "fifo:./s"):
        near, far = os.pipe()
        recv = stage.start_wherry("recv", url, stdout=far, restore_signals=True)
        os.close(far)
        os.close(near)
        stage.run_wherry("send", url, input=b"x\n", code=None)
        one_line(recv.end(-signal.SIGPIPE), "standard output: Broken pipe; 1 message was received but not written")
        same(os.listdir(stage.path), [], f"what is left of {url}")


def test_sigpipe_without_a_word(stage):
    """the same when standard error is closed as well: it is no reason to leave names behind"""
    near, far = os.pipe()
    recv = stage.start_wherry("recv", "unix:./s", stdout=far, stderr=far, restore_signals=True)
    os.close(far)
    os.close(near)
    stage.run_wherry("send", "unix:./s", input=b"x\n", code=None)
    recv.end(-signal.SIGPIPE)
    same(os.listdir(stage.path), [], "what is left")


def test_sigpipe_ignored(stage):
    """where SIGPIPE is ignored, a closed pipe is a failure of one line"""
    near, far = os.pipe()
    recv = stage.start_wherry("recv", "unix:./s", stdout=far, restore_signals=False)
    os.close(far)
    os.close(near)
    stage.run_wherry("send", "unix:./s", input=b"x\n", code=None)
    one_line(recv.end(1), "received but not written")
