# tests/cli/echo.py - wherry echo: many clients, slow ones, ones that never read, ones that vanish.
#
# SPDX-License-Identifier: MIT
import os
import random
import selectors
import signal
import socket
import time

import run
from run import same


def start(stage, url="unix:./s"):
    echo = stage.start_wherry("echo", url)
    stage.wait_listening("s")
    return echo


def converse(clients, payloads):
    """Each client sends its payload piece by piece and reads it back, all at once."""
    chooser = selectors.DefaultSelector()
    states = {}
    for client, payload in zip(clients, payloads):
        client.setblocking(False)
        states[client] = [payload, 0, b""]
        chooser.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
    until = time.monotonic() + run.PATIENCE
    open_ends = len(clients)
    while open_ends and time.monotonic() < until:
        for key, events in chooser.select(1):
            client, state = key.fileobj, states[key.fileobj]
            if events & selectors.EVENT_WRITE:
                state[1] += client.send(state[0][state[1]:state[1] + 10000])
                if state[1] == len(state[0]):
                    chooser.modify(client, selectors.EVENT_READ)
            if events & selectors.EVENT_READ:
                state[2] += client.recv(65536)
                if len(state[2]) >= len(state[0]):
                    chooser.unregister(client)
                    open_ends -= 1
    chooser.close()
    for i, client in enumerate(clients):
        same(states[client][2] == states[client][0], True, f"client {i}: its answers are what it sent")


def test_fifty_clients(stage):
    """h55: 50 clients at once, 200 kB each, one of them never reads"""
    echo = start(stage)
    rude = stage.connect("s")
    run.fill(rude)
    source = random.Random(1)
    clients = [stage.connect("s") for _ in range(50)]
    converse(clients, [source.randbytes(200_000) for _ in clients])
    for client in clients + [rude]:
        client.close()
    echo.stop()


def test_a_client_that_never_reads(stage):
    """h55: a client that sends for ever and never reads is cut off at 16 MiB, with a line; the others are served"""
    echo = start(stage)
    with stage.connect("s") as rude, stage.connect("s") as other:
        sent = 0

        def cut_off():
            nonlocal sent
            more, cut = run.fill(rude)
            sent += more
            return cut
        run.wait_for(cut_off, "it to be cut off")  # a server that stands still for a while has not stopped reading
        if not 16 << 20 <= sent <= 40 << 20:
            raise run.tap.Failure(f"it was cut off after {sent} bytes")
        other.sendall(b"hello")
        same(other.recv(100), b"hello")
        rude.settimeout(run.PATIENCE)
        got = 0
        try:
            while data := rude.recv(1 << 20):
                same(data.strip(b"x"), b"", "what it got")
                got += len(data)
        except ConnectionResetError:
            pass
    echo.read(lambda: b"\n" in echo.err, "the line")
    run.one_line(echo.stop(), "does not read", rf"pid {os.getpid()}", "cut off")


def test_answers_are_not_mixed(stage):
    """h55: answers of 5 MB to slow readers come whole and in order while others talk"""
    echo = start(stage)
    source = random.Random(2)
    slow = [stage.connect("s") for _ in range(3)]
    payloads = [source.randbytes(5_000_000) for _ in slow]
    pending = []
    for client, payload in zip(slow, payloads):  # send all, read nothing yet
        client.sendall(payload)
        pending.append(client)
    with stage.connect("s") as quick:
        for i in range(100):
            quick.sendall(b"%d" % i)
            same(quick.recv(100), b"%d" % i)
    for client, payload in zip(slow, payloads):
        got = bytearray()
        while len(got) < len(payload):
            got += client.recv(1 << 20)
        same(bytes(got) == payload, True, "the answers")
        client.close()
    echo.stop()


def test_clients_that_vanish(stage):
    """clients that ask and vanish leave nothing behind"""
    echo = start(stage)

    def held():
        return len(os.listdir(f"/proc/{echo.pid}/fd"))
    with stage.connect("s") as first:
        first.sendall(b"x")
        first.recv(1)
        before = held()
        for _ in range(200):
            with stage.connect("s") as client:
                client.sendall(b"y" * 1000)
        first.sendall(b"x")
        same(first.recv(1), b"x")
        # many at once are waited for with epoll, an instance for each direction, which stays
        run.wait_for(lambda: held() <= before + 2, "their descriptors to be closed")
    echo.stop()


def test_a_signal_delivers_answers(stage):
    """SIGTERM: the answers to all that echo has read still come, whole"""
    echo = start(stage)
    with stage.connect("s") as client:
        payload = random.Random(6).randbytes(2_000_000)
        client.sendall(payload)
        run.wait_for(lambda: not run.unread(client), "echo to read it all")
        echo.signal(signal.SIGTERM)
        got = run.read_all(client)
        same(bytes(got) == payload, True, f"the answers ({len(got)} bytes)")
    echo.end(128 + signal.SIGTERM)


def test_packets(stage):
    """h56: seqpacket clients: each packet is answered as one"""
    echo = start(stage, "unix+seqpacket:./s")
    with stage.connect("s", socket.SOCK_SEQPACKET) as client:
        for size in (1, 10, 1000, 100_000):
            client.sendall(b"z" * size)
            same(len(client.recv(200_000)), size)
    echo.stop()


def test_lines(stage):
    """frame=line: a last line without its newline is answered, too"""
    echo = start(stage, "unix:./s?frame=line")
    with stage.connect("s") as client:
        client.sendall(b"one\ntwo\nthree")
        client.shutdown(socket.SHUT_WR)
        got = run.read_all(client)
    same(got, b"one\ntwo\nthree\n")
    echo.stop()


def test_foreign_bytes(stage):
    """foreign bytes cost a line and the connection, not the server"""
    echo = start(stage, "unix:./s?frame=length")
    with stage.connect("s") as client:
        client.sendall(b"hello, is anybody there?\n")
        same(client.recv(100), b"", "the end")
    echo.read(lambda: b"frame=line" in echo.err, "the line")
    same(stage.run_wherry("ask", "unix:./s?frame=length", "still there?").out, b"still there?\n")
    echo.stop()


def test_an_inherited_socket(stage):
    """echo on an inherited descriptor ends when its peer does"""
    near, far = socket.socketpair()
    echo = stage.start_wherry("echo", f"fd:{far.fileno()}", pass_fds=[far.fileno()])
    far.close()
    with near:
        near.settimeout(run.PATIENCE)
        near.sendall(b"hello")
        same(near.recv(100), b"hello")
        near.shutdown(socket.SHUT_WR)
        same(near.recv(100), b"", "the end")
    echo.end()


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def test_workers(stage):
    """echo --workers: several processes answer, a killed one is replaced, SIGTERM drains and the exit code is 0"""
    echo = stage.start_wherry("echo", "--workers", "3", "unix:./s")
    stage.wait_listening("s")
    pid = echo.popen.pid
    run.wait_for(lambda: len(children_of(pid)) == 3, "three workers")
    # one that is killed before it has said that it serves is another matter
    for each in (*children_of(pid), pid):
        run.wait_for(lambda p=each: run.tap.asleep(p, stage.wherry), "the workers to serve, and it to know")
    clients = [stage.connect("s") for _ in range(9)]
    converse(clients, [random.Random(i).randbytes(20_000) for i in range(9)])
    victim = children_of(pid)[0]
    os.kill(victim, signal.SIGKILL)
    echo.read(lambda: b"\n" in echo.err, "the line")
    run.wait_for(lambda: len(children_of(pid)) == 3 and victim not in children_of(pid), "the next worker")
    same(stage.run_wherry("ask", "unix:./s?frame=raw", "still there?").out, b"still there?\n")
    clients.append(stage.connect("s"))
    clients[-1].sendall(b"the last")
    same(clients[-1].recv(100), b"the last")
    echo.signal(signal.SIGTERM)
    run.one_line(echo.end(0), "was killed by signal 9")
    same(os.path.exists(stage.path / "s"), False, "whether the socket is still there")
    for client in clients:
        client.close()


def test_workers_hear_out_who_waits_at_the_end(stage):
    """workers that leave connections to each other at the moment of SIGTERM accept them all the same"""
    for _ in range(3):
        echo = stage.start_wherry("echo", "--workers", "2", "unix:./s")
        stage.wait_listening("s")
        clients = [stage.connect("s") for _ in range(60)]
        for client in clients:
            client.sendall(b"question")
        echo.popen.send_signal(signal.SIGTERM)
        for i, client in enumerate(clients):
            client.settimeout(run.PATIENCE)
            same(client.recv(100), b"question", f"client {i} of {len(clients)}")
            client.close()
        echo.end(0)


def test_workers_that_cannot_be(stage):
    """echo --workers says what is wrong with its number, its URL and -w"""
    for words, code, text in [(["--workers", "0", "unix:./s"], 2, "--workers"),
                              (["--workers", "x", "unix:./s"], 2, "--workers"),
                              (["--workers", "2", "-w", "1s", "unix:./s"], 2, "--timeout"),
                              (["--workers", "2", "shm://s"], 1, "a server listens at")]:
        run.one_line(stage.run_wherry("echo", *words, code=code), text)
