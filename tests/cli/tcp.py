# tests/cli/tcp.py - tcp: from outside: nc, socat, curl and C of system calls at the other end, in both families.
#
# SPDX-License-Identifier: MIT
import contextlib
import functools
import hashlib
import http.server
import os
import re
import socket
import struct
import subprocess
import threading

import run
from run import one_line, same

LINES = b"".join(b"line %d of the text\n" % i for i in range(1000))
FAMILIES = (("4", "127.0.0.1", "TCP4"), ("6", "[::1]", "TCP6"))


def port_of(process):
    """The port that a program of ours says with -v that it listens at."""
    def said():
        return re.search(rb"listening at tcp://\S*?:(\d+)[\s?]", process.err)
    process.read(said, "its port")
    return int(said().group(1))


@contextlib.contextmanager
def free_port(name="127.0.0.1"):
    """For programs that do not say which they were given: a port of this address at which nobody listens.  A socket of
    ours has it meanwhile, so that nobody else is given it; who sets SO_REUSEADDR may listen there all the same."""
    with socket.socket(socket.AF_INET6 if ":" in name else socket.AF_INET) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if name == "::":
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # of IPv4, too
        holder.bind((name, 0))
        yield holder.getsockname()[1]


def wait_port(stage, process, port):
    """Until the process listens at this port."""
    def listening():
        ours = stage._sockets()
        for table in ("tcp", "tcp6"):
            with open(f"/proc/net/{table}", encoding="ascii") as rows:
                for row in list(rows)[1:]:
                    columns = row.split()
                    if columns[3] == "0A" and int(columns[1].split(":")[1], 16) == port and columns[9] in ours:
                        return True
        assert process.popen.poll() is None, f"{process} ended: {process.err}"
        return False
    run.wait_for(listening, f"{process} to listen at {port}")


def host(name):
    return name.strip("[]")


# ---- nc ----

def test_nc_sends_to_recv(stage):
    """nc connects to wherry recv and sends, in both families"""
    stage.need("nc")
    for family, name, _ in FAMILIES:
        recv = stage.start_wherry("recv", "-v", f"tcp://{name}:0?frame=line")
        stage.run("nc", f"-{family}", "-N", host(name), port_of(recv), input=LINES)
        same(recv.end().out, LINES, name)


def test_nc_listens_for_send(stage):
    """nc listens, wherry send connects, in both families"""
    stage.need("nc")
    for family, name, _ in FAMILIES:
        with free_port(host(name)) as port:
            nc = stage.start("nc", f"-{family}", "-l", host(name), port)
            wait_port(stage, nc, port)
            stage.run_wherry("send", f"tcp://{name}:{port}?frame=line", input=LINES)
            same(nc.end().out, LINES, name)


def test_nc_receives_from_a_listening_send(stage):
    """wherry send listens, nc connects and receives, in both families"""
    stage.need("nc")
    stage.write("text", LINES)
    for family, name, _ in FAMILIES:
        send = stage.start_wherry("send", "-v", f"tcp://{name}:0?listen&frame=line", "text")
        same(stage.run("nc", f"-{family}", "-d", host(name), port_of(send)).out, LINES, name)
        send.end()


def test_nc_talks_to_echo(stage):
    """nc half-closes after its question to wherry echo, and gets the whole answer, in both families"""
    stage.need("nc")
    for family, name, _ in FAMILIES:
        echo = stage.start_wherry("echo", "-v", f"tcp://{name}:0?frame=line")
        same(stage.run("nc", f"-{family}", "-N", host(name), port_of(echo), input=LINES).out, LINES, name)
        echo.stop()


# ---- socat ----

def test_socat_sends_to_recv(stage):
    """socat connects to wherry recv and sends, in both families"""
    stage.need("socat")
    for _, name, kind in FAMILIES:
        recv = stage.start_wherry("recv", "-v", f"tcp://{name}:0?frame=line")
        stage.run("socat", "-u", "-", f"{kind}:{name}:{port_of(recv)}", input=LINES)
        same(recv.end().out, LINES, name)


def test_socat_listens_for_send(stage):
    """socat listens, wherry send connects, in both families"""
    stage.need("socat")
    for _, name, kind in FAMILIES:
        with free_port(host(name)) as port:
            socat = stage.start("socat", "-u", f"{kind}-LISTEN:{port},bind={name},reuseaddr", "-")
            wait_port(stage, socat, port)
            stage.run_wherry("send", f"tcp://{name}:{port}?frame=line", input=LINES)
            same(socat.end().out, LINES, name)


def test_socat_sends_to_a_connecting_recv(stage):
    """socat listens and sends, wherry recv connects, in both families"""
    stage.need("socat")
    stage.write("text", LINES)
    for _, name, kind in FAMILIES:
        with free_port(host(name)) as port:
            socat = stage.start("socat", "-u", "OPEN:text", f"{kind}-LISTEN:{port},bind={name},reuseaddr")
            wait_port(stage, socat, port)
            same(stage.run_wherry("recv", f"tcp://{name}:{port}?connect&frame=line").out, LINES, name)
            socat.end()


def test_socat_receives_from_a_listening_send(stage):
    """wherry send listens, socat connects and receives, in both families"""
    stage.need("socat")
    stage.write("text", LINES)
    for _, name, kind in FAMILIES:
        send = stage.start_wherry("send", "-v", f"tcp://{name}:0?listen&frame=line", "text")
        same(stage.run("socat", "-u", f"{kind}:{name}:{port_of(send)}", "-").out, LINES, name)
        send.end()


# ---- programs of system calls alone ----

def test_a_raw_client_asks_echo(stage):
    """a raw client sends three short strings to wherry echo, each after the answer to the one before"""
    for family, name, _ in FAMILIES:
        for query, words in (("?frame=raw", ("one", "two two", "3")), ("?frame=line", ("one\n", "two two\n", "3\n"))):
            echo = stage.start_wherry("echo", "-v", f"tcp://{name}:0{query}")
            stage.run(stage.helper("raw_tcp_asker"), family, port_of(echo), *words)
            echo.stop()


def test_ask_asks_a_raw_server(stage):
    """wherry ask asks a raw server that sends back what each read returned"""
    for family, name, _ in FAMILIES:
        server = stage.start(stage.helper("raw_tcp_echod"), family, 3)
        server.read(lambda: server.out.endswith(b"\n"), "its port")
        url = f"tcp://{name}:{int(server.out)}"
        same(stage.run_wherry("ask", url, "what is it?").out, b"what is it?\n", url)
        same(stage.run_wherry("ask", f"{url}?frame=line", "a line").out, b"a line\n", url)
        same(stage.run_wherry("ask", "--raw", f"{url}?frame=raw", "raw").out, b"raw", url)
        server.end()


# ---- curl ----

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    body = os.urandom(3 << 20)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def do_POST(self):
        told = hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_):
        pass


def with_server(case):
    """The case gets the port of an HTTP server of this process, too."""
    @functools.wraps(case)
    def wrapped(stage):
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                case(stage, server.server_address[1])
            finally:
                server.shutdown()
                thread.join()
            run.wait_for(lambda: threading.active_count() == 1, "the server's connections to end")
    return wrapped


@with_server
def test_curl_through_relay(stage, port):
    """curl fetches 3 MiB through wherry relay, and posts as much, byte for byte, with three of them at once"""
    stage.need("curl")
    relay = stage.start_wherry("relay", "--keep", "-v", "tcp://:0?listen&frame=raw", f"tcp://:{port}?frame=raw")
    url = f"http://127.0.0.1:{port_of(relay)}/"
    curls = [stage.start("curl", "-sS", "--max-time", "50", url) for _ in range(3)]
    for curl in curls:
        if curl.end().out != Handler.body:
            raise run.tap.Failure(f"{len(curl.out)} bytes came, not the {len(Handler.body)} that are there")
    stage.write("body", Handler.body)
    told = stage.run("curl", "-sS", "--max-time", "50", "-H", "Expect:", "--data-binary", "@body", url).out
    same(told.decode(), hashlib.sha256(Handler.body).hexdigest())
    # three in a row on one connection, which the server and curl keep open between them
    three = stage.run("curl", "-sS", "--max-time", "50", "-w", "%{num_connects}\n", *(["-o", "/dev/null", url] * 3))
    same(three.out, b"1\n0\n0\n", "the connections made for each")
    relay.stop()


# ---- what the command says ----

def test_sentences_for_hosts_and_ports(stage):
    """a wrong host, a refused port and a taken one: one line each, with the URL, the address and the reason"""
    with free_port("::") as port:
        check_sentences(stage, port)
    recv = stage.start_wherry("recv", "-v", "tcp://127.0.0.1:0")
    port = port_of(recv)
    one_line(stage.run_wherry("recv", f"tcp://127.0.0.1:{port}", code=5), rf"pid {recv.pid} \(wherry\)", rf":{port}")
    recv.stop()


def check_sentences(stage, port):
    for words, code, patterns in (
            (("send", "-w200ms", f"tcp://127.0.0.1:{port}"), 3, (rf"127\.0\.0\.1:{port}: Connection refused",)),
            (("send", "-w200ms", f"tcp://:{port}"), 3, (rf"127\.0\.0\.1:{port}: Conn.*\[::1\]:{port}: Conn",)),
            (("ask", "-w200ms", f"tcp://[::1]:{port}", "x"), 3, (rf"\[::1\]:{port}: Connection refused",)),
            (("recv", "tcp://host"), 2, (r"character 7", r"host:port")),
            (("recv", "tcp://:65536"), 2, (r"from 0 to 65535",)),
            (("recv", "tcp://::1:9"), 2, (r"brackets",)),
            (("send", "tcp://*:9"), 2, (r"\* is for the side that listens",)),
            (("send", "tcp://:0"), 2, (r"port 0 is for the side that listens",)),
            (("recv", "tcp://192.0.2.1:9"), 1, (r"192\.0\.2\.1:9 is no address of this host",)),
            (("recv", "tcp://:9?mode=0600"), 2, (r"mode",))):
        failed = stage.run_wherry(*words, code=code, stdin=subprocess.DEVNULL)
        one_line(failed, re.escape(words[-2] if words[-1] == "x" else words[-1]), *patterns)


def test_unknown_host(stage):
    """a host that nobody knows is named"""
    failed = stage.run_wherry("send", "-w10s", "tcp://nobody.invalid:9", code=None, stdin=subprocess.DEVNULL)
    one_line(failed, r"tcp://nobody\.invalid:9: ", r'"nobody\.invalid"')  # without a name server it is a matter of time


def test_port_0(stage):
    """recv, echo, relay and send say with -v which port they were given; without it nothing"""
    for words in (("recv", "tcp://:0"), ("echo", "tcp://*:0"), ("relay", "tcp://:0", "unix:./nobody"),
                  ("send", "tcp://[::1]:0?listen")):
        process = stage.start_wherry(words[0], "-v", *words[1:], stdin=subprocess.DEVNULL)
        assert port_of(process) > 0
        process.signal(15)
        process.end(None)
    quiet = stage.start_wherry("recv", "tcp://:0")
    stage.wait_asleep(quiet)
    same(quiet.stop().err, b"", "standard error")


# ---- sockets that were made elsewhere ----

def listening_socket():
    """A socket that listens, for a program to inherit."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def client_of(server):
    client = socket.create_connection(server.getsockname())
    client.settimeout(run.PATIENCE)
    return client


def start_at(stage, server, *words):
    """The command with this socket, which `fd:@` among the words stands for."""
    fd = server.fileno()
    return stage.start_wherry(*(word.replace("fd:@", f"fd:{fd}") for word in words), pass_fds=[fd])


def test_echo_at_a_listening_descriptor(stage):
    """echo on a descriptor that listens serves one client after another, as on tcp:"""
    with listening_socket() as server:
        echo = start_at(stage, server, "echo", "fd:@")
        for word in (b"one", b"two"):
            with client_of(server) as client:
                client.sendall(word)
                client.shutdown(socket.SHUT_WR)
                same(run.read_all(client), word)
            stage.wait_asleep(echo)
        echo.stop()


def test_recv_at_a_listening_descriptor(stage):
    """recv --keep on a descriptor that listens goes on after the end of the senders"""
    with listening_socket() as server:
        recv = start_at(stage, server, "recv", "--keep", "fd:@?frame=line")
        for word, size in ((b"one\n", 4), (b"two\n", 8)):
            with client_of(server) as client:
                client.sendall(word)
            recv.read_out(size)
            stage.wait_asleep(recv)
        same(recv.stop().out, b"one\ntwo\n")


def test_relay_at_a_listening_descriptor(stage):
    """relay from a descriptor that listens: each peer has a connection of its own, and gets its own answers"""
    with listening_socket() as server:
        echo = stage.start_wherry("echo", "unix:./back")
        relay = start_at(stage, server, "relay", "--keep", "fd:@?frame=raw", "unix:./back?frame=raw")
        stage.wait_listening("back")
        for turn in range(2):
            clients = [client_of(server) for _ in range(3)]
            for i, client in enumerate(clients):
                client.sendall(b"%d of turn %d" % (i, turn))
            for i, client in enumerate(clients):
                same(client.recv(100), b"%d of turn %d" % (i, turn), f"the answer of client {i}")
            for client in clients:
                client.close()
            stage.wait_asleep(relay)
        for process in (relay, echo):
            process.stop()


def test_a_reset_at_a_descriptor(stage):
    """recv on a descriptor that is a TCP connection: one that is reset is no end in order"""
    for reset in (False, True):
        with listening_socket() as server:
            client = client_of(server)
            link, _ = server.accept()
            with link:
                recv = start_at(stage, link, "recv", "fd:@?frame=line")
            client.sendall(b"whole\n")
            recv.read_out(6)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            recv.end(1 if reset else 0)
            same(b"Connection reset" in recv.err, reset, "the sentence")


def test_relay_ends_one_whose_server_has_no_end(stage):
    """relay to where no end is seen: a client that ended gets what comes back soon, and is let go; the relay ends"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(run.PATIENCE)
        relay = stage.start_wherry("relay", "-v", "tcp://:0?frame=raw", f"udp://127.0.0.1:{server.getsockname()[1]}")
        with socket.create_connection(("127.0.0.1", port_of(relay))) as client:
            client.settimeout(run.PATIENCE)
            client.sendall(b"a question")
            client.shutdown(socket.SHUT_WR)
            question, asker = server.recvfrom(100)
            server.sendto(question + b" and an answer", asker)
            same(run.read_all(client), b"a question and an answer")
        relay.end()
        near, far = socket.socketpair()
        relay = stage.start_wherry("relay", f"fd:{far.fileno()}?frame=raw",
                                   f"udp://127.0.0.1:{server.getsockname()[1]}", pass_fds=[far.fileno()])
        far.close()
        with near:
            near.sendall(b"a question")
            near.shutdown(socket.SHUT_WR)
            same(server.recv(100), b"a question")
            relay.end()


def test_a_port_that_was_given_is_named_once(stage):
    """what went wrong at a port that the kernel chose begins with that port, and does not say port 0 as well"""
    recv = stage.start_wherry("recv", "-v", "tcp://:0")
    port = port_of(recv)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        recv.end(1)
    same(re.findall(rb"^wherry: (.*): the peer sent", recv.err, re.M), [b"tcp://:%d" % port])
