# tests/cli/ip.py - the command over ip:, and raw programs at the other end: socat and raw sockets.
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

PROTOCOL = 150 + os.getpid() % 100  # nobody else's: all with one protocol hear what comes to [::1]
TAKEN = [0]


def need_right():
    """Raw sockets are for whoever has CAP_NET_RAW."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, PROTOCOL).close()
    except PermissionError:
        raise tap.Skip("no CAP_NET_RAW, which raw IP sockets need") from None


def host():
    """An address of this host that nobody else has."""
    need_right()
    TAKEN[0] += 1
    return f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}.{TAKEN[0]}"


def plain(own=None, to=None, family=socket.AF_INET):
    peer = socket.socket(family, socket.SOCK_RAW, PROTOCOL)
    peer.settimeout(PATIENCE)
    if own:
        peer.bind((own, 0))
    if to:
        peer.connect((to, 0))
    return peer


def url(place, *options):
    return "&".join([f"ip://{place}?proto={PROTOCOL}", *options])


def bound(place):
    """Whether a raw socket is bound there: the columns of /proc/net/raw are as those of proc_net_tcp(5)."""
    with open("/proc/net/raw", encoding="ascii") as table:
        local = socket.inet_aton(place)[::-1].hex().upper()
        return any(line.split()[1].startswith(local) for line in list(table)[1:])


def start_bound(stage, place, *words, **how):
    process = stage.start_wherry(*words, **how)
    wait_for(lambda: bound(place) or process.popen.poll() is not None, f"a raw socket at {place}")
    stage.wait_asleep(process)  # it hears a moment after it is bound
    return process


def payload(packet):
    return packet[(packet[0] & 15) * 4:]


def test_send_recv(stage):
    """wherry send and recv over ip: 200 lines, a message each"""
    at = host()
    lines = b"".join(b"line %d\n" % i for i in range(200))
    recv = start_bound(stage, at, "recv", "-c", "200", url(at))
    stage.run_wherry("send", url(at), input=lines)
    same(recv.end().out, lines)


def test_ipv6(stage):
    """wherry send and recv over IPv6, and a raw socket beside them"""
    host()
    try:
        peer = plain("::1", family=socket.AF_INET6)
    except OSError as error:
        raise tap.Skip(f"no IPv6: {error}") from None
    recv = stage.start_wherry("recv", "-c", "2", url("[::1]"))
    stage.wait_asleep(recv)
    stage.run_wherry("send", url("[::1]"), input=b"from wherry\n")
    same(peer.recv(100), b"from wherry")
    peer.sendto(b"from a raw socket", ("::1", 0))
    same(recv.end().out, b"from wherry\nfrom a raw socket\n")
    peer.close()


def test_recv_from_raw_sockets(stage):
    """wherry recv takes packets from anybody, an empty one too, and sees no end"""
    at = host()
    recv = start_bound(stage, at, "recv", url(at))
    for text in (b"one", b"", b"two"):
        peer = plain(to=at)
        peer.send(text)
        peer.close()
    same(recv.read_out(9), b"one\n\ntwo\n")
    recv.stop()


def test_send_to_a_raw_socket(stage):
    """wherry send to a program with a raw socket: each line is a packet"""
    at = host()
    peer = plain(at)
    stage.run_wherry("send", url(at), input=b"one\n\nthree\n")
    same([payload(peer.recv(100)) for _ in range(3)], [b"one", b"", b"three"])
    peer.close()


def test_socat_sends(stage):
    """socat sends to wherry recv"""
    stage.need("socat")
    at = host()
    recv = start_bound(stage, at, "recv", "-c", "1", url(at))
    stage.run("socat", "-u", "-", f"IP4-SENDTO:{at}:{PROTOCOL}", input=b"from socat")
    same(recv.end().out, b"from socat\n")


def test_socat_receives(stage):
    """wherry send to socat"""
    stage.need("socat")
    at = host()
    socat = stage.start("socat", "-u", f"IP4-RECV:{PROTOCOL},bind={at}", "-")
    wait_for(lambda: bound(at) or socat.popen.poll() is not None, "socat's raw socket")
    stage.run_wherry("send", url(at), input=b"to socat")
    same(socat.read_out(8), b"to socat")
    socat.signal(signal.SIGTERM)
    socat.end(None)


def test_socat_over_ipv6(stage):
    """socat sends to wherry recv, and wherry send to socat, over IPv6"""
    stage.need("socat")
    host()
    recv = stage.start_wherry("recv", "-c", "1", url("[::1]", "seq=1"))
    stage.wait_asleep(recv)
    header = b"whs1" + bytes(16)
    stage.run("socat", "-u", "-", f"IP6-SENDTO:[::1]:{PROTOCOL}", input=header + b"from socat")
    same(recv.end().out, b"from socat\n")
    socat = stage.start("socat", "-u", f"IP6-RECV:{PROTOCOL},bind=[::1]", "-")
    stage.wait_asleep(socat)
    stage.run_wherry("send", url("[::1]"), input=b"to socat")
    same(socat.read_out(8), b"to socat")
    socat.signal(signal.SIGTERM)
    socat.end(None)


def test_socat_asks(stage):
    """socat asks wherry echo"""
    stage.need("socat")
    at, other = host(), host()
    echo = start_bound(stage, at, "echo", url(at))
    socat = stage.start("socat", "-", f"IP4-SENDTO:{at}:{PROTOCOL},bind={other}", stdin=subprocess.PIPE)
    socat.write(b"ping")
    same(socat.read_out(4), b"ping")
    socat.signal(signal.SIGTERM)
    socat.end(None)
    echo.stop()


def test_socat_answers(stage):
    """wherry ask to socat, which sends back what comes"""
    stage.need("socat")
    at = host()
    socat = stage.start("socat", f"IP4-RECVFROM:{PROTOCOL},bind={at}", "PIPE")
    wait_for(lambda: bound(at) or socat.popen.poll() is not None, "socat's raw socket")
    same(stage.run_wherry("ask", url(at), "marco").out, b"marco\n")
    socat.signal(signal.SIGTERM)
    socat.end(None)


def test_echo_answers_each(stage):
    """wherry echo answers each of several raw peers, and wherry ask"""
    at = host()
    echo = start_bound(stage, at, "echo", url(at))
    peers = [plain(host(), at) for _ in range(3)]
    for number, peer in enumerate(peers):
        peer.send(b"peer %d" % number)
    for number, peer in reversed(list(enumerate(peers))):
        same(payload(peer.recv(100)), b"peer %d" % number)
        peer.close()
    same(stage.run_wherry("ask", url(at), "hello").out, b"hello\n")
    echo.stop()


def test_echo_does_not_answer_itself(stage):
    """wherry echo goes on when a packet has its own address, and does not answer it"""
    at = host()
    echo = start_bound(stage, at, "echo", url(at))
    peer = plain(at)
    peer.sendto(b"from you to you", (at, 0))
    same(stage.run_wherry("ask", url(at), "hello").out, b"hello\n")
    same(payload(peer.recv(100)), b"from you to you")  # its own
    same(payload(peer.recv(100)), b"hello")  # and the question: whoever has the address gets a copy
    peer.settimeout(0)
    try:
        raise tap.Failure(f"more came: {peer.recv(100)!r}")
    except BlockingIOError:
        pass
    peer.close()
    echo.signal(signal.SIGTERM)
    echo.end(None)


def test_ask_nobody(stage):
    """wherry ask where nobody is: an exit code, and one line that says so"""
    ask = stage.run_wherry("ask", "-w", "200ms", url(host()), "hello", code=None)
    if ask.popen.returncode == 0:
        raise tap.Failure("an answer from nobody")
    one_line(ask)


def test_relay(stage):
    """wherry relay from ip: to ip:"""
    source, sink = host(), host()
    recv = start_bound(stage, sink, "recv", "-c", "3", url(sink))
    relay = start_bound(stage, source, "relay", url(source), url(sink))
    stage.run_wherry("send", url(source), input=b"one\ntwo\nthree\n")
    same(recv.end().out, b"one\ntwo\nthree\n")
    relay.signal(signal.SIGTERM)
    relay.end(None)


def test_numbers(stage):
    """with seq=1 wherry recv says how many were lost"""
    at, other = host(), host()
    peer = plain(at)
    stage.run_wherry("send", url(at, "seq=1"), input=b"0\n1\n2\n3\n4\n")
    numbered = [payload(peer.recv(100)) for _ in range(5)]
    same([n[:4] + n[20:] for n in numbered], [b"whs1%d" % i for i in range(5)])
    recv = start_bound(stage, other, "recv", url(other, "seq=1"))
    for number in (0, 3, 3, 4):
        peer.sendto(numbered[number], (other, 0))
    same(recv.read_out(6), b"0\n3\n4\n")
    recv.signal(signal.SIGTERM)
    recv.end(None)
    if not re.search(rb"2 messages were lost", recv.err):
        raise tap.Failure(f"no word of what was lost: {recv.err!r}")
    peer.close()


def test_without_the_right(stage):
    """without CAP_NET_RAW one line names it"""
    if os.geteuid() != 0:
        raise tap.Skip("no right to give up")
    for verb in ("send", "recv", "echo", "ask"):
        one_line(stage.run_wherry(verb, url("127.0.0.1"), code=None, input=b"", user=65534, group=65534,
                                  extra_groups=[]), "CAP_NET_RAW", "setcap")


def test_wrong_urls(stage):
    """a protocol that is none, none at all, and a port: one line each, before any socket"""
    for place, word in (("ip://127.0.0.1?proto=255", "255"), ("ip://127.0.0.1?proto=300", "254"),
                        ("ip://127.0.0.1?proto=x", "proto"), ("ip://127.0.0.1", "proto=N"),
                        ("ip://127.0.0.1:80?proto=253", "no port")):
        wrong = stage.run_wherry("send", place, code=None, input=b"")
        if wrong.popen.returncode == 0:
            raise tap.Failure(f"{place} was taken")
        one_line(wrong, word)
