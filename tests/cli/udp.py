# tests/cli/udp.py - the command over udp:, and raw programs at the other end: nc, socat and plain sockets.
#
# SPDX-License-Identifier: MIT
import os
import re
import signal
import socket
import subprocess

import tap
from run import one_line, same
from tap import PATIENCE, wait_for


def plain(connected_to=None):
    """A socket without connections, and its port."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    peer.settimeout(PATIENCE)
    if connected_to:
        peer.connect(("127.0.0.1", connected_to))
    return peer, peer.getsockname()[1]


def free_port():
    peer, port = plain()
    peer.close()
    return port


def ours(stage, port):
    """Whether a program of the stage has the port: the columns of /proc/net/udp are as those of proc_net_tcp(5)."""
    with open("/proc/net/udp", encoding="ascii") as table:
        rows = [line.split() for line in list(table)[1:]]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}")} & stage._sockets()


def start_bound(stage, *words):
    """The command at a port that the kernel chooses, which it says with -v."""
    process = stage.start_wherry(words[0], "-v", *words[1:])

    def said():
        return re.search(rb"listening at udp://\S*?:(\d+)[\s?]", process.err)
    process.read(said, "its port")
    return process, int(said().group(1))


def start_other(stage, *commands):
    """The first of these commands of others that takes its port, PORT; a free one may be somebody else's by then."""
    for _ in range(3):
        port = free_port()
        for words in commands:
            process = stage.start(*(word.replace("PORT", str(port)) for word in words))
            wait_for(lambda: ours(stage, port) or process.popen.poll() is not None, f"{process} to take its port")
            if process.popen.poll() is None:
                return process, port
            process.end(None)
    raise tap.Failure(f"{process}: {process.err!r}")


def test_send_recv(stage):
    """wherry send and recv over udp: 200 lines, a message each"""
    lines = b"".join(b"line %d\n" % i for i in range(200))
    recv, port = start_bound(stage, "recv", "-c", "200", "udp://:0")
    stage.run_wherry("send", f"udp://:{port}", input=lines)
    same(recv.end().out, lines)


def test_recv_from_plain_sockets(stage):
    """wherry recv takes datagrams from anybody, an empty one too, and sees no end"""
    recv, port = start_bound(stage, "recv", "udp://:0")
    for text in (b"one", b"", b"two"):
        peer, _ = plain(port)
        peer.send(text)
        peer.close()
    same(recv.read_out(9), b"one\n\ntwo\n")
    recv.stop()


def test_send_to_a_plain_socket(stage):
    """wherry send to a program with a plain socket: each line is a datagram"""
    peer, port = plain()
    stage.run_wherry("send", f"udp://127.0.0.1:{port}", input=b"one\n\nthree\n")
    same([peer.recv(100) for _ in range(3)], [b"one", b"", b"three"])
    peer.close()


def test_nc_sends(stage):
    """nc -u sends to wherry recv"""
    stage.need("nc")
    recv, port = start_bound(stage, "recv", "-c", "1", "udp://127.0.0.1:0")
    nc = stage.start("nc", "-u", "-w", "1", "127.0.0.1", str(port), stdin=subprocess.PIPE)
    nc.write(b"from nc\n")
    same(recv.end().out, b"from nc\n\n")  # what nc sends has a newline of its own
    nc.signal(signal.SIGTERM)
    nc.end(None)


def test_nc_listens(stage):
    """wherry send to nc -u -l"""
    stage.need("nc")
    nc, port = start_other(stage, ["nc", "-u", "-l", "127.0.0.1", "PORT"],
                           ["nc", "-u", "-l", "-p", "PORT"])  # OpenBSD's, and the others
    stage.run_wherry("send", f"udp://127.0.0.1:{port}", input=b"to nc")
    same(nc.read_out(5), b"to nc")
    nc.signal(signal.SIGTERM)
    nc.end(None)


def test_socat_asks(stage):
    """socat asks wherry echo"""
    stage.need("socat")
    echo, port = start_bound(stage, "echo", "udp://127.0.0.1:0")
    socat = stage.start("socat", "-", f"UDP:127.0.0.1:{port}", stdin=subprocess.PIPE)
    socat.write(b"ping\n")
    same(socat.read_out(5), b"ping\n")
    socat.signal(signal.SIGTERM)
    socat.end(None)
    echo.stop()


def test_socat_answers(stage):
    """wherry ask to socat, which sends back what comes"""
    stage.need("socat")
    socat, port = start_other(stage, ["socat", "UDP-LISTEN:PORT,bind=127.0.0.1", "PIPE"])
    same(stage.run_wherry("ask", f"udp://127.0.0.1:{port}", "marco").out, b"marco\n")
    socat.signal(signal.SIGTERM)
    socat.end(None)


def test_echo_answers_each(stage):
    """wherry echo answers each of several plain peers, and wherry ask"""
    echo, port = start_bound(stage, "echo", "udp://*:0")
    peers = [plain(port)[0] for _ in range(3)]
    for number, peer in enumerate(peers):
        peer.send(b"peer %d" % number)
    for number, peer in reversed(list(enumerate(peers))):
        same(peer.recv(100), b"peer %d" % number)
        peer.close()
    same(stage.run_wherry("ask", f"udp://:{port}", "hello").out, b"hello\n")
    same(stage.run_wherry("ask", f"udp://[::1]:{port}", "hello").out, b"hello\n")
    echo.stop()


def test_ask_nobody(stage):
    """wherry ask where nobody is: an exit code, and one line that says so"""
    port = free_port()
    ask = stage.run_wherry("ask", "-w", "200ms", f"udp://127.0.0.1:{port}", "hello", code=None)
    if ask.popen.returncode == 0:
        raise tap.Failure("an answer from nobody")
    one_line(ask)


def test_numbers(stage):
    """with seq=1 wherry recv says how many were lost"""
    peer, there = plain()
    send = stage.run_wherry("send", f"udp://127.0.0.1:{there}?seq=1", input=b"0\n1\n2\n3\n4\n")
    same(send.err, b"")
    numbered = [peer.recv(100) for _ in range(5)]
    same([n[:4] + n[20:] for n in numbered], [b"whs1%d" % i for i in range(5)])
    recv, port = start_bound(stage, "recv", "udp://127.0.0.1:0?seq=1")
    peer.connect(("127.0.0.1", port))
    for number in (0, 3, 3, 4):
        peer.send(numbered[number])
    same(recv.read_out(6), b"0\n3\n4\n")
    recv.signal(signal.SIGTERM)
    recv.end(None)
    if not re.search(rb"2 messages were lost", recv.err):
        raise tap.Failure(f"no word of what was lost: {recv.err!r}")
    peer.close()


def test_port_0(stage):
    """wherry recv at port 0 gets a port, and messages there"""
    recv = stage.start_wherry("recv", "-c", "1", "udp://127.0.0.1:0")
    ports = []
    stage.wait_asleep(recv)

    def found():
        inodes = {os.readlink(f"/proc/{recv.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{recv.pid}/fd")}
        with open("/proc/net/udp", encoding="ascii") as table:  # proc_net_tcp(5) has the columns
            rows = [line.split() for line in list(table)[1:]]
        ports[:] = [int(row[1].split(":")[1], 16) for row in rows if f"socket:[{row[9]}]" in inodes]
        return ports
    wait_for(found, "a port")
    stage.run_wherry("send", f"udp://127.0.0.1:{ports[0]}", input=b"found\n")
    same(recv.end().out, b"found\n")


def test_taken(stage):
    """a second receiver at a port is told who has it"""
    first, port = start_bound(stage, "recv", "udp://127.0.0.1:0")
    second = stage.run_wherry("recv", f"udp://127.0.0.1:{port}", code=None)
    if f"pid {first.pid}".encode() not in second.err or second.popen.returncode == 0:
        raise tap.Failure(f"exit code {second.popen.returncode}, {second.err!r}")
    first.stop()
