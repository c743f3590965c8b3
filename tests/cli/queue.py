# tests/cli/queue.py - message queues between the command and programs that know nothing of it.
#
# SPDX-License-Identifier: MIT
import contextlib
import ctypes
import os
import pathlib
import re
import resource
import subprocess

import tap
from run import json_lines, one_line, same
from tap import wait_for

libc = ctypes.CDLL(None, use_errno=True)
libc.ftok.argtypes = [ctypes.c_char_p, ctypes.c_int]
NOBODY = 65534
IPC_CREAT, IPC_RMID = 0o1000, 0


def limit(name):
    return int(pathlib.Path("/proc/sys", name).read_text())


class Sysv:
    """The System V queue of a file of the stage and an id."""

    def __init__(self, stage, letter):
        stage.write("file", b"")
        self.key = libc.ftok(str(stage.path / "file").encode(), ord(letter)) & 0xffffffff
        self.url, self.by_key, self.words = f"sysv:./file?id={letter}", f"sysv:0x{self.key:x}", ("file", letter)

    def row(self):
        """What the kernel says of it: [key, id, permissions, bytes, messages, ...] or None."""
        for line in pathlib.Path("/proc/sysvipc/msg").read_text().splitlines()[1:]:
            words = line.split()
            if int(words[0]) & 0xffffffff == self.key:
                return words
        return None

    def messages(self):
        row = self.row()
        return int(row[4]) if row else None

    def wait_made(self):
        wait_for(lambda: self.row() is not None, "the queue to be made")

    def remove(self):
        if self.row():
            libc.msgctl(int(self.row()[1]), IPC_RMID, None)


@contextlib.contextmanager
def sysv(stage, letter="q"):
    queue = Sysv(stage, letter)
    try:
        yield queue
    finally:
        queue.remove()


@contextlib.contextmanager
def posix(stage):
    """A name for a POSIX queue, and its URL."""
    name = f"/wherry-cli-{os.getpid()}-{stage.path.name}"
    try:
        yield name, f"mq://{name}"
    finally:
        libc.mq_unlink(name.encode())


def as_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


# ---- System V: programs of system calls ----

def test_six_types(stage):
    """six messages of types 1,1,2,2,3,3 are taken in the order 3,1,2,1,3,2"""
    with sysv(stage) as queue:
        stage.run(stage.helper("raw_queue"), "six", *queue.words)
        for kind, text in (("3", "3a"), ("1", "1a"), ("2", "2a"), ("1", "1b"), ("3", "3b"), ("2", "2b")):
            recv = stage.run_wherry("recv", "-c1", "--with-nul", "--type", kind, queue.url)
            same(recv.out.decode(), text + "\n", f"type {kind}")
        same(queue.messages(), 0, "messages left")


def test_other_choices(stage):
    """the lowest of at most N first, and all but N"""
    with sysv(stage) as queue:
        stage.run(stage.helper("raw_queue"), "six", *queue.words)
        same(stage.run_wherry("recv", "-c2", "--with-nul", "--type=!1", queue.url).out, b"2a\n2b\n")
        same(stage.run_wherry("recv", "-c2", "--with-nul", "--type=-2", queue.url).out, b"1a\n1b\n")
        stage.run_wherry("recv", "-c1", "-w100ms", "--type=-2", queue.url, code=3)
        same(stage.run_wherry("recv", "-c1", "--with-nul", f"{queue.url}&type=-9").out, b"3a\n")
        same(queue.messages(), 1, "messages left")


def test_typed_lines_and_removal(stage):
    """typed lines with their NUL, and the queue removed under two readers, who see the end"""
    lines = [f"{1 + i % 3} the line number {i}" for i in range(2000)]
    with sysv(stage) as queue:
        readers = [stage.start_wherry("recv", "--with-nul", queue.url) for _ in range(2)]
        queue.wait_made()
        for reader in readers:
            stage.wait_asleep(reader)
        stage.run(stage.helper("raw_queue"), "say", *queue.words, input="\n".join(lines).encode() + b"\n")
        got = b"".join(reader.end().out for reader in readers).decode().splitlines()
        same(sorted(got), sorted(line[2:] for line in lines))
        same(queue.row(), None, "the queue, which was removed")


def test_one_reader_keeps_the_order(stage):
    """what one program says arrives in its order, each type within itself"""
    lines = [f"{1 + i % 2} {i}" for i in range(500)]
    with sysv(stage) as queue:
        talker = stage.start(stage.helper("raw_queue"), "say", *queue.words, stdin=subprocess.PIPE)
        queue.wait_made()
        recv = stage.start_wherry("recv", "--json", "--with-nul", queue.url)
        talker.write("\n".join(lines).encode() + b"\n")
        talker.shut()
        talker.end()
        same([(m["type"], m["data"]) for m in json_lines(recv.end().out)],
             [(int(line[0]), line[2:]) for line in lines])


def test_two_senders_two_readers(stage):
    """two senders and two readers on one queue: wherry's and the 1990s'"""
    with sysv(stage) as queue:
        readers = [stage.start_wherry("recv", "--with-nul", queue.url),
                   stage.start(stage.helper("raw_queue"), "listen", *queue.words)]
        queue.wait_made()
        for reader in readers:
            stage.wait_asleep(reader)  # who comes after its removal would make the queue anew
        stage.write("first", b"".join(b"first %d\n" % i for i in range(3000)))
        stage.write("second", b"".join(b"second %d\n" % i for i in range(3000)))
        senders = [stage.start_wherry("send", "--with-nul", queue.url, "first"),
                   stage.start_wherry("send", "--with-nul", "--type", "7", queue.by_key, "second")]
        for sender in senders:
            sender.end()
        wait_for(lambda: queue.messages() == 0, "all to be taken")
        queue.remove()
        got = [reader.end().out.decode().splitlines() for reader in readers]
        same(sorted(got[0] + got[1]), sorted(f"{who} {i}" for who in ("first", "second") for i in range(3000)))
        for lines in got:
            for who in ("first", "second"):
                numbers = [int(line.split()[1]) for line in lines if line.startswith(who)]
                same(numbers, sorted(numbers), f"the order of {who}")


def test_filled_before(stage):
    """a queue that is filled before any receiver exists"""
    with sysv(stage) as queue:
        send = stage.start_wherry("send", queue.url, "-", stdin=subprocess.PIPE)
        send.write(b"".join(b"%0100d\n" % i for i in range(160)))  # 16,000 of 16,384 bytes
        send.shut()
        send.end()
        same(queue.messages(), 160, "messages kept")
        same(queue.row()[2], "600", "permissions")
        recv = stage.run_wherry("recv", "-c160", queue.by_key)
        same(recv.out, b"".join(b"%0100d\n" % i for i in range(160)))


def test_raw_reader_first(stage):
    """a msgrcv loop of the 1990s that was there before wherry send"""
    with sysv(stage) as queue:
        reader = stage.start(stage.helper("raw_queue"), "listen", *queue.words)
        queue.wait_made()
        stage.run_wherry("send", "--with-nul", queue.url, input=b"one\ntwo\n\nfour\n")
        wait_for(lambda: queue.messages() == 0, "all to be taken")
        queue.remove()
        same(reader.end().out, b"one\ntwo\n\nfour\n")


def test_raw_reader_later(stage):
    """a msgrcv loop of the 1990s that comes after wherry send"""
    with sysv(stage) as queue:
        stage.run_wherry("send", "--with-nul", queue.url, input=b"one\ntwo\n")
        reader = stage.start(stage.helper("raw_queue"), "listen", *queue.words)
        wait_for(lambda: queue.messages() == 0, "all to be taken")
        queue.remove()
        same(reader.end().out, b"one\ntwo\n")


def test_removed_under_a_sender(stage):
    """a queue removed under a sender that waits: one line, exit code 1"""
    with sysv(stage) as queue:
        send = stage.start_wherry("send", queue.url, "/dev/zero", "--fixed=4096")
        wait_for(lambda: queue.messages() == 4, "it to be full")
        stage.wait_asleep(send)
        queue.remove()
        one_line(send.end(1), re.escape(queue.url), "was removed")


def test_keep_goes_on(stage):
    """recv --keep makes the queue anew after its removal"""
    with sysv(stage) as queue:
        recv = stage.start_wherry("recv", "--keep", "-c2", queue.url)
        for text in (b"before\n", b"after\n"):
            queue.wait_made()
            stage.run_wherry("send", queue.url, input=text)
            if text == b"before\n":
                wait_for(lambda: queue.messages() == 0, "it to be taken")
                old = queue.row()[1]
                queue.remove()
                wait_for(lambda: queue.row() and queue.row()[1] != old, "another queue")
        same(recv.end().out, b"before\nafter\n")


def test_relay(stage):
    """relay from a System V queue, which has nothing to poll, to a POSIX one, until the first is removed"""
    with sysv(stage) as queue, posix(stage) as (_, url):
        relay = stage.start_wherry("relay", queue.url, url)
        queue.wait_made()
        stage.run_wherry("send", "--type", "7", queue.url, input=b"one\ntwo\n")
        recv = stage.run_wherry("recv", "--json", "-c2", url)
        same([(m["type"], m["data"]) for m in json_lines(recv.out)], [(7, "one"), (7, "two")])
        queue.remove()
        relay.end()


# ---- util-linux ----

def test_ipcmk_first(stage):
    """ipcmk -Q makes the queue, wherry uses it, ipcs -q shows it, ipcrm -q removes it: the end"""
    stage.need("ipcmk")
    made = stage.run("ipcmk", "-Q", "-p", "0600").out.decode()
    number = re.search(r"id: (\d+)", made).group(1)
    try:
        listed = stage.run("ipcs", "-q").out.decode()
        key = re.search(rf"^(0x[0-9a-f]+) +{number} ", listed, re.M).group(1)
        recv = stage.start_wherry("recv", f"sysv:{key}")
        stage.wait_asleep(recv)
        stage.run_wherry("send", f"sysv:{key}", input=b"hello\n")
        wait_for(lambda: stage.run("ipcs", "-q").out.decode().count(f" {number} "), "ipcs")
        recv.read(lambda: True, "nothing")
        wait_for(lambda: re.search(rf"^{key} +{number} .* 0 +0 *$", stage.run("ipcs", "-q").out.decode(), re.M),
                 "ipcs to show it empty")
    finally:
        stage.run("ipcrm", "-q", number)
    same(recv.end().out, b"hello\n")


def test_wherry_first(stage):
    """wherry makes the queue, ipcs -q shows what is in it, ipcrm -Q removes it: the end"""
    stage.need("ipcs")
    with sysv(stage) as queue:
        stage.run_wherry("send", queue.url, input=b"12345\n678\n")
        same(re.search(rf"^0x{queue.key:08x} +\d+ +\S+ +(\d+) +(\d+) +(\d+)", stage.run("ipcs", "-q").out.decode(),
                       re.M).groups(), ("600", "8", "2"), "permissions, bytes, messages")
        recv = stage.start_wherry("recv", queue.url)
        wait_for(lambda: queue.messages() == 0, "both to be taken")
        stage.wait_asleep(recv)
        stage.run("ipcrm", "-Q", f"0x{queue.key:x}")
        same(recv.end().out, b"12345\n678\n")


# ---- POSIX ----

def test_posix_raw_receiver_first(stage):
    """a program of mq_receive calls that was there before wherry send"""
    with posix(stage) as (name, url):
        taker = stage.start(stage.helper("raw_queue"), "take", name, "2")
        stage.wait_asleep(taker)
        stage.run_wherry("send", "--type", "5", url, input=b"one\ntwo\n")
        same(taker.end().out, b"5 one\n5 two\n")


def test_posix_raw_receiver_later(stage):
    """a program of mq_receive calls that comes after wherry send, and gets the urgent first"""
    with posix(stage) as (name, url):
        stage.run_wherry("send", url, input=b"one\ntwo\n")
        stage.run_wherry("send", "--type", "32767", url, input=b"urgent\n")
        same(stage.run(stage.helper("raw_queue"), "take", name, "3").out, b"32767 urgent\n0 one\n0 two\n")


def test_posix_raw_sender(stage):
    """a program of mq_send calls, before wherry recv and while it waits"""
    with posix(stage) as (name, url):
        stage.run(stage.helper("raw_queue"), "post", name, input=b"1 early\n9 first\n")
        recv = stage.start_wherry("recv", "--json", "-c3", url)
        recv.read(lambda: recv.out.count(b"\n") == 2, "two messages")
        stage.run(stage.helper("raw_queue"), "post", name, input=b"4 late\n")
        same([(m["type"], m["data"]) for m in json_lines(recv.end().out)], [(9, "first"), (1, "early"), (4, "late")])


def test_posix_python(stage):
    """Python by ctypes, in either order"""
    with posix(stage) as (name, url):
        queue = libc.mq_open(name.encode(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, None)
        try:
            libc.mq_send(queue, b"from python", 11, 3)
            same(stage.run_wherry("recv", "-c1", url).out, b"from python\n")
            stage.run_wherry("send", "--type", "8", url, input=b"to python\n")
            room, priority = ctypes.create_string_buffer(8192), ctypes.c_uint()
            same(libc.mq_receive(queue, room, 8192, ctypes.byref(priority)), 9, "the size")
            same((room.raw[:9], priority.value), (b"to python", 8))
        finally:
            os.close(queue)


def test_posix_two_and_two(stage):
    """two senders and two readers on one POSIX queue"""
    with posix(stage) as (_, url):
        recvs = [stage.start_wherry("recv", url) for _ in range(2)]
        stage.write("first", b"".join(b"first %d\n" % i for i in range(2000)))
        stage.write("second", b"".join(b"second %d\n" % i for i in range(2000)))
        for sender in [stage.start_wherry("send", url, name) for name in ("first", "second")]:
            sender.end()
        recvs[0].read(lambda: sum(recv.out.count(b"\n") for recv in recvs) >= 4000, "all that was sent")
        got = [recv.stop().out.decode().splitlines() for recv in recvs]
        same(sorted(got[0] + got[1]), sorted(f"{who} {i}" for who in ("first", "second") for i in range(2000)))


# ---- bad input ----

def refuses(stage, code, words, *patterns, **how):
    process = stage.run_wherry(*words, code=None, **how)
    same((process.popen.returncode, process.out), (code, b""), f"{process}: exit code and output ({process.err!r})")
    one_line(process, *patterns)


def test_bad_names(stage):
    """names with a slash inside, without a name, without an id, of files that are not there"""
    for verb in ("recv", "send"):
        refuses(stage, 2, [verb, "mq:///a/b"], "mq:///a/b", "no slash but the first")
        refuses(stage, 2, [verb, "mq://a"], "three slashes")
        refuses(stage, 2, [verb, "mq:"], "name")
        refuses(stage, 2, [verb, "mq:///x?type=3"], "no use for")
        refuses(stage, 2, [verb, "sysv:./here"], r"\?id=")
        refuses(stage, 2, [verb, "sysv:0x0"], "nobody's")
        refuses(stage, 2, [verb, "sysv:0x123456789"], "a key has 32 bits: it is at most 0xffffffff")
        refuses(stage, 2, [verb, "sysv:0x12?id=x"], "no id")
        refuses(stage, 2, [verb, "sysv:./here?id=xx"], "id is one character")
        refuses(stage, 1, [verb, "sysv:./here?id=x"], "here", "No such file")
    refuses(stage, 2, ["recv", "--type", "x", "sysv:0x12"], "type is N, -N")
    refuses(stage, 2, ["recv", "--type", "0", "sysv:0x12"], "type is N, -N")
    refuses(stage, 2, ["recv", "--type", "1", "mq:///x"], "no use for")
    refuses(stage, 2, ["recv", "--with-nul", "--raw", "mq:///x"], "--with-nul")
    refuses(stage, 1, ["recv", "mq:///" + "x" * 256], "255 bytes")


def test_full(stage):
    """h44: a full queue at the deadline: exit code 3, and the line names limit, value and sysctl"""
    with posix(stage) as (_, url):
        count = limit("fs/mqueue/msg_default")
        refuses(stage, 3, ["send", "-w300ms", url], url, f"holds {count} messages",
                rf"fs\.mqueue\.msg_max is {limit('fs/mqueue/msg_max')}", f"{count} messages were sent",
                input=b"x\n" * (count + 1))
    with sysv(stage) as queue:
        most = limit("kernel/msgmnb")
        refuses(stage, 3, ["send", "-w300ms", "--fixed=1024", queue.url], f"{most} of at most {most} bytes",
                f"kernel.msgmnb is {most}", f"{most // 1024} messages were sent", input=b"x" * (most + 1024))


def test_too_large(stage):
    """h44: a message that is too large: the line names it, the limit and the sysctl"""
    with posix(stage) as (_, url):
        size = limit("fs/mqueue/msgsize_default")
        refuses(stage, 1, ["send", url], "line 2", f"{size + 1} bytes", f"largest, {size}", r"fs\.mqueue\.msgsize_max",
                input=b"x\n" + b"y" * (size + 1) + b"\n")
    with sysv(stage) as queue:
        size = limit("kernel/msgmax")
        refuses(stage, 1, ["send", queue.url], "line 2", f"{size + 1} bytes", f"limit of {size}", r"kernel\.msgmax",
                input=b"x\n" + b"y" * (size + 1) + b"\n")


def test_too_much_asked_for(stage):
    """h44: a capacity over the kernel's limit, as nobody, who may not raise it"""
    if os.geteuid() != 0:
        raise tap.Skip("only root can become nobody")
    os.chmod(stage.path, 0o711)
    with posix(stage) as (_, url), sysv(stage) as queue:
        most, bytes_ = limit("fs/mqueue/msg_max"), limit("kernel/msgmnb")
        size = limit("fs/mqueue/msgsize_default")
        refuses(stage, 1, ["recv", f"{url}?capacity={(most + 1) * size}"], f"{most + 1} messages", f"limit of {most}",
                r"fs\.mqueue\.msg_max", preexec_fn=as_nobody)
        refuses(stage, 1, ["recv", f"{queue.by_key}?capacity={bytes_ + 1}"], f"{bytes_ + 1} bytes",
                f"limit of {bytes_}", r"kernel\.msgmnb", preexec_fn=as_nobody)
        same(queue.row(), None, "a queue that could not be as it should")
        refuses(stage, 1, ["recv", url], "ulimit -q", "the 4096 bytes for all queues", preexec_fn=poor_nobody)


def poor_nobody():
    resource.setrlimit(12, (4096, 4096))  # RLIMIT_MSGQUEUE, which the module does not name
    as_nobody()


def test_anothers(stage):
    """h11: a queue that uid 65534 made is refused, and named, unless uid= allows it"""
    if os.geteuid() != 0:
        raise tap.Skip("only root can become nobody")
    with posix(stage) as (name, url), sysv(stage) as queue:
        os.chmod(stage.path, 0o711)
        for place in (url, queue.by_key):
            stage.run_wherry("send", place + "?mode=0666", input=b"planted\n", preexec_fn=as_nobody)
            for verb in ("recv", "send"):
                refuses(stage, 1, [verb, place], re.escape(place), "uid 65534's", "uid=65534")
            same(stage.run_wherry("recv", "-c1", place + "?uid=65534").out, b"planted\n")
        # and the other way round: root's is not nobody's to open
        libc.mq_unlink(name.encode())
        queue.remove()
        for place in (url, queue.by_key):
            stage.run_wherry("send", place, input=b"private\n")
            refuses(stage, 1, ["recv", place], re.escape(place), "permissions|may not look", preexec_fn=as_nobody)


def test_a_type_that_is_said_twice(stage):
    """--type and type= that differ: the line names the option, and no struct"""
    for words in (["recv", "--type", "2", "sysv:0x77?type=3"],):
        one_line(stage.run_wherry(*words, code=2), 'that came with it say different things of "type"; say it once')
