# tests/cli/verbs.py - send, recv, ask, transports and help: every flag, end to end.
#
# SPDX-License-Identifier: MIT
import base64
import json
import os
import pty
import random
import re
import select
import signal
import subprocess

import run
from run import json_lines, one_line, same

SCHEMES = ("unix", "unix+seqpacket", "unix+dgram", "fifo")
ENDLESS = ("unix+dgram",)  # recv needs -c there


def carry(stage, url, data, send=(), recv=(), count=None):
    """What recv prints of what send reads."""
    count = ["-c", str(count)] if count is not None and url.startswith(ENDLESS) else []
    receiver = stage.start_wherry("recv", *recv, *count, url)
    stage.run_wherry("send", *send, url, input=data)
    return receiver.end().out


# ---- payloads ----

def test_lines_over_everything(stage):
    """10,000 lines over every scheme, a last one without newline among them"""
    data = b"".join(b"line %d\n" % i for i in range(10000)) + b"the last"
    for scheme in SCHEMES:
        same(carry(stage, f"{scheme}:./{scheme}", data, count=10001), data + b"\n", scheme)


def test_sizes(stage):
    """messages of 0 bytes to 1 MiB"""
    source = random.Random(7)
    sizes = [0, 1, 2, 63, 64, 4083, 4084, 4095, 4096, 4097, 65535, 65536, 65537, 212992, 1 << 20, 0, 5]
    texts = [source.randbytes(size).replace(b"\0", b"\1") for size in sizes]
    data = b"".join(t + b"\0" for t in texts)
    for scheme in ("unix", "fifo"):
        same(carry(stage, f"{scheme}:./{scheme}", data, ["-0"], ["-0"]), data, scheme)
    small = b"".join(t + b"\0" for t in texts if len(t) < 100000)
    for scheme in ("unix+seqpacket", "unix+dgram"):
        same(carry(stage, f"{scheme}:./{scheme}", small, ["-0"], ["-0"], small.count(b"\0")), small, scheme)


def test_nul_separated(stage):
    """-0 on either side, and names with newlines in them"""
    data = b"one\0two\nlines\0\0last"
    same(carry(stage, "unix:./s", data, ["-0"], ["-0"]), data + b"\0")
    same(carry(stage, "unix:./s", data, ["--null"]), b"one\ntwo\nlines\n\nlast\n")
    same(carry(stage, "unix:./s?frame=nul", data, ["-0"], ["-0"]), data + b"\0")


def test_with_nul(stage):
    """--with-nul sends each text with a NUL of its own"""
    same(carry(stage, "unix:./s", b"one\n\ntwo", ["--with-nul"], ["--raw"]), b"one\0\0two\0")
    same(carry(stage, "unix:./s", b"one\0two\0", ["-0", "--with-nul"], ["-0"]), b"one\0\0two\0\0")


def test_fixed(stage):
    """--fixed N cuts the input into records, whatever is in them"""
    data = bytes(range(256)) * 64
    same(carry(stage, "unix:./s", data, ["--fixed=4"], ["--raw"]), data)
    same(carry(stage, "unix:./s?frame=fixed:64", data, ["--fixed", "64"], ["--raw"]), data)
    same([m["size"] for m in json_lines(carry(stage, "unix:./s", data, ["--fixed=128"], ["--json"]))], [128] * 128)


def test_raw(stage):
    """--raw copies bytes as they are, over objects that take only small messages too"""
    data = random.Random(8).randbytes(3_000_000)
    for url in ("unix:./a", "unix:./b?frame=raw", "fifo:./c", "fifo:./d?frame=raw", "unix+seqpacket:./e"):
        same(carry(stage, url, data, ["--raw"], ["--raw"]), data, url)


def test_a_last_record_without_its_end(stage):
    """the last line of a raw writer comes out without a newline it never had; with -0 without a NUL"""
    for flags, frame, data in (([], "line", b"one\ntwo"), (["-0"], "nul", b"one\0two")):
        recv = stage.start_wherry("recv", *flags, f"fifo:./f?frame={frame}")
        stage.wait_path("f")
        stage.wait_opened(recv, "f")
        stage.run(stage.helper("raw_fifo"), "write", "f", input=data)
        same(recv.end().out, data, frame)


def test_input_from_a_file(stage):
    """FILE, - and standard input are the same"""
    stage.write("text", b"a\nb\n")
    for words in (["text"], ["-"], []):
        recv = stage.start_wherry("recv", "unix:./s")
        stage.run_wherry("send", "unix:./s", *words, input=b"a\nb\n")
        same(recv.end().out, b"a\nb\n")


def test_empty_input(stage):
    """an empty input sends nothing, and the receiver gets its end"""
    for flags in ([], ["-0"], ["--raw"], ["--fixed=4"]):
        same(carry(stage, "unix:./s", b"", flags), b"")


def test_nothing_is_held_back(stage):
    """a line goes out while the input pauses, and comes out at once"""
    for url in ("unix:./s", "unix:./s?frame=line", "fifo:./f", "unix+dgram:./d"):
        recv = stage.start_wherry("recv", *(["-c50"] if url.startswith(ENDLESS) else []), url)
        send = stage.start_wherry("send", url, stdin=subprocess.PIPE)
        wanted = b""
        for i in range(50):
            send.write(b"line %d\n" % i)
            wanted += b"line %d\n" % i
            same(recv.read_out(len(wanted)), wanted, url)
        send.shut()
        send.end()
        recv.end()


def test_half_a_line_waits(stage):
    """half a line waits for its other half"""
    recv = stage.start_wherry("recv", "unix:./s")
    send = stage.start_wherry("send", "unix:./s", stdin=subprocess.PIPE)
    send.write(b"first\nsec")
    same(recv.read_out(6), b"first\n")
    send.write(b"ond\n")
    same(recv.read_out(13), b"first\nsecond\n")
    send.shut()
    send.end()
    recv.end()


# ---- recv ----

def test_json(stage):
    """--json: peer, type, time, size, and data or data_b64"""
    payloads = [b"plain", "gr\u00fc\u00dfe".encode(), b"", b"\xff\xfe", b"esc\x1b[31m \x7f \xc2\x9b", b"\"\\/", b"\xed\xa0\x80"]
    recv = stage.start_wherry("recv", "-J", "unix:./s")
    send = stage.run_wherry("send", "--type=7", "unix:./s", input=b"\n".join(payloads))
    lines = json_lines(recv.end().out)
    same([m["data"].encode() if "data" in m else base64.b64decode(m["data_b64"]) for m in lines], payloads)
    same([("data" in m) for m in lines], [True, True, True, False, True, True, False], "what is text")
    for m, payload in zip(lines, payloads):
        same((m["type"], m["size"]), (7, len(payload)))
        same({k: m["peer"][k] for k in ("pid", "uid", "gid")},
             {"pid": send.pid, "uid": os.getuid(), "gid": os.getgid()}, "the peer")
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", m["time"]):
            raise run.tap.Failure(f"the time is {m['time']}")
    for byte in (b"\x1b", b"\x7f", b"\xc2\x9b"):
        same(byte in recv.out, False, f"{byte!r} as it is in the JSON")


def test_json_of_nul(stage):
    """--json: a NUL makes data_b64; base64 of every length"""
    payloads = [b"\0" * n for n in range(1, 8)]
    recv = stage.start_wherry("recv", "-J", "unix:./s")
    send = stage.start_wherry("send", "--raw", "unix:./s", stdin=subprocess.PIPE)
    for payload in payloads:
        send.write(payload)
        recv.read(lambda n=recv.out.count(b"\n"): recv.out.count(b"\n") > n, "a line")
    send.shut()
    send.end()
    same([base64.b64decode(m["data_b64"]) for m in json_lines(recv.end().out)], payloads)


def test_json_incomplete(stage):
    """--json says which record is incomplete"""
    recv = stage.start_wherry("recv", "--json", "unix:./s?frame=line")
    stage.wait_listening("s")
    stage.run(stage.helper("raw_sender"), "s", "stream", "one\ntwo")
    same([(m["data"], m.get("incomplete", False)) for m in json_lines(recv.end().out)], [("one", False), ("two", True)])


def test_count(stage):
    """-c stops after so many messages"""
    for scheme in SCHEMES:
        recv = stage.start_wherry("recv", "-c2", f"{scheme}:./{scheme}")
        stage.run_wherry("send", f"{scheme}:./{scheme}", input=b"one\ntwo\nthree\n", code=None)
        same(recv.end().out, b"one\ntwo\n", scheme)


def test_count_leaves_the_rest(stage):
    """recv -c on a FIFO and on an inherited pipe leaves the rest for the next reader"""
    for frame in ("length", "line", "nul", "fixed:4"):
        flags = ["--fixed=4"] if frame == "fixed:4" else []
        stage.fifo(f"f-{frame}")
        hold = os.open(stage.path / f"f-{frame}", os.O_RDWR)
        stage.run_wherry("send", *flags, f"fifo:./f-{frame}?frame={frame}", input=b"one\ntwo\n333\n")
        got = [stage.run_wherry("recv", "-c1", f"fifo:./f-{frame}?frame={frame}").out for _ in range(3)]
        os.close(hold)
        want = [b"one\n\n", b"two\n\n", b"333\n\n"] if frame == "fixed:4" else [b"one\n", b"two\n", b"333\n"]
        same(got, want, f"from a FIFO in {frame}")
        near, far = os.pipe()
        stage.run_wherry("send", *flags, f"fd:{far}?frame={frame}", input=b"one\ntwo\n333\n", pass_fds=[far])
        os.close(far)
        got = [stage.run_wherry("recv", "-c1", f"fd:{near}?frame={frame}", pass_fds=[near]).out for _ in range(3)]
        os.close(near)
        same(got, want, f"from a pipe in {frame}")


def test_timeouts(stage):
    """-w ends a wait with exit code 3 and a line"""
    one_line(stage.run_wherry("recv", "-w", "50ms", "unix:./s", code=3), r"unix:\./s")
    one_line(stage.run_wherry("recv", "-w", "0", "unix:./s", code=3), r"unix:\./s")
    one_line(stage.run_wherry("send", "-w", "50ms", "unix:./s", input=b"x\n", code=3), r"unix:\./s")
    one_line(stage.run_wherry("send", "-w", "0.05", "fifo:./f", input=b"x\n", code=3), r"fifo:\./f")
    one_line(stage.run_wherry("ask", "-w", "50000us", "unix:./s", "x", code=3), r"unix:\./s")
    one_line(stage.run_wherry("relay", "-w", "50ms", "unix:./s", "unix:./t", code=3), "")
    stage.run_wherry("echo", "-w", "50ms", "unix:./s", code=3)


def test_timeout_of_a_silent_server(stage):
    """ask -w: a server that takes the question and says nothing"""
    recv = stage.start_wherry("recv", "unix:./s?frame=raw")
    stage.wait_listening("s")
    one_line(stage.run_wherry("ask", "-w", "100ms", "unix:./s", "x", code=3), r"unix:\./s")
    recv.end()


def test_timeout_bounds_each_wait(stage):
    """recv -w bounds each wait, not the whole"""
    recv = stage.start_wherry("recv", "-w", "2s", "unix:./s")
    send = stage.start_wherry("send", "unix:./s", stdin=subprocess.PIPE)
    got = b""
    for i in range(3):
        select.select([], [], [], 0.8)  # what is tested is that time passes
        send.write(b"x\n")
        got += b"x\n"
        same(recv.read_out(len(got)), got)
    one_line(recv.end(3), r"unix:\./s")
    send.shut()
    send.end(None)


def test_a_full_channel_and_w(stage):
    """send -w: nobody reads, exit code 3"""
    stage.fifo("f")
    hold = os.open(stage.path / "f", os.O_RDWR)
    send = stage.run_wherry("send", "-w", "200ms", "fifo:./f", "/dev/zero", "--raw", code=3)
    os.close(hold)
    one_line(send, r"fifo:\./f")


def test_keep(stage):
    """--keep goes on after the end of the senders; without it recv stops there"""
    recv = stage.start_wherry("recv", "--keep", "unix:./s")
    for word in (b"one\n", b"two\n", b"three\n"):
        before = len(recv.out)
        stage.run_wherry("send", "unix:./s", input=word)
        recv.read_out(before + len(word))
    recv.signal(signal.SIGTERM)
    same(recv.end(128 + 15).out, b"one\ntwo\nthree\n")
    fifo = stage.start_wherry("recv", "--keep", "-c2", "fifo:./f")
    stage.run_wherry("send", "fifo:./f", input=b"one\n")
    same(fifo.read_out(4), b"one\n")
    stage.run_wherry("send", "fifo:./f", input=b"two\n")
    same(fifo.end().out, b"one\ntwo\n")


def test_keep_ends_where_nobody_can_come(stage):
    """--keep ends on an inherited pipe, where no sender can come any more"""
    near, far = os.pipe()
    recv = stage.start_wherry("recv", "--keep", f"fd:{near}", pass_fds=[near])
    os.close(near)
    stage.run_wherry("send", f"fd:{far}", input=b"one\n", pass_fds=[far])
    os.close(far)
    same(recv.end().out, b"one\n")


def test_two_senders(stage):
    """recv ends when the last of two senders has gone"""
    recv = stage.start_wherry("recv", "unix:./s")
    first = stage.start_wherry("send", "unix:./s", stdin=subprocess.PIPE)
    second = stage.start_wherry("send", "unix:./s", stdin=subprocess.PIPE)
    first.write(b"first\n")
    recv.read_out(6)
    second.write(b"second\n")
    recv.read_out(13)
    first.shut()
    first.end()
    second.write(b"again\n")
    recv.read_out(19)
    second.shut()
    second.end()
    same(recv.end().out, b"first\nsecond\nagain\n")


# ---- terminals ----

def on_terminal(stage, *words, before=lambda: None):
    """What a program prints on a terminal of its own, standard output and error together."""
    near, far = pty.openpty()
    process = stage.start(*words, stdout=far, stderr=far)
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
    for flags, wanted in (([], rb""), (["-v"], rb"wherry: 2 messages sent, 6 B in .* messages/s.*\n"), (["-q", "-v"], rb"")):
        recv = stage.start_wherry("recv", "unix:./s")
        _, got = on_terminal(stage, stage.wherry, "send", *flags, "unix:./s", "text")
        recv.end()
        if not re.fullmatch(wanted, got):
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


# ---- ask, transports, help ----

def test_ask_without_an_answer(stage):
    """ask: a server that closes without an answer"""
    recv = stage.start_wherry("recv", "-c1", "unix:./s?frame=raw")
    stage.wait_listening("s")
    one_line(stage.run_wherry("ask", "unix:./s", "x", code=1), r"unix:\./s", "without a reply")
    recv.end()


def test_ask_all(stage):
    """ask --all prints everything until the server closes"""
    data = random.Random(9).randbytes(3_000_000)
    server = stage.start(stage.helper("raw_echod"), "a", "stream", 1)
    stage.wait_listening("a")
    same(stage.run_wherry("ask", "--all", "--raw", "-w20s", "unix:./a", input=data).out, data)
    server.end()


def test_ask_echo(stage):
    """ask and echo over every scheme that goes both ways, in every framing"""
    for url in ("unix:./a", "unix:./b?frame=length", "unix:./c?frame=line", "unix:./d?frame=nul", "unix:./e?frame=fixed:5",
                "unix+seqpacket:./f", "unix+dgram:./g"):
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


def test_help(stage):
    """help of every verb: exit codes and an example; the version"""
    same(stage.run_wherry("--help").out, stage.run_wherry("help").out)
    verbs = [line.split()[0] for line in stage.run_wherry("-h").out.decode().splitlines() if line.startswith("  ")]
    same(verbs[:6], ["send", "recv", "relay", "echo", "ask", "transports"])
    for verb in verbs[:-1]:
        text = stage.run_wherry(verb, "--help").out
        same(text, stage.run_wherry("help", verb).out, f"help {verb}")
        for word in (b"Usage: wherry " + verb.encode(), b"Exit codes:", b"Examples:", b"--timeout"):
            same(word in text, True, f"{word} in the help of {verb}")
        same(max(len(line) for line in text.decode().splitlines()) <= 80, True, f"help of {verb} fits a terminal")
    same(re.fullmatch(rb"wherry \d+\.\d+\.\d+\n", stage.run_wherry("-V").out) is not None, True, "the version")


def test_color_is_accepted(stage):
    """--color in all its forms, and NO_COLOR"""
    for flag in ("--color", "--color=auto", "--color=always", "--color=never"):
        stage.run_wherry("transports", flag, env={**os.environ, "NO_COLOR": "1"})


# ---- signals ----

def test_signals_end_cleanly(stage):
    """SIGINT, SIGTERM and SIGHUP end every verb with 128+N and remove what it made"""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for words in (["recv", "unix:./s"], ["recv", "unix+dgram:./s"], ["echo", "unix:./s"], ["relay", "unix:./s", "unix:./t"]):
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
    echo.signal(signal.SIGTERM)
    echo.end(128 + signal.SIGTERM)
    for process in senders:
        process.end()


def test_signals_end_waits(stage):
    """a signal ends send and ask while they wait for somebody to come, for input, and for room"""
    def stop(process):
        process.signal(signal.SIGINT)
        process.end(128 + 2)

    for words in (["send", "unix:./s", "/dev/null"], ["send", "fifo:./f", "/dev/null"], ["ask", "unix:./s", "x", "-w1d"],
                  ["recv", "unix:./s?connect"]):
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


def test_a_signal_keeps_what_was_sent(stage):
    """what send accepted before a signal is delivered"""
    recv = stage.start_wherry("recv", "unix:./s")
    send = stage.start_wherry("send", "unix:./s", stdin=subprocess.PIPE)
    data = b"".join(b"line %d\n" % i for i in range(1000))
    send.write(data)
    same(recv.read_out(len(data)), data)
    send.signal(signal.SIGTERM)
    send.end(128 + 15)
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
    """recv into a closed pipe dies of SIGPIPE, as commands do"""
    stage.mine("s")  # killed, it cannot remove it
    near, far = os.pipe()
    recv = stage.start_wherry("recv", "unix:./s", stdout=far, restore_signals=True)
    os.close(far)
    os.close(near)
    stage.run_wherry("send", "unix:./s", input=b"x\n", code=None)
    recv.end(-signal.SIGPIPE)
    for name in os.listdir(stage.path):
        stage.mine(name)
