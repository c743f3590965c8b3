# tests/cli/relay.py - wherry relay: one way, both ways, chains, signals, and nothing lost.
#
# SPDX-License-Identifier: MIT
import os
import random
import signal
import socket
import subprocess

import run
from run import json_lines, one_line, same

LINES = b"".join(b"line %d of the text\n" % i for i in range(20000))


def wait_accepted(stage, name, count):
    """Until so many connections to the socket of this name are accepted."""
    run.wait_for(lambda: sum(1 for r in stage.unix_sockets(name) if r[5] == "03") >= count, f"{count} connections to {name}")


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
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(stage.path / "from"))
        client.setblocking(False)
        sent, idle = 0, 0
        while idle < 50:  # 50 looks 2 ms apart without room: the relay has stopped reading
            try:
                sent += client.send(data[sent:sent + 65536])
                idle = 0
            except BlockingIOError:
                idle += 1
                run.select.poll().poll(2)
        if sent > 6 << 20:
            raise run.tap.Failure(f"{sent} bytes were taken although nobody reads")
        recv.signal(signal.SIGCONT)
        client.settimeout(run.PATIENCE)
        client.sendall(data[sent:])
    recv.end()
    relay.end()
    same((stage.path / "out").read_bytes() == data, True, "what came out")


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
    same([line.split(b": ")[1] for line in relay.err.splitlines()], [b"unix:./to"] * relay.err.count(b"\n"), "who is blamed")
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
        relay.signal(signal.SIGTERM)
        relay.end(128 + 15)


# ---- signals ----

def test_a_signal_delivers_what_came(stage):
    """SIGTERM: what the relay has received is delivered before it ends"""
    recv = stage.start_wherry("recv", "unix:./to")
    relay = stage.start_wherry("relay", "-v", "fifo:./from", "unix:./to")
    send = stage.start_wherry("send", "fifo:./from", stdin=subprocess.PIPE)
    send.write(LINES[:30000])
    recv.read_out(20000)
    relay.signal(signal.SIGTERM)
    relay.end(128 + 15)
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
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(stage.path / "from"))
        client.sendall(b"a message")
        run.wait_for(lambda: not run.unread(client), "the relay to take the message")
        relay.signal(signal.SIGINT)
        run.wait_for(lambda: not run.catches(relay, signal.SIGINT), "the first signal to be taken")
        relay.signal(signal.SIGINT)
        relay.end(-signal.SIGINT)
    for name in os.listdir(stage.path):
        stage.mine(name)


# ---- both ways ----

def test_two_way(stage):
    """ask, relay and echo: each client's answers come back to it"""
    echo = stage.start_wherry("echo", "unix:./back")
    relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=raw", "unix:./back?frame=raw")
    stage.wait_listening("front")
    for i in range(5):
        same(stage.run_wherry("ask", "unix:./front", f"question {i}").out, f"question {i}\n".encode())
    clients = []
    for i in range(20):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(run.PATIENCE)
        client.connect(str(stage.path / "front"))
        clients.append(client)
    for _ in range(3):
        for i, client in enumerate(clients):
            client.sendall(b"client %03d" % i)
        for i, client in enumerate(clients):
            same(client.recv(100), b"client %03d" % i, f"the answer to client {i}")
    for client in clients:
        client.close()
    for process in (relay, echo):
        process.signal(signal.SIGTERM)
        process.end(128 + 15)


def test_two_way_ends(stage):
    """without --keep the relay ends after its last client, when the answers are out"""
    server = stage.start(stage.helper("raw_echod"), "back", "stream", 1)
    relay = stage.start_wherry("relay", "unix:./front?frame=raw", "unix:./back?frame=raw")
    stage.wait_listening("front")
    data = random.Random(5).randbytes(2 << 20)
    same(stage.run_wherry("ask", "--all", "--raw", "-w20s", "unix:./front", input=data).out == data, True, "the answers")
    relay.end()
    server.end()


def test_the_server_closes(stage):
    """a server that closes: its client gets the end, and a new client a new connection"""
    relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=raw", "unix:./back?frame=raw")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stage.mine("back")))
        server.listen()
        stage.wait_listening("front")
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(run.PATIENCE)
                client.connect(str(stage.path / "front"))
                client.sendall(b"hello")
                link, _ = server.accept()
                with link:
                    same(link.recv(100), b"hello")
                    link.sendall(b"and good-bye")
                got = b""
                while data := client.recv(100):
                    got += data
                same(got, b"and good-bye")
    relay.signal(signal.SIGTERM)
    relay.end(128 + 15)


def test_half_closing_client(stage):
    """a client that half-closes: the server gets the end, the client the answer that comes after it"""
    relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=raw", "unix:./back?frame=raw")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stage.mine("back")))
        server.listen()
        stage.wait_listening("front")
        other = socket.socket(socket.AF_UNIX)  # another client that stays, so that FROM itself has no end
        other.connect(str(stage.path / "front"))
        with other, socket.socket(socket.AF_UNIX) as client:
            client.settimeout(run.PATIENCE)
            client.connect(str(stage.path / "front"))
            client.sendall(b"a question")
            client.shutdown(socket.SHUT_WR)
            link, _ = server.accept()
            with link:
                link.settimeout(run.PATIENCE)
                question = b""
                while data := link.recv(100):
                    question += data
                same(question, b"a question")
                link.sendall(b"an answer")
            got = b""
            while data := client.recv(100):
                got += data
            same(got, b"an answer")
    relay.signal(signal.SIGTERM)
    relay.end(128 + 15)


def test_a_client_that_never_reads(stage):
    """a client that never reads its answers is cut off in the end, and stalls nobody"""
    echo = stage.start_wherry("echo", "unix:./back")
    relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=raw", "unix:./back?frame=raw")
    stage.wait_listening("front")
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(stage.path / "front"))
        sent = 0
        try:
            while sent < 1 << 30:  # echo gives up after 16 MiB of answers, then the relay after a little more
                sent += rude.send(b"x" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
        same(16 << 20 < sent < 64 << 20, True, f"cut off after {sent} bytes: between 16 and 64 MiB")
        same(stage.run_wherry("ask", "-w20s", "unix:./front", "me too").out, b"me too\n")
    for process in (relay, echo):
        process.signal(signal.SIGTERM)
        process.end(128 + 15)


def test_two_way_over_packets(stage):
    """two ways over seqpacket and datagram sockets"""
    for scheme in ("unix+seqpacket", "unix+dgram"):
        echo = stage.start_wherry("echo", f"{scheme}:./back")
        relay = stage.start_wherry("relay", "--keep", f"{scheme}:./front", f"{scheme}:./back")
        for i in range(3):
            same(stage.run_wherry("ask", f"{scheme}:./front", f"question {i}").out, f"question {i}\n".encode(), scheme)
        for process in (relay, echo):
            process.signal(signal.SIGTERM)
            process.end(128 + 15)


def test_a_server_without_connections_goes(stage):
    """TO is a datagram server that goes away: its client gets the end, and after that a new one is served"""
    relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=raw", "unix+dgram:./back")
    stage.wait_listening("front")
    for word in (b"one", b"two"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(run.PATIENCE)
            client.connect(str(stage.path / "front"))
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
                server.settimeout(run.PATIENCE)
                server.bind(str(stage.path / "back"))
                client.sendall(word)
                question, asker = server.recvfrom(100)
                server.sendto(question + question, asker)
                same(client.recv(100), word + word)
            os.unlink(stage.path / "back")
            client.sendall(b"nobody hears this")
            same(client.recv(100), b"", "the end")
    relay.signal(signal.SIGTERM)
    relay.end(128 + 15)


def test_strangers_make_room(stage):
    """peers without a connection: of hundreds the one that was silent longest makes room, and may come again"""
    echo = stage.start_wherry("echo", "unix+dgram:./back")
    relay = stage.start_wherry("relay", "unix+dgram:./front", "unix+dgram:./back")
    stage.wait_listening("front")
    stage.wait_listening("back")
    clients, held = [], []
    for i in range(320):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        client.settimeout(run.PATIENCE)
        client.bind("")  # the kernel picks a name
        clients.append(client)
        client.sendto(b"%d" % i, str(stage.path / "front"))
        same(client.recv(100), b"%d" % i)
        held.append(len(os.listdir(f"/proc/{relay.pid}/fd")))
    same(max(held) - held[260] < 4, True, f"whether descriptors stay as many ({held[250:]})")
    clients[0].sendto(b"again", str(stage.path / "front"))
    same(clients[0].recv(100), b"again")
    for client in clients:
        client.close()
    for process in (relay, echo):
        process.signal(signal.SIGTERM)
        process.end(128 + 15)


def test_two_listeners(stage):
    """where TO listens too, two clients are joined"""
    relay = stage.start_wherry("relay", "unix:./a?frame=raw", "unix:./b?listen&frame=raw")
    stage.wait_listening("a")
    stage.wait_listening("b")
    with socket.socket(socket.AF_UNIX) as left, socket.socket(socket.AF_UNIX) as right:
        for end, name in ((left, "a"), (right, "b")):
            end.settimeout(run.PATIENCE)
            end.connect(str(stage.path / name))
        left.sendall(b"from the left")
        same(right.recv(100), b"from the left")
        right.sendall(b"from the right")
        same(left.recv(100), b"from the right")
    relay.end()


def test_descriptors_of_a_socketpair(stage):
    """two ways over inherited descriptors: a socketpair on either side"""
    a, b = socket.socketpair()
    c, d = socket.socketpair()
    relay = stage.start_wherry("relay", f"fd:{b.fileno()}?frame=raw", f"fd:{c.fileno()}?frame=raw",
                               pass_fds=[b.fileno(), c.fileno()])
    b.close()
    c.close()
    with a, d:
        for end in (a, d):
            end.settimeout(run.PATIENCE)
        a.sendall(b"ping")
        same(d.recv(100), b"ping")
        d.sendall(b"pong")
        same(a.recv(100), b"pong")
        a.shutdown(socket.SHUT_WR)
        same(d.recv(100), b"", "the end")
        d.sendall(b"last words")
        d.close()
        got = b""
        while data := a.recv(100):
            got += data
        same(got, b"last words")
    relay.end()
