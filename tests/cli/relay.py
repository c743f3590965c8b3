# tests/cli/relay.py - wherry relay one way: chains, signals, and nothing lost.
#
# SPDX-License-Identifier: MIT
import os
import random
import re
import signal
import socket
import subprocess

import run
from run import json_lines, one_line, same

LINES = b"".join(b"line %d of the text\n" % i for i in range(20000))


def wait_accepted(stage, name, count):
    """Until so many connections to the socket of this name are accepted."""
    run.wait_for(lambda: sum(1 for r in stage.unix_sockets(name) if r[5] == "03") >= count,
                 f"{count} connections to {name}")


# ---- one way ----

def test_a_chain(stage):
    """a chain: fifo to unix to an inherited pipe"""
    near, far = os.pipe()
    last = stage.start_wherry("recv", f"fd:{near}", pass_fds=[near])
    os.close(near)
    second = stage.start_wherry("relay", "unix:./s", f"fd:{far}", pass_fds=[far])
    os.close(far)
    first = stage.start_wherry("relay", "fifo:./f", "unix:./s")
    stage.run_wherry("send", "fifo:./f", input=LINES)
    same(last.end().out, LINES)
    first.end()
    second.end()


def test_every_pair(stage):
    """relay joins any two schemes, one way"""
    schemes = ("unix", "unix+seqpacket", "fifo")
    for source in schemes:
        for target in schemes:
            recv = stage.start_wherry("recv", f"{target}:./to")
            relay = stage.start_wherry("relay", f"{source}:./from", f"{target}:./to")
            stage.run_wherry("send", f"{source}:./from", input=LINES[:2599])
            same(recv.end().out, LINES[:2599], f"{source} to {target}")
            relay.end()


def test_framings_are_translated(stage):
    """each end has its own framing"""
    stage.fifo("in")
    relay = stage.start_wherry("relay", "fifo:./in?frame=line", "unix:./s?frame=nul")
    recv = stage.start_wherry("recv", "-0", "unix:./s?frame=nul")
    stage.run("sh", "-c", "printf 'one\\ntwo\\nthree\\n' > in")
    same(recv.end().out, b"one\0two\0three\0")
    relay.end()


def test_types(stage):
    """types are kept where both ends have them, dropped with a note where not"""
    recv = stage.start_wherry("recv", "--json", "unix:./to")
    relay = stage.start_wherry("relay", "unix:./from", "unix:./to")
    stage.run_wherry("send", "--type=42", "unix:./from", input=b"x\ny\n")
    same([m["type"] for m in json_lines(recv.end().out)], [42, 42])
    relay.end()
    recv = stage.start_wherry("recv", "--json", "unix+seqpacket:./to")
    relay = stage.start_wherry("relay", "-v", "unix:./from", "unix+seqpacket:./to")
    stage.run_wherry("send", "--type=42", "unix:./from", input=b"x\ny\n")
    same([(m["type"], m["data"]) for m in json_lines(recv.end().out)], [(0, "x"), (0, "y")])
    same(relay.end().err.count(b"types"), 1, "notes about types")


def test_many_senders_one_way(stage):
    """--one-way: many senders of FROM share one connection to TO"""
    recv = stage.start_wherry("recv", "--json", "unix:./to")
    relay = stage.start_wherry("relay", "--one-way", "unix:./from", "unix:./to")
    senders = [stage.start_wherry("send", "unix:./from", stdin=subprocess.PIPE) for _ in range(5)]
    wait_accepted(stage, "from", 5)
    for i, sender in enumerate(senders):
        sender.write(b"%d\n" % i)
        sender.shut()
    for sender in senders:
        sender.end()
    lines = json_lines(recv.end().out)
    same(sorted(m["data"] for m in lines), list("01234"))
    same(len({m["peer"]["id"] for m in lines}), 1, "connections to TO")
    relay.end()


def test_large_messages(stage):
    """messages up to 1 MiB"""
    source = random.Random(3)
    data = b"".join(source.randbytes(size).replace(b"\0", b"\1") + b"\0" for size in (0, 1, 70000, 1 << 20, 5, 300000))
    recv = stage.start_wherry("recv", "-0", "unix:./to")
    relay = stage.start_wherry("relay", "fifo:./from", "unix:./to")
    stage.run_wherry("send", "-0", "fifo:./from", input=data)
    same(recv.end().out, data)
    relay.end()


def test_either_first(stage):
    """TO may appear after messages came: they wait"""
    relay = stage.start_wherry("relay", "unix:./from", "unix:./to")
    send = stage.start_wherry("send", "unix:./from", stdin=subprocess.PIPE)
    send.write(LINES[:1000])
    stage.wait_asleep(send)
    recv = stage.start_wherry("recv", "unix:./to")
    recv.read_out(900)
    send.write(LINES[1000:])
    send.shut()
    send.end()
    same(recv.end().out, LINES)
    relay.end()


def test_back_pressure(stage):
    """while TO is full FROM is not read: a stopped receiver stops the sender, and nothing is lost"""
    with open(stage.mine("out"), "wb") as out:
        recv = stage.start_wherry("recv", "--raw", "unix:./to?frame=raw", stdout=out)
    relay = stage.start_wherry("relay", "--one-way", "unix:./from?frame=raw", "unix:./to?frame=raw")
    stage.wait_listening("to")
    stage.wait_listening("from")
    recv.signal(signal.SIGSTOP)
    data = random.Random(4).randbytes(8 << 20)
    with stage.connect("from") as client:
        sent, _ = run.fill(client, data)
        if sent > 6 << 20:
            raise run.tap.Failure(f"{sent} bytes were taken although nobody reads")
        recv.signal(signal.SIGCONT)
        client.sendall(data[sent:])
    recv.end()
    relay.end()
    same((stage.path / "out").read_bytes() == data, True, "what came out")


def test_what_waits_is_bounded(stage):
    """while TO is not there, FROM is read until 64 MiB wait in the relay for all peers together"""
    size, each = 10_000, 250_000  # less for each peer than may wait for one, 100 MB in all
    for span in ("3s", "10s", "30s"):  # a machine that stands still may need more time to fill it
        last = fill_relay(stage, span, size, each)
        match = re.fullmatch(r"wherry: unix:\./to\S+: (\d+) messages were received but not delivered", last)
        if match and 60 << 20 <= int(match[1]) * size:
            break
    if not match or not 60 << 20 <= int(match[1]) * size <= 64 << 20:
        raise run.tap.Failure(f"64 MiB in messages of {size} bytes: {last!r}")


def fill_relay(stage, span, size, each):
    """The last line of a relay that 400 clients send so much to, and that nobody takes anything from."""
    relay = stage.start_wherry("relay", f"-w{span}", f"unix:./from?frame=fixed:{size}",
                               f"unix:./to?frame=fixed:{size}")
    stage.wait_listening("from")
    left = {}
    for _ in range(400):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(stage.path / "from"))
        client.setblocking(False)
        left[client] = bytes(each)
    while relay.popen.poll() is None:
        for client in left:
            try:
                left[client] = left[client][client.send(left[client]):]
            except (BlockingIOError, ConnectionError):
                continue
        run.select.poll().poll(2)
    relay.end(3)
    for client in left:
        client.close()
    return relay.err.decode().splitlines()[-1]


def test_more_peers_than_descriptors(stage):
    """h54: more peers than descriptors: a line, and the relay goes on with those who are there"""
    recv = stage.start_wherry("recv", "unix:./to?frame=line")
    stage.wait_listening("to")
    relay = stage.start_poor("relay", "--one-way", "unix:./from?frame=line", "unix:./to?frame=line")
    stage.wait_listening("from")
    clients = [stage.connect("from") for _ in range(40)]
    relay.read(lambda: b"no descriptor" in relay.err, "the complaint")
    clients[0].sendall(b"still here\n")
    same(recv.read_out(11), b"still here\n")
    run.one_line(relay.stop(), r"unix:\./from\S*: no descriptor is left")
    for client in clients:
        client.close()
    recv.end()


def test_receiver_dies(stage):
    """TO dies: the next message cannot be delivered, which is said, and the exit code is 1"""
    recv = stage.start_wherry("recv", "unix:./to")
    relay = stage.start_wherry("relay", "fifo:./from", "unix:./to")
    send = stage.start_wherry("send", "fifo:./from", stdin=subprocess.PIPE)
    send.write(b"one\n")
    same(recv.read_out(4), b"one\n")
    recv.popen.kill()
    recv.end(None)
    stage.mine("to")
    stage.mine("to.lock")
    send.write(b"two\n")
    relay.end(1)
    same([line.split(b": ")[1] for line in relay.err.splitlines()], [b"unix:./to"] * relay.err.count(b"\n"),
         "who is blamed")
    if b"nobody is left to receive" not in relay.err:
        raise run.tap.Failure(repr(relay.err))
    send.shut()
    send.end(None)


def test_foreign_bytes(stage):
    """foreign bytes at FROM: a line and exit code 1; with --keep a line, and it goes on"""
    for flags in ([], ["--keep"]):
        recv = stage.start_wherry("recv", "-c1", "unix:./to")
        relay = stage.start_wherry("relay", "--one-way", *flags, "unix:./from", "unix:./to")
        stage.wait_listening("from")
        stage.run(stage.helper("raw_sender"), "from", "stream", "hello, is anybody there?\n")
        if not flags:
            one_line(relay.end(1), "frame=line")
            recv.end()
            continue
        relay.read(lambda: b"frame=line" in relay.err, "the complaint")
        stage.run_wherry("send", "unix:./from", input=b"a message\n")
        same(recv.end().out, b"a message\n")
        relay.stop()


# ---- signals ----

def test_a_signal_delivers_what_came(stage):
    """SIGTERM: what the relay has received is delivered before it ends"""
    recv = stage.start_wherry("recv", "unix:./to")
    relay = stage.start_wherry("relay", "-v", "fifo:./from", "unix:./to")
    send = stage.start_wherry("send", "fifo:./from", stdin=subprocess.PIPE)
    send.write(LINES[:30000])
    recv.read_out(20000)
    relay.stop()
    send.shut()
    send.end(None)
    recv.end()
    taken = int(relay.err.split(b" messages relayed")[0].rsplit(b" ", 1)[-1])
    same(recv.out.count(b"\n"), taken, "messages that came out")
    same(LINES.startswith(recv.out), True, "their order")


def test_a_signal_while_nobody_is_there(stage):
    """SIGINT while the relay waits for TO, with a message in hand: the second one ends it at once"""
    relay = stage.start_wherry("relay", "-w1d", "unix:./from?frame=raw", "unix:./to")
    stage.wait_listening("from")
    with stage.connect("from") as client:
        client.sendall(b"a message")
        run.wait_for(lambda: not run.unread(client), "the relay to take the message")
        relay.signal(signal.SIGINT)
        run.wait_for(lambda: not run.catches(relay, signal.SIGINT), "the first signal to be taken")
        relay.signal(signal.SIGINT)
        relay.end(-signal.SIGINT)
    for name in os.listdir(stage.path):
        stage.mine(name)
