# tests/cli/send_recv.py - send and recv: every flag, end to end.
#
# SPDX-License-Identifier: MIT
import base64
import os
import random
import re
import select
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
    payloads = [b"plain", "gr\u00fc\u00dfe".encode(), b"", b"\xff\xfe", b"esc\x1b[31m \x7f \xc2\x9b", b"\"\\/",
                b"\xed\xa0\x80"]
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
    one_line(stage.run_wherry("recv", "-w", ".05", "fifo:./f?connect", code=3), r"fifo:\./f")
    one_line(stage.run_wherry("recv", "-w", ".00001h", "unix:./s", code=3), r"unix:\./s")
    one_line(stage.run_wherry("ask", "-w", "50000us", "unix:./s", "x", code=3), r"unix:\./s")
    one_line(stage.run_wherry("relay", "-w", "50ms", "unix:./s", "unix:./t", code=3), "")
    stage.run_wherry("echo", "-w", "50ms", "unix:./s", code=3)


def test_timeout_of_a_silent_server(stage):
    """ask -w: a server that takes the question and says nothing"""
    recv = stage.start_wherry("recv", "unix:./s?frame=raw")
    stage.wait_listening("s")
    one_line(stage.run_wherry("ask", "-w", "100ms", "unix:./s", "x", code=3), r"unix:\./s")
    recv.end()


def in_time(stage, check, *seconds):
    """A machine that stands still may take longer than the first of these bounds, but hardly than each of them."""
    for bound in seconds:
        try:
            return check(bound)
        except (run.tap.Failure, OSError):
            if bound == seconds[-1]:
                raise
            for process in stage.processes:
                if process.popen.poll() is None:
                    process.popen.kill()
                process.end(None)
            for name in set(os.listdir(stage.path)) - stage.made:
                os.unlink(stage.path / name)


def test_timeout_bounds_each_wait(stage):
    """recv -w bounds each wait, not the whole"""
    def check(bound):
        recv = stage.start_wherry("recv", "-w", f"{bound}s", "unix:./s")
        send = stage.start_wherry("send", "unix:./s", stdin=subprocess.PIPE)
        got = b""
        for i in range(3):
            select.select([], [], [], bound * 0.4)  # what is tested is that time passes
            send.write(b"x\n")
            got += b"x\n"
            same(recv.read_out(len(got)), got)
        one_line(recv.end(3), r"unix:\./s")
        send.shut()
        send.end(None)
    in_time(stage, check, 2, 6, 20)


def test_a_full_channel_and_w(stage):
    """send -w: nobody reads, exit code 3"""
    stage.fifo("f")
    hold = os.open(stage.path / "f", os.O_RDWR)
    send = stage.run_wherry("send", "-w", "200ms", "fifo:./f", "/dev/zero", "--raw", code=3)
    os.close(hold)
    one_line(send, r"fifo:\./f")


def said_as_sent(process, *patterns):
    """The number of messages in the line of a send that timed out, and whether one is said to be cut off."""
    one_line(process, *patterns)
    match = re.search(rb"; (\d+) messages? w(?:as|ere) sent(, what was begun is cut off)?\n", process.err)
    if not match:
        raise run.tap.Failure(f"how many were sent? {process.err!r}")
    return int(match[1]), bool(match[2])


def test_a_timeout_says_what_was_sent(stage):
    """send -w in mid-run: how many messages went out whole; one that was begun is not counted, but said to be cut"""
    stage.write("small", b"".join(b"line %d\n" % i for i in range(300_000)))
    stage.write("big", (b"x" * 99_999 + b"\n") * 30)
    stage.write("one", b"x" * 1_000_000 + b"\n")
    cuts = []
    for name in ("small", "big", "one"):
        with stage.listen("s") as server:
            send = stage.start_wherry("send", "-v", "-w", "400ms", "unix:./s?frame=line", name)
            client, _ = server.accept()
            send.end(3)
            with client:
                got = client.makefile("rb").read()
        (stage.path / "s").unlink()
        # -v sums up the same number
        line, total = send.err.splitlines(keepends=True)
        send.err = line
        wanted = got.count(b"\n"), not got.endswith(b"\n")
        same(said_as_sent(send, r"unix:\./s"), wanted, f"what it says of {name}")
        same(total.split()[1], b"%d" % wanted[0], "the sum of -v")
        cuts.append(wanted[1])
    same(cuts[1:], [True, True], "whether the kernel took a part of a big message")  # else nothing was tested
    stage.fifo("f")
    for name in ("small", "one"):
        hold = os.open(stage.path / "f", os.O_RDWR | os.O_NONBLOCK)
        send = stage.run_wherry("send", "-w", "200ms", "fifo:./f?frame=line&writers=1", name, code=3)
        got = os.read(hold, 1 << 20)
        os.close(hold)
        same(said_as_sent(send, r"fifo:\./f"), (got.count(b"\n"), not got.endswith(b"\n")), f"a FIFO and {name}")


def test_a_timeout_of_the_input_says_what_was_sent(stage):
    """send -w while the input pauses: how many messages were sent"""
    for lines in (b"", b"one\n", b"one\ntwo\nthr"):
        recv = stage.start_wherry("recv", "unix:./s")
        stage.wait_listening("s")
        near, far = os.pipe()
        os.write(far, lines)  # before it begins, so that it does not wait for that
        send = stage.start_wherry("send", "-w", "300ms", "unix:./s", stdin=near)
        os.close(near)
        same(said_as_sent(send.end(3), "standard input: it did not end in time"), (lines.count(b"\n"), False))
        os.close(far)
        recv.end()


def test_a_timeout_with_many_receivers(stage):
    """send -w to several receivers, each with a message begun: what is certain is said"""
    def check(bound):
        send = stage.start_wherry("send", "-w", f"{bound}s", "unix:./s?listen&frame=line", stdin=subprocess.PIPE)
        run.wait_for(lambda: send.popen.poll() is not None or os.path.lexists(stage.path / "s"), "its socket")
        with stage.connect("s") as first, stage.connect("s") as second:
            send.write((b"x" * 999_999 + b"\n") * 2)
            one_line(send.end(3), "at least 0 messages were sent, what was begun is cut off")
            send.shut()
            for client in (first, second):
                with client.makefile("rb") as file:
                    same(file.read().count(b"\n"), 0, "whole messages")
    in_time(stage, check, 1, 5, 20)


# ---- --keep, and who is there ----

def test_keep(stage):
    """--keep goes on after the end of the senders; without it recv stops there"""
    recv = stage.start_wherry("recv", "--keep", "unix:./s")
    for word in (b"one\n", b"two\n", b"three\n"):
        before = len(recv.out)
        stage.run_wherry("send", "unix:./s", input=word)
        recv.read_out(before + len(word))
    same(recv.stop().out, b"one\ntwo\nthree\n")
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
