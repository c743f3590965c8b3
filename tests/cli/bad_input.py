# tests/cli/bad_input.py - what the command says to nonsense: one line, the right one, and the documented exit code.
#
# SPDX-License-Identifier: MIT
import fcntl
import os
import random
import re
import struct
import subprocess

from run import losses, one_line, same

VERBS = ("send", "recv", "relay", "echo", "ask", "transports")


def refuses(stage, code, words, *patterns):
    process = stage.run_wherry(*words, code=None)
    same((process.popen.returncode, process.out), (code, b""), f"{process}: exit code and output ({process.err!r})")
    one_line(process, *patterns)


# ---- the command line ----

def test_verbs(stage):
    """no verb, an unknown verb, an unknown global option"""
    refuses(stage, 2, [], "verb")
    refuses(stage, 2, ["frobnicate"], '"frobnicate"', "--help")
    refuses(stage, 2, ["help", "frobnicate"], '"frobnicate"')
    refuses(stage, 2, ["help", "recv", "send"], "help", "one verb")
    refuses(stage, 2, ["--frobnicate"], "--frobnicate")


def test_options(stage):
    """unknown options, missing arguments, too few and too many operands, of every verb"""
    for verb in VERBS:
        refuses(stage, 2, [verb, "--frobnicate"], verb, "--frobnicate", f"wherry {verb} --help")
        refuses(stage, 2, [verb, "-?"], verb, "-\\?")
        refuses(stage, 2, [verb, "-w"], verb, "-w", "argument")
        refuses(stage, 2, [verb, "--quiet=yes"], verb, "--quiet", "no argument")
        refuses(stage, 2, [verb, "--color=sometimes"], verb, "--color", "sometimes")
        refuses(stage, 2, [verb] + ["x"] * 5, verb)
    for verb in ("send", "recv", "relay", "echo", "ask"):
        refuses(stage, 2, [verb], verb, "URL|FROM")


def test_numbers(stage):
    """bad counts, sizes and types"""
    for count in ("0", "-1", "x", "", " 1", "+1", "1x", "99999999999999999999"):
        refuses(stage, 2, ["recv", "-c", count, "fifo:./x"], "-c")
        refuses(stage, 2, ["send", "--fixed", count, "fifo:./x"], "--fixed")
    for kind in ("x", "", "1.5", "9223372036854775808"):
        refuses(stage, 2, ["send", "--type", kind, "fifo:./x"], "--type")
        refuses(stage, 2, ["ask", "--type", kind, "fifo:./x"], "--type")


def test_text_instead_of_a_file(stage):
    """send and segment create, given a text and a size where a FILE is meant: the line says how it is done"""
    refuses(stage, 1, ["send", "unix:./inbox", "hello"], "hello: No such file",
            r"name of a FILE: printf hello \| wherry")
    refuses(stage, 1, ["segment", "create", "posix-shm:/wherry-none", "4096"], "4096: No such file",
            "-s 4096$")
    same(os.path.exists("/dev/shm/wherry-none"), False, "a segment")


def test_five_descriptors(stage):
    """echo with five descriptors and no more: the line says which limit it is"""
    process = stage.run("sh", "-c", 'ulimit -n 5; exec "$0" echo tcp://127.0.0.1:0', stage.wherry, code=1)
    one_line(process, r"no descriptor to wait on \(ulimit -n\): Too many open files$")


def test_types_that_cannot_be(stage):
    """a type that the transport cannot carry is found before anybody is waited for"""
    for kind in ("-1", "4294967296"):
        refuses(stage, 2, ["send", "--type", kind, "unix:./x", "/dev/null"], f"--type {kind}", "4294967295")
        refuses(stage, 2, ["ask", "--type", kind, "unix:./x?frame=length", "x"], f"--type {kind}", "4294967295")
    for url in ("unix:./x?frame=line", "fifo:./x?writers=1&frame=fixed:6", "fifo:./x?frame=lengthy"):
        refuses(stage, 2, ["send", "--type=7", url, "/dev/null"], "--type 7", "frame=length")
    refuses(stage, 2, ["ask", "--type=7", "unix:./x", "x"], "--type 7", "frame=length")
    for url in ("unix+seqpacket:./x", "unix+dgram:./x"):
        refuses(stage, 2, ["send", "--type=7", url, "/dev/null"], "--type 7", "carries no types")


def test_durations(stage):
    """bad durations"""
    for duration in ("", "x", "s", "-1", "1w", "1 s", "1.s", ".", ".s", ".5.5", "1.5.5s", "1e9", "0x10", "inf",
                     "9223372036854775808", "9223372037s", "106752d", "1.9999999999999ss"):
        refuses(stage, 2, ["recv", "-w", duration, "fifo:./x"], "-w")


def test_exclusive_flags(stage):
    """flags that exclude each other"""
    refuses(stage, 2, ["recv", "-0", "--raw", "fifo:./x"], "exclude")
    refuses(stage, 2, ["recv", "--json", "--raw", "fifo:./x"], "exclude")
    refuses(stage, 2, ["send", "-0", "--raw", "fifo:./x"], "exclude")
    refuses(stage, 2, ["send", "--fixed=4", "--raw", "fifo:./x"], "exclude")
    refuses(stage, 2, ["send", "--fixed=4", "--with-nul", "fifo:./x"], "--with-nul")
    refuses(stage, 2, ["transports", "-o", "SCHEME,NOSUCH"], "NOSUCH")


# ---- URLs ----

def test_malformed_urls(stage):
    """malformed URLs: the place is named"""
    for url, *patterns in (
            ("", "scheme"), ("nothing", "scheme"), (":", "scheme"), ("./path", "scheme"), ("UNIX:./x", "scheme"),
            ("unix:./x?frame", "frame"), ("unix:./x?frame=", "frame"), ("unix:./x?frame=wood", "wood", "length"),
            ("unix:./x?", "key"), ("unix:./x?=1", "key"), ("unix:./x?a=1&a=2", '"a"', "twice"),
            ("unix:./x#y", "character 9", "fragment"), ("unix:./%", "character 8", "hexadecimal"),
            ("unix:./%0", "hexadecimal"), ("unix:./%zz", "hexadecimal"), ("unix:./%00", "NUL"),
            ("unix:./x?listen&connect", "side"), ("unix:./x?listen=1", "no value"), ("unix:", "path"),
            ("unix://host/x", "file"), ("fifo:", "path"), ("fd:", "fd"), ("fd:x", "fd"), ("fd:-1", "fd"),
            ("fd:99999999999", "fd"), ("fd:0,", "fd", "end|character"), ("fd:0,1,", "fd"),
            ("unix:./x?mode=0999", "mode"),
            ("unix:./x?max_message=99999999999999999999", "max_message"), ("unix:./x?frame=fixed:0", "fixed"),
            ("unix:./x?max_message=0", "max_message", "from 1"), ("unix:./x?capacity=0", "capacity", "from 1"),
            ("unix:./x?max_memory=0", "max_memory", "from 1"), ("unix:./x?backlog=4000000000", "backlog", "2147483647"),
            ("fifo:./x?backlog=3", "backlog"), ("unix+seqpacket:./x?frame=line", "frame"), ("unix:@", "name|path")):
        for verb in ("recv", "send"):
            if verb == "send":
                refuses(stage, 2, [verb, "-w1s", url, "/dev/null"], *patterns)
            else:
                refuses(stage, 2, [verb, "-w1s", url], *patterns)


def test_unknown_schemes_and_options(stage):
    """an unknown scheme and an unknown option, of every verb"""
    for verb in ("recv", "send", "echo", "ask"):
        refuses(stage, 2, [verb, "-w1s", "carrier-pigeon:./x"], "carrier-pigeon")
        refuses(stage, 2, [verb, "-w1s", "unix:./x?colour=red"], '"colour"', "unknown")
    refuses(stage, 2, ["relay", "-w1s", "carrier-pigeon:./x", "unix:./y"], "carrier-pigeon")
    refuses(stage, 2, ["relay", "-w1s", "fifo:./x?colour=red", "unix:./y"], '"colour"')
    refuses(stage, 2, ["recv", "-w1s", "pipe:"], "programs meet at unix: and fifo:")
    refuses(stage, 2, ["recv", "-w1s", "socketpair:"], "programs meet at unix: and fifo:")


def test_ends_are_for_programs(stage):
    """report_ends, which needs somebody who lets each peer go, is not for the command"""
    for words in (["recv", "unix:./s?report_ends=1"], ["echo", "unix:./s?frame=line&report_ends=1"],
                  ["relay", "unix:./s?report_ends=1", "unix:./t"],
                  ["relay", "unix:./t", "unix:./s?listen&report_ends=1"]):
        refuses(stage, 2, words, "report_ends", "program")


def test_largest_capacity(stage):
    """a capacity that is too large: the sentence says what is not"""
    refuses(stage, 2, ["recv", "unix:./s?capacity=2G&mode=0600"], r'\("2G"\)', "less than 2G")


def test_control_characters_in_urls(stage):
    """an escape sequence in a URL does not reach the terminal"""
    refuses(stage, 2, ["recv", "unix:./\x1b[31mred\nline"], r"\\x1b")
    refuses(stage, 2, ["recv", "\x1b]0;title\x07:x"], r"\\x1b")
    refuses(stage, 2, ["\x1b[2J"], r"\\x1b")
    refuses(stage, 2, ["recv", b"unix:./x?\xff=1"], r"\\xff")


def test_roles(stage):
    """an object that cannot do what the verb needs"""
    refuses(stage, 1, ["echo", "fifo:./x"], "fifo:./x")
    refuses(stage, 1, ["ask", "fifo:./x", "hello"], "fifo:./x")


# ---- objects ----

def test_a_directory_as_a_socket(stage):
    """a directory where a socket or a FIFO should be"""
    (stage.path / "d").mkdir()
    for verb in ("recv", "send", "echo", "ask"):
        refuses(stage, 1, [verb, "-w1s", "unix:./d"] + (["/dev/null"] if verb == "send" else []), r"\./d", "directory")
    for verb in ("recv", "send"):
        refuses(stage, 1, [verb, "-w1s", "fifo:./d"] + (["/dev/null"] if verb == "send" else []), r"\./d", "directory")


def test_a_file_as_a_socket(stage):
    """a regular file where a socket or a FIFO should be; it stays what it was"""
    stage.write("f", b"precious")
    for url in ("unix:./f", "fifo:./f", "unix+dgram:./f", "unix+seqpacket:./f"):
        for verb in ("recv", "send"):
            refuses(stage, 1, [verb, "-w1s", url] + (["/dev/null"] if verb == "send" else []), r"\./f")
    same((stage.path / "f").read_bytes(), b"precious")


def test_a_live_raw_server(stage):
    """h45: a live raw server on the path is named with its pid, and goes on living"""
    with stage.listen("s") as server:
        for verb in ("recv", "echo"):
            refuses(stage, 5, [verb, "unix:./s"], r"\./s", rf"\b{os.getpid()}\b")
        stage.connect("s").close()


def test_a_live_wherry_server(stage):
    """h45: a live wherry server on the path is named with its pid, and goes on serving"""
    for kind in ("unix", "unix+seqpacket", "unix+dgram"):
        recv = stage.start_wherry("recv", "-c1", f"{kind}:./{kind}")
        stage.wait_listening(kind)
        refuses(stage, 5, ["recv", f"{kind}:./{kind}"], rf"\./{kind.replace('+', '.')}", rf"\b{recv.pid}\b")
        stage.run_wherry("send", f"{kind}:./{kind}", input=b"still there\n")
        same(recv.end().out, b"still there\n", kind)


def test_two_readers_of_a_fifo(stage):
    """h39: a second reader of a FIFO is refused, and told who the first is"""
    stage.fifo("ch")
    recv = stage.start_wherry("recv", "fifo:./ch")
    stage.wait_opened(recv, "ch")
    stage.wait_asleep(recv)
    refuses(stage, 5, ["recv", "fifo:./ch"], r"\./ch", rf"\b{recv.pid}\b")
    recv.stop()


def test_long_paths(stage):
    """h46: a path of 200 bytes works; a name over the limits is a clear error"""
    deep = "/".join(["d" * 60] * 3)
    (stage.path / deep).mkdir(parents=True)
    url = f"unix:./{deep}/{'s' * 15}"
    recv = stage.start_wherry("recv", url)
    stage.run_wherry("send", "-w60s", url, input=b"far away\n")
    same(recv.end().out, b"far away\n")
    refuses(stage, 1, ["recv", "unix:./" + "s" * 300], "long")
    refuses(stage, 1, ["recv", "unix:@" + "s" * 108], "at most 107")
    refuses(stage, 1, ["recv", "fifo:./" + "s" * 300], "long")
    refuses(stage, 1, ["recv", "unix:./" + "d/" * 3000 + "s"], "long")


def test_no_such_directory(stage):
    """a directory that does not exist"""
    refuses(stage, 1, ["recv", "unix:./no/such/s"], r"no/such/s", "[Nn]o such|not exist")
    refuses(stage, 1, ["recv", "fifo:./no/such/f"], r"no/such/f", "[Nn]o such|not exist")
    refuses(stage, 1, ["send", "unix:./x", "nofile"], "nofile", "No such")
    refuses(stage, 1, ["send", "unix:./x", "."], "\\.", "directory")


def test_bad_descriptors(stage):
    """descriptors that are closed, or open in the wrong direction"""
    refuses(stage, 1, ["recv", "fd:99"], "99")
    for fd in range(3, 8):  # where a descriptor of the command's own might be
        refuses(stage, 1, ["recv", "-w1s", f"fd:{fd}"], f"descriptor {fd} is not open")
    with open(os.devnull, "wb") as sink:
        process = stage.run_wherry("recv", f"fd:{sink.fileno()}", code=1, pass_fds=[sink.fileno()])
    one_line(process, "fd:")


# ---- bytes ----

def talk_at(stage, data, url="unix:./s", *flags):
    """What recv says to a raw client that writes these bytes."""
    recv = stage.start_wherry("recv", url, *flags)
    stage.wait_listening("s")
    with stage.connect("s") as client:
        try:
            client.sendall(data)
        except (BrokenPipeError, ConnectionResetError):  # it has seen enough
            pass
    return recv.end(None)


def test_no_hint_at_text_where_there_is_none(stage):
    """bytes that are no text do not look like it"""
    process = talk_at(stage, b"\xff" * 50)
    same(b"text" in process.err, False, f"whether {process.err!r} hints at text")
    losses(process, "1 peer was refused")
    one_line(process, "connection was closed")


def test_a_frame_of_four_gibibytes(stage):
    """a header that claims 4 GiB is refused at once"""
    for data in (b"\xff\xff\xff\xff" + bytes(8), struct.pack("<III", 0x7fffffff, 0, 0), b"\xff" * 32):
        process = talk_at(stage, data)
        same((process.popen.returncode, process.out), (1, b""), "exit code and output")
        losses(process, "1 peer was refused")
        one_line(process, r"unix:\./s", r"\bpid \d+|peer|message|frame")


def test_text_where_frames_are_expected(stage):
    """text where length frames are expected: a hint at frame="""
    process = talk_at(stage, b"hello, is anybody there?\nhello?\n")
    same((process.popen.returncode, process.out), (1, b""), "exit code and output")
    losses(process, "1 peer was refused")
    one_line(process, r"unix:\./s", "frame=line")


def test_foreign_bytes_and_keep(stage):
    """with --keep foreign bytes cost a line, not the receiver"""
    recv = stage.start_wherry("recv", "--keep", "-c1", "unix:./s")
    stage.wait_listening("s")
    stage.run(stage.helper("raw_sender"), "s", "stream", "hello, is anybody there?\n")
    recv.read(lambda: b"frame=line" in recv.err, "the complaint")
    stage.run_wherry("send", "unix:./s", input=b"a message\n")
    losses(recv.end(), "1 peer was refused")
    one_line(recv, "frame=line")
    same(recv.out, b"a message\n")


def test_a_line_without_end(stage):
    """a line over max_message that a raw client types"""
    process = talk_at(stage, b"x" * 200000, "unix:./s?frame=line&max_message=64k")
    same(process.popen.returncode, 1, "the exit code")
    losses(process, "1 message was dropped (torn, foreign, duplicate or too long), 1 peer was refused")
    one_line(process, "64|65536")


def test_a_torn_record(stage):
    """a fixed record that its writer left half done"""
    process = talk_at(stage, b"12345678123", "unix:./s?frame=fixed:4", "--raw")
    same(process.out, b"12345678", "what was whole")
    losses(process, "1 message was dropped (torn, foreign, duplicate or too long)")


# ---- standard output and input ----

def test_closed_output(stage):
    """closed standard output: found before a message is taken"""
    for verb in (["recv", "unix:./s"], ["transports"], ["--help"], ["send", "--help"], ["--version"]):
        process = stage.run("sh", "-c", 'exec "$@" >&-', "sh", stage.wherry, *verb, code=1)
        one_line(process, "standard output")


def test_full_disk(stage):
    """h5: a full disk: what was received and not written is counted"""
    with open("/dev/full", "wb") as full:
        for verb in (["transports"], ["transports", "-J"], ["--help"], ["recv", "--help"], ["-V"]):
            one_line(stage.run_wherry(*verb, code=1, stdout=full), "standard output", "No space")
        recv = stage.start_wherry("recv", "unix:./s", stdout=full)
        stage.run_wherry("send", "unix:./s", input=b"one\ntwo\nthree\n", code=None)
        one_line(recv.end(1), "standard output", "No space", r"\b[123] messages? w(as|ere) received but not written")


def test_output_that_takes_little_at_a_time(stage):
    """h5: standard output is a small non-blocking pipe: every byte of a large message comes out"""
    near, far = os.pipe()
    fcntl.fcntl(far, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(far, False)
    recv = stage.start_wherry("recv", "--raw", "unix:./s", stdout=far)
    os.close(far)
    data = random.Random(11).randbytes(300_000)
    stage.run_wherry("send", "-0", "unix:./s", input=data.replace(b"\0", b"\1"))
    got = b""
    while part := os.read(near, 1000):
        got += part
    os.close(near)
    same(got == data.replace(b"\0", b"\1"), True, "what came out")
    recv.end()


def test_the_receiver_of_send_dies(stage):
    """h35: a receiver that dies is an error of one line, not a SIGPIPE"""
    for url in ("fifo:./f", "unix:./s", "unix+seqpacket:./q"):
        name = url[-1]
        recv = stage.start_wherry("recv", url)
        send = stage.start_wherry("send", url, stdin=subprocess.PIPE)
        send.write(b"one\n")
        recv.read_out(4)
        recv.popen.kill()
        recv.end(None)
        send.write(b"two\n")
        one_line(send.end(1), re.escape(url), "nobody is left to receive")
        send.shut()
        stage.mine(name)
        stage.mine(name + ".lock")


def test_closed_input(stage):
    """closed standard input is an error, not an empty file"""
    recv = stage.start_wherry("recv", "unix:./s")
    process = stage.run("sh", "-c", 'exec "$@" <&-', "sh", stage.wherry, "send", "unix:./s", code=1)
    one_line(process, "standard input")
    recv.end()


def test_closed_descriptors_are_not_taken(stage):
    """with all standard descriptors closed, no socket takes their place"""
    stage.fifo("in")
    with stage.listen("s") as server:
        send = stage.start("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", stage.wherry, "send", "unix:./s?frame=line",
                           "in")
        feed = os.open(stage.path / "in", os.O_WRONLY)
        link, _ = server.accept()
        with link:
            targets = {os.readlink(f"/proc/{send.pid}/fd/{fd}") for fd in (0, 1, 2)}
            os.write(feed, b"data\n")
            same(link.recv(5), b"data\n")
            os.close(feed)
            send.end()
    same(targets, {"/dev/null"}, "what the standard descriptors are")


def test_a_line_too_long_to_send(stage):
    """a line over max_message is named by its number; all before it arrive"""
    recv = stage.start_wherry("recv", "unix:./s")
    stage.write("text", b"one\ntwo\n" + b"x" * 70000 + b"\nfour\n")
    process = stage.run_wherry("send", "unix:./s?max_message=64k", "text", code=1)
    one_line(process, "^wherry: text: line 3: ", "all before it were sent")
    same(recv.end().out, b"one\ntwo\n")


def test_an_endless_line(stage):
    """a line that never ends is refused when it is over max_message, not when memory is full"""
    recv = stage.start_wherry("recv", "unix:./s")
    send = stage.start_wherry("send", "unix:./s?max_message=1M", "/dev/zero")
    one_line(send.end(1), "/dev/zero: line 1: ")
    same(recv.end().out, b"")


def test_a_delimiter_in_a_message(stage):
    """a message that the framing cannot carry is named"""
    recv = stage.start_wherry("recv", "-0", "unix:./s?frame=line")
    process = stage.run_wherry("send", "-0", "unix:./s?frame=line", input=b"fine\0not\nfine\0later\0", code=1)
    one_line(process, "standard input: record 2: ", "all before it were sent")
    same(recv.end().out, b"fine\0")


def test_a_short_record(stage):
    """a last fixed record that is not whole is named; all before it arrive"""
    recv = stage.start_wherry("recv", "--raw", "unix:./s")
    process = stage.run_wherry("send", "--fixed", "4", "unix:./s", input=b"1234567", code=1)
    one_line(process, "record 2: only 3 of 4 bytes")
    same(recv.end().out, b"1234")
