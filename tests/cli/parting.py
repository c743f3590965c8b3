# tests/cli/parting.py - tcp: verbs that end while what they sent is under way and the other side talks on (H71).
#
# SPDX-License-Identifier: MIT
#
# Both sides have small buffers, so that most of what was sent waits in the kernel of the side that sends until the
# other one reads.  Bytes that come to a closed connection reset it, and what waits there is lost.
import functools
import signal
import socket
import subprocess
import time

import run
import tap
from run import one_line, same
from tcp import port_of

LINES = b"".join(b"line %05d of what was sent\n" % i for i in range(5000))
FEW = LINES[:40 * 28]
SMALL = 8192
ROOM = "capacity=200k"
END_SAID = {"04", "05", "08", "09", "0B"}  # FIN_WAIT1 and so on: enum in the kernel's tcp_states.h


def while_it_lasts(case):
    """What was sent waits 5 s for who reads it: on a machine that stood still for so long a case is begun again, twice
    at the most."""
    @functools.wraps(case)
    def tried(stage):
        for left in (2, 1, 0):
            began = time.monotonic()
            try:
                return case(stage)
            except Exception:
                if left == 0 or time.monotonic() - began < 4:
                    raise
            for process in stage.processes:
                process.popen.kill()
                process.popen.wait()
            for path in stage.path.iterdir():
                path.unlink()
    return tried


def server_at(family=socket.AF_INET):
    """A server whose connections take in little that is not read."""
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    server.bind(("127.0.0.1", 0))
    server.listen()
    server.settimeout(run.PATIENCE)
    return server


def url_of(server):
    return f"tcp://127.0.0.1:{server.getsockname()[1]}?frame=line&{ROOM}"


def accept(server):
    link, _ = server.accept()
    link.settimeout(run.PATIENCE)
    return link


def client_of(process):
    """A client of the port that our program listens at, which takes in little that it does not read."""
    port = port_of(process)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    client.settimeout(run.PATIENCE)
    client.connect(("127.0.0.1", port))
    return client


def converse(client, server):
    """Questions and answers by way of the relay; the first question was asked."""
    for _ in range(3):
        same(server.recv(100), b"question\n")
        server.sendall(b"answer\n")
        same(client.recv(100), b"answer\n")
        client.sendall(b"question\n")


def rows(link):
    """What the kernel says of this connection: here, and at its other end (None: there is none any more)."""
    here, there = link.getsockname()[1], link.getpeername()[1]
    found = {}
    with open("/proc/net/tcp", encoding="ascii") as table:
        for row in list(table)[1:]:
            columns = row.split()
            ports = tuple(int(columns[i].split(":")[1], 16) for i in (1, 2))
            sends, receives = (int(size, 16) for size in columns[4].split(":"))
            found[ports] = (columns[3], sends, receives)
    return found.get((here, there)), found.get((there, here))


def wait_sent(link, size):
    """Until the other end has sent so many bytes, which nobody has read."""
    def sent():
        here, there = rows(link)
        return there[1] + here[2] >= size
    run.wait_for(sent, f"{size} bytes to be on their way")


def wait_end_said(link):
    """Until the other end has said that it sends no more, behind what is under way."""
    def said():
        _, there = rows(link)
        return not there or there[0] in END_SAID
    run.wait_for(said, "the other end to say its end")


def read_and_talk(link, more=b"and more\n"):
    """Read slowly to the end, and send something before each read."""
    got = bytearray()
    try:
        while True:
            link.sendall(more)
            if not (data := link.recv(2048)):
                break
            got += data
    except ConnectionError:  # it was closed meanwhile: what it had sent before can still be read
        got += b"".join(iter(lambda: rest_of(link), b""))
    return bytes(got)


def rest_of(link):
    try:
        return link.recv(65536)
    except ConnectionError:
        return b""


# ---- send ----

@while_it_lasts
def test_h71_send_to_a_server_that_answers(stage):
    """h71: send to a server that answers each line: all lines arrive before it ends"""
    with server_at() as server:
        send = stage.start_wherry("send", url_of(server), stdin=subprocess.PIPE)
        with accept(server) as link:
            send.write(LINES)
            send.shut()
            wait_end_said(link)
            same(read_and_talk(link), LINES, "what arrived")
        send.end()


def test_send_to_a_server_that_stays(stage):
    """send to a server that has read all and does not close ends at once; one that reads nothing costs a line and 3"""
    with server_at() as server:
        send = stage.start_wherry("send", "-w60s", url_of(server), stdin=subprocess.PIPE)
        with accept(server) as link:
            send.write(FEW)
            send.shut()
            same(send.end().err, b"", "standard error")
            same(run.read_all(link), FEW)
        send = stage.start_wherry("send", "-w6s", url_of(server), stdin=subprocess.PIPE)
        with accept(server) as link:
            send.write(LINES)
            send.shut()
            one_line(send.end(3), r"^wherry: tcp://127.*not all that was sent arrived in time")
            same(run.read_all(link), LINES, "what came all the same, to one that sent nothing")


def test_send_and_a_server_that_reads_late(stage):
    """send -w: it is the time that -w gave in which all has to arrive; after a signal 5 seconds of it are left"""
    with server_at() as server:
        send = stage.start_wherry("send", "-w60s", url_of(server), stdin=subprocess.PIPE)
        with accept(server) as link:
            send.write(LINES)
            send.shut()
            wait_end_said(link)
            try:  # beyond what a close waits for without -w
                raise tap.Failure(f"send ended with {send.popen.wait(5.2)} before all had arrived")
            except subprocess.TimeoutExpired:
                pass
            same(read_and_talk(link), LINES, "what arrived")
        send.end()
        send = stage.start_wherry("send", "-w60s", url_of(server), stdin=subprocess.PIPE)
        with accept(server) as link:
            send.write(LINES)
            send.shut()
            wait_end_said(link)
            send.signal(signal.SIGTERM)
            one_line(send.end(128 + signal.SIGTERM), r"not all that was sent arrived in time")


# ---- relay, at TO ----

@while_it_lasts
def test_h71_relay_to_a_server_that_answers(stage):
    """h71: relay to a server that greets and answers each line: all lines arrive before it ends, both ways or one"""
    for words in ((), ("--one-way",)):
        with server_at() as server:
            relay = stage.start_wherry("relay", *words, "unix:./front?frame=line", url_of(server))
            stage.wait_listening("front")
            with stage.connect("front") as client:
                client.sendall(LINES)
                client.shutdown(socket.SHUT_WR)
                with accept(server) as link:
                    link.sendall(b"220 hello\n")
                    if not words:
                        same(client.recv(100), b"220 hello\n")
                        wait_sent(link, len(LINES))
                    client.close()
                    wait_end_said(link)
                    same(read_and_talk(link), LINES, f"what arrived, {words}")
            relay.end()


@while_it_lasts
def test_relay_holds_nobody_up_for_a_server(stage):
    """relay, of which one connection to a server is ending and the server reads nothing: others are served meanwhile"""
    with server_at() as server:
        relay = stage.start_wherry("relay", "--keep", "unix:./front?frame=line", url_of(server))
        stage.wait_listening("front")
        with stage.connect("front") as client:
            client.sendall(LINES)
            link = accept(server)
            wait_sent(link, len(LINES))
        with link, stage.connect("front") as other:
            wait_end_said(link)
            other.sendall(b"question\n")
            with accept(server) as its:
                converse(other, its)
                same(rows(link)[1][0], "04", "the state of the connection that is ending")
                same(read_and_talk(link), LINES, "what arrived")
        relay.stop()


# ---- relay, at FROM ----

def serve_once(server, answer):
    """Take one connection of the relay and its question, answer and close."""
    with accept(server) as link:
        same(link.recv(100), b"get\n")
        link.sendall(answer)


@while_it_lasts
def test_h71_relay_lets_a_client_go_that_talks_on(stage):
    """h71: relay, whose server has answered and closed: the client that talks on gets the answer, others are served"""
    relay = stage.start_wherry("relay", "--keep", "-v", f"tcp://127.0.0.1:0?frame=line&{ROOM}",
                               "unix:./back?frame=line")
    with stage.listen("back") as server, client_of(relay) as client, client_of(relay) as other:
        client.sendall(b"get\n")
        serve_once(server, LINES)
        wait_end_said(client)
        other.sendall(b"question\n")
        with accept(server) as its:
            converse(other, its)
            same(rows(client)[1][0], "04", "the state of the connection that is ending")
            same(read_and_talk(client), LINES, "what the client got")
    relay.stop()


@while_it_lasts
def test_relay_stopped_while_clients_talk(stage):
    """SIGTERM to a relay: a client that talks on gets all answers that had come"""
    relay = stage.start_wherry("relay", "-v", f"tcp://127.0.0.1:0?frame=line&{ROOM}", "unix:./back?frame=line")
    with stage.listen("back") as server, client_of(relay) as client:
        client.sendall(b"get\n")
        with accept(server) as link:
            same(link.recv(100), b"get\n")
            link.sendall(LINES)
            wait_sent(client, len(LINES))
            relay.signal(signal.SIGTERM)
            wait_end_said(client)
            same(read_and_talk(client), LINES, "what the client got")
        relay.end(128 + signal.SIGTERM)


# ---- echo ----

@while_it_lasts
def test_h71_echo_stopped_while_clients_talk(stage):
    """h71: SIGTERM to echo: a client that talks on gets all answers that were due"""
    echo = stage.start_wherry("echo", "-v", f"tcp://127.0.0.1:0?frame=line&{ROOM}")
    with client_of(echo) as client:
        client.sendall(LINES)
        wait_sent(client, len(LINES))
        echo.signal(signal.SIGTERM)
        wait_end_said(client)
        same(read_and_talk(client), LINES, "what the client got")
    echo.end(128 + signal.SIGTERM)


# ---- not in time ----

def test_what_does_not_arrive_is_said(stage):
    """nobody reads for 5 seconds: a line says that not all arrived, and the exit code is 3, or the signal's"""
    with server_at() as server, stage.listen("back") as back:
        to = stage.start_wherry("relay", "unix:./front?frame=line", url_of(server))
        at = stage.start_wherry("relay", "-v", f"tcp://127.0.0.1:0?frame=line&{ROOM}", "unix:./back?frame=line")
        echo = stage.start_wherry("echo", "-v", f"tcp://127.0.0.1:0?frame=line&{ROOM}")
        stage.wait_listening("front")
        with stage.connect("front") as client:
            client.sendall(LINES)
            link = accept(server)
            wait_sent(link, len(LINES))
        with link, client_of(at) as client, client_of(echo) as other:
            other.sendall(LINES)
            wait_sent(other, len(LINES))
            echo.signal(signal.SIGTERM)
            client.sendall(b"get\n")
            serve_once(back, LINES)
            for process, code in ((to, 3), (at, 3), (echo, 128 + signal.SIGTERM)):
                said = process.end(code).err
                same(said.count(b"not all that was sent arrived in time"), 1, f"{process}: lines in {said!r}")
