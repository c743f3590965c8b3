# tests/cli/raw_peers.py - raw programs at the other end of the command: cat, the shell, socat, nc, and C of system
# calls.
#
# SPDX-License-Identifier: MIT
import os
import socket
import struct
import subprocess

import run
from run import one_line, same

LINES = b"".join(b"line %d of the text\n" % i for i in range(1000))


# ---- FIFOs: the shell and cat ----

def test_cat_reads_what_send_sends(stage):
    """cat reads from a FIFO what wherry send sends"""
    stage.fifo("ch")
    cat = stage.start("cat", "ch")
    stage.run_wherry("send", "fifo:./ch?frame=line", input=LINES)
    same(cat.end().out, LINES)


def test_recv_reads_what_the_shell_writes(stage):
    """wherry recv reads what the shell redirects into a mkfifo"""
    stage.fifo("ch")
    recv = stage.start_wherry("recv", "fifo:./ch?frame=line")
    stage.write("text", LINES)
    stage.run("sh", "-c", "cat text > ch")
    same(recv.end().out, LINES)


def test_recv_after_the_shell(stage):
    """wherry recv starts after the shell that writes; with --raw a last line without newline is as it came"""
    stage.fifo("ch")
    shell = stage.start("sh", "-c", "printf 'one\\ntwo\\nthree' > ch")
    stage.wait_asleep(shell)
    recv = stage.run_wherry("recv", "--raw", "fifo:./ch?frame=line")
    same(recv.out + recv.err, b"onetwothree")
    shell.end()


def test_fifo_raw_reader_first(stage):
    """a raw FIFO reader that was there before wherry send"""
    stage.fifo("ch")
    reader = stage.start(stage.helper("raw_fifo"), "read", "ch")
    stage.wait_asleep(reader)
    stage.run_wherry("send", "fifo:./ch?frame=line", input=LINES)
    same(reader.end().out, LINES)


def test_fifo_raw_reader_later(stage):
    """a raw FIFO reader that comes after wherry send"""
    stage.fifo("ch")
    stage.write("text", LINES)
    send = stage.start_wherry("send", "fifo:./ch?frame=line", "text")
    stage.wait_asleep(send)
    reader = stage.start(stage.helper("raw_fifo"), "read", "ch")
    same(reader.end().out, LINES)
    send.end()


def test_fifo_raw_writer_first(stage):
    """a raw FIFO writer that was there before wherry recv"""
    stage.fifo("ch")
    writer = stage.start(stage.helper("raw_fifo"), "write", "ch", stdin=subprocess.PIPE)
    stage.wait_asleep(writer)
    recv = stage.start_wherry("recv", "fifo:./ch?frame=line")
    writer.write(LINES)
    writer.shut()
    same(recv.end().out, LINES)
    writer.end()


def test_fifo_raw_writer_later(stage):
    """a raw FIFO writer that comes after wherry recv"""
    recv = stage.start_wherry("recv", "fifo:./ch?frame=line")
    stage.wait_path("ch")
    stage.wait_opened(recv, "ch")
    stage.run(stage.helper("raw_fifo"), "write", "ch", input=LINES)
    same(recv.end().out, LINES)


def test_records_of_four_bytes(stage):
    """recv 'fifo:./ch?frame=fixed:4' --raw takes the records of a raw writer, and ends when it does"""
    recv = stage.start_wherry("recv", "fifo:./ch?frame=fixed:4", "--raw")
    stage.wait_path("ch")
    stage.run(stage.helper("raw_records"), "ch", 100000)
    same(recv.end().out, struct.pack("=100000I", *range(100000)))


# ---- Unix stream sockets: socat and nc ----

def test_socat_sends_to_recv(stage):
    """socat connects to wherry recv and sends"""
    stage.need("socat")
    recv = stage.start_wherry("recv", "unix:./s?frame=line")
    stage.wait_listening("s")
    stage.run("socat", "-u", "-", "UNIX-CONNECT:s", input=LINES)
    same(recv.end().out, LINES)


def test_socat_listens_for_send(stage):
    """socat listens, wherry send connects"""
    stage.need("socat")
    socat = stage.start("socat", "-u", "UNIX-LISTEN:s", "-")
    stage.wait_listening("s")
    stage.run_wherry("send", "unix:./s?frame=line", input=LINES)
    same(socat.end().out, LINES)


def test_socat_sends_to_a_connecting_recv(stage):
    """socat listens and sends, wherry recv connects"""
    stage.need("socat")
    stage.write("text", LINES)
    socat = stage.start("socat", "-u", "OPEN:text", "UNIX-LISTEN:s")
    same(stage.run_wherry("recv", "unix:./s?connect&frame=line").out, LINES)
    socat.end()


def test_socat_receives_from_a_listening_send(stage):
    """wherry send listens, socat connects and receives"""
    stage.need("socat")
    stage.write("text", LINES)
    send = stage.start_wherry("send", "unix:./s?listen&frame=line", "text")
    stage.wait_listening("s")
    same(stage.run("socat", "-u", "UNIX-CONNECT:s", "-").out, LINES)
    send.end()


def test_nc_sends_to_recv(stage):
    """nc connects to wherry recv and sends"""
    stage.need("nc")
    recv = stage.start_wherry("recv", "unix:./s?frame=line")
    stage.wait_listening("s")
    stage.run("nc", "-N", "-U", "s", input=LINES)
    same(recv.end().out, LINES)


def test_nc_listens_for_send(stage):
    """nc listens, wherry send connects"""
    stage.need("nc")
    stage.mine("s")  # nc leaves it
    nc = stage.start("nc", "-l", "-U", "s")
    stage.wait_listening("s")
    stage.run_wherry("send", "unix:./s?frame=line", input=LINES)
    same(nc.end().out, LINES)


def test_nc_talks_to_echo(stage):
    """nc talks to wherry echo and gets back what it sent"""
    stage.need("nc")
    echo = stage.start_wherry("echo", "unix:./s")
    stage.wait_listening("s")
    nc = stage.start("nc", "-U", "s", stdin=subprocess.PIPE)
    nc.write(LINES)
    same(nc.read_out(len(LINES)), LINES)
    nc.shut()
    nc.popen.terminate()
    nc.end(None)
    echo.stop()


def test_half_closing_client_of_echo(stage):
    """a client that half-closes after its question still gets the whole answer of wherry echo, and then the end"""
    echo = stage.start_wherry("echo", "unix:./s")
    stage.wait_listening("s")
    with stage.connect("s") as client:
        client.sendall(LINES)
        client.shutdown(socket.SHUT_WR)
        got = run.read_all(client)
    same(got, LINES)
    echo.stop()


# ---- seqpacket and datagrams ----

def test_socat_seqpacket_to_recv(stage):
    """socat sends a packet to wherry recv on a seqpacket socket"""
    stage.need("socat")
    recv = stage.start_wherry("recv", "unix+seqpacket:./s")
    stage.wait_listening("s")
    stage.run("socat", "-u", "-", "UNIX-CONNECT:s,type=5", input=b"one packet")
    same(recv.end().out, b"one packet\n")


def test_send_to_socat_seqpacket(stage):
    """wherry send sends packets to socat on a seqpacket socket"""
    stage.need("socat")
    socat = stage.start("socat", "-u", "UNIX-LISTEN:s,type=5", "-")
    stage.wait_listening("s")
    stage.run_wherry("send", "unix+seqpacket:./s", input=b"one\ntwo\nthree\n")
    same(socat.end().out, b"onetwothree")


def test_raw_packets_keep_their_boundaries(stage):
    """raw seqpacket and datagram senders: each write is a message"""
    for kind in ("seqpacket", "dgram"):
        recv = stage.start_wherry("recv", "-c3", f"unix+{kind}:./{kind}")
        stage.wait_listening(kind)
        stage.run(stage.helper("raw_sender"), kind, kind, "one", "two two", "three")
        same(recv.end().out, b"one\ntwo two\nthree\n", kind)


def test_socat_datagram_to_recv(stage):
    """socat sends a datagram to wherry recv"""
    stage.need("socat")
    recv = stage.start_wherry("recv", "-c1", "unix+dgram:./s")
    stage.wait_listening("s")
    stage.run("socat", "-u", "-", "UNIX-SENDTO:s", input=b"a datagram")
    same(recv.end().out, b"a datagram\n")


def test_send_to_socat_datagram(stage):
    """wherry send sends datagrams to socat"""
    stage.need("socat")
    socat = stage.start("socat", "-u", "UNIX-RECV:s", "-")
    stage.wait_listening("s")
    stage.mine("s")
    stage.run_wherry("send", "unix+dgram:./s", input=b"one\ntwo\n")
    same(socat.read_out(6), b"onetwo")
    socat.popen.terminate()
    socat.end(None)


def test_nc_datagram_to_recv(stage):
    """nc sends a datagram to wherry recv"""
    stage.need("nc")
    recv = stage.start_wherry("recv", "-c1", "unix+dgram:./s")
    stage.wait_listening("s")
    stage.mine("own")  # else its own address stays in /tmp when it is ended
    nc = stage.start("nc", "-u", "-U", "-s", "./own", "s", stdin=subprocess.PIPE)
    nc.write(b"a datagram")
    same(recv.end().out, b"a datagram\n")
    nc.shut()
    nc.popen.terminate()
    nc.end(None)


def test_abstract_names(stage):
    """an abstract name: a raw client types at wherry recv"""
    name = f"wherry-cli-{os.getpid()}-{stage.path.name}"
    recv = stage.start_wherry("recv", f"unix:@{name}?frame=line")
    stage.wait_listening("@" + name)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + name)
        client.sendall(LINES)
    same(recv.end().out, LINES)


# ---- programs of system calls alone ----

def test_a_typist_at_echo(stage):
    """a raw client types 500 lines at wherry echo, each after the answer to the one before"""
    for query in ("", "?frame=line"):
        echo = stage.start_wherry("echo", "unix:./s" + query)
        stage.wait_listening("s")
        stage.run(stage.helper("raw_typist"), "s", 500)
        echo.stop()


def test_ask_asks_a_raw_server(stage):
    """wherry ask asks a raw echo server, on stream and seqpacket sockets"""
    for kind, url in (("stream", "unix:./a"), ("seqpacket", "unix+seqpacket:./b")):
        server = stage.start(stage.helper("raw_echod"), url[-1], kind, 2)
        same(stage.run_wherry("ask", url, "what is it?").out, b"what is it?\n", kind)
        same(stage.run_wherry("ask", "--raw", url, input=b"from\nstandard input").out, b"from\nstandard input", kind)
        server.end()


def test_ask_in_lines(stage):
    """wherry ask with frame=line asks a raw echo server a line"""
    server = stage.start(stage.helper("raw_echod"), "a", "stream", 1)
    same(stage.run_wherry("ask", "unix:./a?frame=line", "a line").out, b"a line\n")
    server.end()


def test_socketpair_across_fork_and_exec(stage):
    """a raw parent and a wherry child over a socketpair, across fork and exec, both ways"""
    spawn = stage.helper("raw_spawn")
    same(stage.run(spawn, "recv", "frame=line", stage.wherry, input=LINES).out, LINES, "what the child received")
    same(stage.run(spawn, "send", "frame=line", stage.wherry, input=LINES).out, LINES, "what the child sent")


def test_both_ends_of_a_socketpair(stage):
    """two wherry processes over an inherited socketpair and over an inherited pipe, all framings"""
    for frame in ("length", "line", "nul", "raw"):
        for make in (socket.socketpair, os.pipe):
            near, far = make()
            ends = [e if isinstance(e, int) else e.detach() for e in (near, far)]
            recv = stage.start_wherry("recv", f"fd:{ends[0]}?frame={frame}", *(["--raw"] if frame == "raw" else []),
                                      pass_fds=[ends[0]])
            os.close(ends[0])
            stage.run_wherry("send", f"fd:{ends[1]}?frame={frame}", *(["--raw"] if frame == "raw" else []),
                             input=LINES, pass_fds=[ends[1]])
            os.close(ends[1])
            same(recv.end().out, LINES, f"{frame} over {make.__name__}")


def test_standard_descriptors_in_a_pipeline(stage):
    """wherry send fd:1 | wherry recv fd:0, an ordinary pipeline"""
    stage.write("text", LINES)
    got = stage.run("sh", "-c", f"'{stage.wherry}' send fd:1 text | '{stage.wherry}' recv fd:0")
    same(got.out, LINES)
    same(got.err, b"", "standard error")


def test_another_user(stage):
    """h50: a client of another uid is let in where uid= names it, and known as such; elsewhere turned away"""
    stage.need("nc")
    if os.getuid() != 0:
        raise run.tap.Skip("only root can be somebody else")
    stage.path.chmod(0o755)
    recv = stage.start_wherry("recv", "--json", "unix:./s?frame=line&mode=0666&uid=65534")
    stage.wait_listening("s")
    stage.run("nc", "-N", "-U", "s", input=b"from nobody\n", user=65534, group=65534)
    lines = run.json_lines(recv.end().out)
    same([(m["data"], m["peer"]["uid"]) for m in lines], [("from nobody", 65534)])
    recv = stage.start_wherry("recv", "-w50s", "unix:./s?frame=line&mode=0666")
    stage.wait_listening("s")
    stage.run("nc", "-N", "-U", "s", input=b"from nobody\n", user=65534, group=65534, code=None)
    stage.run_wherry("send", "unix:./s?frame=line", input=b"from root\n")
    same(recv.end().out, b"from root\n")


def test_text_where_frames_are_expected(stage):
    """a raw client that types text at length frames: the receiver says so and names frame="""
    recv = stage.start_wherry("recv", "unix:./s")
    stage.wait_listening("s")
    stage.run(stage.helper("raw_sender"), "s", "stream", "GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n")
    run.losses(recv.end(1), "1 peer was refused")
    one_line(recv, r"unix:\./s", r"frame=line")
