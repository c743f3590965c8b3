# tests/cli/losses.py - what was lost, torn, refused or never sent is said; and what ends when something is full or
# lacking.
#
# SPDX-License-Identifier: MIT
import os
import re
import select
import signal
import socket
import subprocess
import time

import run
from run import losses, one_line, same


# ---- what recv lost ----

def test_losses_are_said(stage):
    """recv says at the end how many messages were dropped and how many peers refused, whatever the exit code"""
    for url, data, losses in (
            ("unix:./s?frame=fixed:4", b"12345678123", "1 message was dropped (torn, foreign, duplicate or too long)"),
            ("unix:./s?frame=fixed:4", b"12345678", None)):
        recv = stage.start_wherry("recv", "-q", "--raw", url)
        stage.wait_listening("s")
        with stage.connect("s") as client:
            client.sendall(data)
        same(recv.end().out, b"12345678")
        same(recv.err.decode(), f"wherry: recv: {url}: {losses}\n" if losses else "", "what it says")
    recv = stage.start_wherry("recv", "--keep", "--raw", "unix:./s?frame=length")
    stage.wait_listening("s")
    for count in (1, 2):
        stage.run(stage.helper("raw_sender"), "s", "stream", "hello, is anybody there?\n")
        recv.read(lambda n=count: recv.err.count(b"frame=line") == n, "the complaint")
    recv.stop()
    same(recv.err.decode().splitlines()[2:], ["wherry: recv: unix:./s?frame=length: 2 peers were refused"])


def test_torn_messages_of_a_dead_sender_are_said(stage):
    """a sender that dies in the middle of a message to a FIFO: recv says that one was dropped"""
    recv = stage.start_wherry("recv", "--raw", "fifo:./f")
    stage.wait_path("f")
    stage.wait_opened(recv, "f")
    recv.signal(signal.SIGSTOP)
    send = stage.start_wherry("send", "fifo:./f", stdin=subprocess.PIPE)
    send.write(b"x" * 1_000_000 + b"\n")
    send.shut()
    stage.wait_opened(send, "f")
    stage.wait_asleep(send)
    send.popen.kill()
    send.end(None)
    recv.signal(signal.SIGCONT)
    one_line(recv.end(), r"recv: fifo:\./f: 1 message was dropped")
    same(recv.out, b"")


def test_refused_uids_are_said(stage):
    """a peer whose uid may not is refused in silence, and counted at the end; datagrams likewise"""
    if os.getuid() != 0:
        raise run.tap.Skip("only root can play another uid")
    os.chmod(stage.path, 0o711)
    for scheme, kind, what in (("unix", "stream", "peer"), ("unix+seqpacket", "seqpacket", "peer"),
                               ("unix+dgram", "dgram", "datagram")):
        recv = stage.start_wherry("recv", "--keep", f"{scheme}:./s?mode=0666")
        stage.wait_listening("s")
        stage.run(stage.helper("raw_sender"), "s", kind, "psst", user=65534, group=65534, extra_groups=[], code=None)
        stage.run_wherry("send", f"{scheme}:./s", input=b"a message\n")
        recv.read_out(10)
        one_line(recv.stop(), rf"recv: .*: 1 {what} was refused\n")
        same(recv.out, b"a message\n")


# ---- more peers than descriptors ----

def test_more_senders_than_descriptors(stage):
    """h54: 40 senders and 20 descriptors: a line, and each gets its turn as others go, with --keep and without"""
    for flags in ([], ["--keep", "-c40"]):
        recv = stage.start_poor("recv", *flags, "unix:./s?frame=line")
        stage.wait_listening("s")
        clients = [stage.connect("s") for _ in range(40)]
        for i, client in enumerate(clients):
            client.sendall(b"%02d\n" % i)
        recv.read(lambda: b"no descriptor" in recv.err, "the complaint")
        same(len(recv.read_out(3)) < 3 * 40, True, "that some wait")
        recv.signal(signal.SIGSTOP)  # so that it finds all who were accepted gone at once, and the others still to come
        for client in clients:
            client.close()
        recv.signal(signal.SIGCONT)
        one_line(recv.end(), "no descriptor is left to accept a connection")
        same(sorted(recv.out.split()), [b"%02d" % i for i in range(40)])


def test_no_end_while_others_wait(stage):
    """h54: all who were accepted go and never said anything: that is not the end, since others were not accepted yet"""
    recv = stage.start_poor("recv", "unix:./s?frame=line")
    stage.wait_listening("s")
    clients = [stage.connect("s") for _ in range(40)]
    for i, client in enumerate(clients):
        if i >= 20:
            client.sendall(b"%02d\n" % i)
    recv.read(lambda: b"no descriptor" in recv.err, "the complaint")
    recv.signal(signal.SIGSTOP)
    for client in clients:
        client.close()
    recv.signal(signal.SIGCONT)
    same(sorted(recv.end().out.split()), [b"%02d" % i for i in range(20, 40)])


def test_no_descriptors_and_w(stage):
    """recv -w ends while others cannot be accepted"""
    for time_limit in (".5", "5", "25"):  # in which all of them have to come
        recv = stage.start_poor("recv", "-w", time_limit, "unix:./s?frame=line")
        clients = []
        try:
            run.wait_for(lambda: any(int(row[3], 16) & 0x10000 for row in stage.unix_sockets("s")) or
                         recv.popen.poll() is not None, "a socket that listens")
            clients += [stage.connect("s") for _ in range(40)]
        except OSError:  # it did not listen yet, or not any more
            pass
        recv.end(3)
        for client in clients:
            client.close()
        said = [b"no descriptor" in line for line in recv.err.splitlines()]
        if said == [True, False]:
            break
    same(said, [True, False], "what it says")


# ---- records without their delimiter ----

def talk(stage, data, name="s"):
    """A raw peer that writes these bytes and goes."""
    with stage.connect(name) as client:
        client.sendall(data)


def test_a_last_record_without_its_end(stage):
    """a last record without its delimiter is printed with one, and counted; --raw has it as it came, --json marks it"""
    for flags, frame, data, wanted in (
            ([], "line", b"one\ntwo", b"one\ntwo\n"), (["-0"], "nul", b"one\0two", b"one\0two\0"),
            (["--raw"], "line", b"one\ntwo", b"onetwo"), (["--raw"], "nul", b"one\0two", b"onetwo")):
        recv = stage.start_wherry("recv", *flags, f"unix:./s?frame={frame}")
        stage.wait_listening("s")
        talk(stage, data)
        same(recv.end().out, wanted, f"{flags} in {frame}")
        if flags != ["--raw"]:
            losses(recv, "1 last record came without its delimiter")
        same(recv.err, b"", "what else is said")


def test_torn_records_are_not_joined(stage):
    """half a line of one peer and a line of the next do not become one line"""
    recv = stage.start_wherry("recv", "--keep", "unix:./s?frame=line")
    stage.wait_listening("s")
    for words, so_far in ((b"half", b"half\n"), (b"whole\n", b"half\nwhole\n"),
                          (b"a\nquarter", b"half\nwhole\na\nquarter\n")):
        talk(stage, words)
        same(recv.read_out(len(so_far)), so_far)
    losses(recv.stop(), "2 last records came without their delimiter")


def test_relay_says_what_was_torn(stage):
    """relay sends a last record without its delimiter on, and says so: the first at once, all of them at the end"""
    for flags in (["--keep"], ["--keep", "--one-way"]):
        recv = stage.start_wherry("recv", "--keep", "unix:./to?frame=line")
        relay = stage.start_wherry("relay", *flags, "unix:./from?frame=line", "unix:./to?frame=line")
        stage.wait_listening("from")
        talk(stage, b"full\nhalf", "from")
        same(recv.read_out(10), b"full\nhalf\n")
        talk(stage, b"full\n", "from")
        talk(stage, b"rest", "from")
        recv.read_out(20)
        for process in (relay, recv):
            process.stop()
        first, last = relay.err.decode().splitlines()
        same(first,
             "wherry: unix:./from?frame=line: a last record came without its delimiter; it is sent on like a whole one")
        same(last, "wherry: 2 last records came without their delimiters, and were sent on like whole ones")
        same(recv.err, b"", "what recv says")


# ---- relay: bytes that are no message, and too few descriptors ----

def test_relay_fails_on_foreign_bytes(stage):
    """foreign bytes are a failure of the relay without --keep, both ways and one way; what others sent is delivered"""
    for flags in ([], ["--one-way"]):
        for url, kind, text in (("unix:./from", socket.SOCK_STREAM, b"\x01 no frame at all"),
                                ("unix+seqpacket:./from?max_message=10", socket.SOCK_SEQPACKET, b"too long for that")):
            recv = stage.start_wherry("recv", "--keep", "unix:./to")
            stage.wait_listening("to")  # or it might not know yet what to do at a signal
            relay = stage.start_wherry("relay", *flags, url, "unix:./to")
            stage.wait_listening("from")
            with stage.connect("from", kind) as client:
                client.sendall(text)
                one_line(relay.end(1), "connection was closed")
            recv.stop()


def test_relay_without_descriptors(stage):
    """more peers than descriptors for their connections: one line, and the count of what was not delivered"""
    echo = stage.start_wherry("echo", "unix:./to?frame=line")
    stage.wait_listening("to")
    relay = stage.start_poor("relay", "unix:./from?frame=line", "unix:./to?frame=line")
    stage.wait_listening("from")
    relay.signal(signal.SIGSTOP)  # it shall not end before the last of them has come
    clients = [stage.connect("from") for _ in range(60)]
    for i, client in enumerate(clients):
        client.sendall(b"%d\n" % i)
    relay.signal(signal.SIGCONT)
    answers = 0
    for client in clients:
        client.settimeout(run.PATIENCE)
        try:
            answers += client.recv(100) != b""
        except ConnectionResetError:
            pass
        client.close()
    relay.end(1)
    *lines, last = relay.err.decode().splitlines()
    same(len(lines), 1, f"lines before the last of {relay.err!r}")
    same(last, f"wherry: unix:./to?frame=line: {60 - answers} messages were received but not delivered")
    echo.stop()


def test_a_listening_send_without_descriptors(stage):
    """a listening send with more receivers than descriptors: who is there gets all, and a line says what is lacking"""
    lines = b"".join(b"%06d %s\n" % (i, b"x" * 2000) for i in range(4000))
    stage.write("lines", lines)
    for flags in ([], ["--raw"]):
        send = stage.start_poor("send", *flags, "unix:./s?listen&frame=raw" if flags else
                           "unix:./s?listen&frame=line", "lines")
        stage.wait_listening("s")
        clients = [stage.connect("s") for _ in range(40)]
        send.read(lambda: b"no descriptor" in send.err, "the complaint")
        got = {client: b"" for client in clients}
        while got and (send.popen.poll() is None or select.select(list(got), [], [], 0)[0]):
            for client in select.select(list(got), [], [], 0.01)[0]:
                try:
                    part = client.recv(1 << 20)
                except ConnectionResetError:
                    part = b""
                got[client] += part
                if not part:
                    client.close()
                    clients.append(got.pop(client))
        one_line(send.end(), "no descriptor is left")
        texts = [c for c in clients if isinstance(c, bytes)]
        same(sum(map(len, texts)), len(lines), "bytes that came")
        if not flags:
            same(sorted(b"".join(texts).splitlines()), lines.splitlines(), "lines")


# ---- send and ask: what got out ----

def test_a_lost_receiver_and_what_was_sent(stage):
    """a receiver that goes: the line says how many messages were accepted before"""
    for count in (1, 3):
        recv = stage.start_wherry("recv", "-c", count, "unix:./s")
        send = stage.start_wherry("send", "unix:./s", stdin=subprocess.PIPE)
        send.write(b"one\n" * count)
        recv.end()
        send.write(b"more\n")
        said = f"nobody is left to receive; {count} message{'s were' if count > 1 else ' was'} accepted before that\n"
        one_line(send.end(1), re.escape(said))
        send.shut()


def test_a_signal_ends_a_send_that_waits_for_room(stage):
    """one SIGTERM or SIGINT ends a send to a full receiver within 5 s, and a message that is cut off is said"""
    stage.write("long", b"".join(b"%d %s\n" % (i, b"y" * 3000) for i in range(3000)))
    stage.write("short", b"".join(b"%d\n" % i for i in range(400_000)))
    stage.write("one", b"z" * 10_000_000)
    for scheme in ("unix", "unix+seqpacket", "unix+dgram", "fifo"):
        for number, words in ((15, ["long"]), (2, ["short"]), (15, ["--fixed", 3000, "one"]), (2, ["one"])):
            if "one" in words[:1] and scheme != "unix":
                continue
            recv = stage.start_wherry("recv", "--keep", f"{scheme}:./s")
            if scheme == "fifo":
                stage.wait_path("s")
                stage.wait_opened(recv, "s")
            else:
                stage.wait_listening("s")
            recv.signal(signal.SIGSTOP)
            send = stage.start_wherry("send", f"{scheme}:./s", *words)
            if scheme == "fifo":
                stage.wait_opened(send, "s")
            stage.wait_asleep(send)
            before = time.monotonic()
            send.signal(number)
            send.end(128 + number)
            same(time.monotonic() - before < 30, True, f"{send} was in time")
            if words == ["one"]:
                one_line(send, "0 messages were sent, what was begun is cut off")
            recv.popen.kill()
            recv.end(None)
            stage.mine("s").unlink(missing_ok=True)
            stage.mine("s.lock").unlink(missing_ok=True)


def test_what_ask_waited_for_in_vain(stage):
    """ask -w: nobody came, the message was not taken, or the reply did not come"""
    one_line(stage.run_wherry("ask", "-w.1", "unix:./s?listen", "x", code=3), "nobody connected in time")
    with stage.listen("s") as server:
        one_line(stage.run_wherry("ask", "-w.1", "unix:./s", "x", code=3), r"unix:\./s: no reply came in time")
        for limit in (".3", "3", "20"):  # in which it has to read the question
            late = stage.run_wherry("ask", f"-w{limit}", "unix:./s", input=b"x" * 5_000_000, code=3)
            if b"standard input" not in late.err:
                break
        one_line(late, "not taken whole in time")
