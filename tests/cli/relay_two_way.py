# tests/cli/relay_two_way.py - wherry relay both ways: each client its own connection, and its own answers.
#
# SPDX-License-Identifier: MIT
import os
import random
import socket

import run
from run import same


def test_two_way(stage):
    """ask, relay and echo: each client's answers come back to it"""
    echo = stage.start_wherry("echo", "unix:./back")
    relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=raw", "unix:./back?frame=raw")
    stage.wait_listening("front")
    for i in range(5):
        same(stage.run_wherry("ask", "unix:./front", f"question {i}").out, f"question {i}\n".encode())
    clients = [stage.connect("front") for _ in range(20)]
    for _ in range(3):
        for i, client in enumerate(clients):
            client.sendall(b"client %03d" % i)
        for i, client in enumerate(clients):
            same(client.recv(100), b"client %03d" % i, f"the answer to client {i}")
    for client in clients:
        client.close()
    for process in (relay, echo):
        process.stop()


def test_two_way_ends(stage):
    """without --keep the relay ends after its last client, when the answers are out"""
    server = stage.start(stage.helper("raw_echod"), "back", "stream", 1)
    relay = stage.start_wherry("relay", "unix:./front?frame=raw", "unix:./back?frame=raw")
    stage.wait_listening("front")
    data = random.Random(5).randbytes(2 << 20)
    same(stage.run_wherry("ask", "--all", "--raw", "-w20s", "unix:./front", input=data).out == data, True,
         "the answers")
    relay.end()
    server.end()


def test_the_server_closes(stage):
    """a server that closes: its client gets the end, and a new client a new connection"""
    relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=raw", "unix:./back?frame=raw")
    with stage.listen("back") as server:
        stage.wait_listening("front")
        for _ in range(3):
            with stage.connect("front") as client:
                client.sendall(b"hello")
                link, _ = server.accept()
                with link:
                    same(link.recv(100), b"hello")
                    link.sendall(b"and good-bye")
                same(run.read_all(client), b"and good-bye")
    relay.stop()


def test_half_closing_client(stage):
    """a client that half-closes: the server gets the end, the client the answer that comes after it"""
    relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=raw", "unix:./back?frame=raw")
    with stage.listen("back") as server:
        stage.wait_listening("front")
        other = stage.connect("front")  # another client that stays, so that FROM itself has no end
        with other, stage.connect("front") as client:
            client.sendall(b"a question")
            client.shutdown(socket.SHUT_WR)
            link, _ = server.accept()
            with link:
                link.settimeout(run.PATIENCE)
                same(run.read_all(link), b"a question")
                link.sendall(b"an answer")
            same(run.read_all(client), b"an answer")
    relay.stop()


def test_a_client_that_never_reads(stage):
    """a client that never reads its answers is cut off in the end, and stalls nobody"""
    echo = stage.start_wherry("echo", "unix:./back")
    relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=raw", "unix:./back?frame=raw")
    stage.wait_listening("front")
    with stage.connect("front") as rude:
        sent = 0
        try:
            while sent < 1 << 30:  # echo gives up after 16 MiB of answers, then the relay after a little more
                sent += rude.send(b"x" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
        same(16 << 20 < sent < 64 << 20, True, f"cut off after {sent} bytes: between 16 and 64 MiB")
        same(stage.run_wherry("ask", "-w20s", "unix:./front", "me too").out, b"me too\n")
    for process in (relay, echo):
        process.stop()


def test_two_way_over_packets(stage):
    """two ways over seqpacket and datagram sockets"""
    for scheme in ("unix+seqpacket", "unix+dgram"):
        echo = stage.start_wherry("echo", f"{scheme}:./back")
        relay = stage.start_wherry("relay", "--keep", f"{scheme}:./front", f"{scheme}:./back")
        for i in range(3):
            same(stage.run_wherry("ask", f"{scheme}:./front", f"question {i}").out, f"question {i}\n".encode(), scheme)
        for process in (relay, echo):
            process.stop()


def test_a_server_without_connections_goes(stage):
    """TO is a datagram server that goes away: its client gets the end, and after that a new one is served"""
    relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=raw", "unix+dgram:./back")
    stage.wait_listening("front")
    for word in (b"one", b"two"):
        with stage.connect("front") as client:
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
    relay.stop()


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
        process.stop()


def test_two_listeners(stage):
    """where TO listens too, two clients are joined"""
    relay = stage.start_wherry("relay", "unix:./a?frame=raw", "unix:./b?listen&frame=raw")
    stage.wait_listening("a")
    stage.wait_listening("b")
    with stage.connect("a") as left, stage.connect("b") as right:
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
        same(run.read_all(a), b"last words")
    relay.end()
