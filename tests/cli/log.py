# tests/cli/log.py - file: from the command, with cat, cp, tail and a reader of the format that knows nothing of wherry.
#
# SPDX-License-Identifier: MIT
import os
import shutil
import signal
import struct
import subprocess
import threading

import tap
from run import one_line, same

HEAD = 36864


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def records(data):
    """The payloads, as wherry_log(7) says that they are found."""
    same(data[:13], b"wherry log 1\n")
    log_id, = struct.unpack_from("<Q", data, 16)
    at, = struct.unpack_from("<Q", data, 528)
    found = []
    while at + 32 <= len(data):
        mark, size, check, kind, number, time = struct.unpack_from("<4sIIIQQ", data, at)
        payload = data[at + 32:at + 32 + size]
        mix = (log_id + at * 0x9E3779B97F4A7C15 + number * 0xC2B2AE3D27D4EB4F) * 0xD6E8FEB86659FD93 % 2**64 >> 32
        head = struct.pack("<IIQ", size, kind, time)
        if mark != b"WREC" or len(payload) < size or check != crc32c(head + payload) ^ mix:
            break
        found.append(payload)
        at += 32 + (size + 7) // 8 * 8
    return found


def send(stage, lines, url="file:./log"):
    stage.mine("log")
    sender = stage.start_wherry("send", "-q", url, stdin=subprocess.PIPE)
    sender.write(b"".join(line + b"\n" for line in lines))
    sender.shut()
    sender.end()


def recv(stage, *words, count=None, url="file:./log"):
    more = ["-c", str(count)] if count else ["-w", "0.1"]
    process = stage.start_wherry("recv", "-q", *more, *words, url)
    return process.end(0 if count else 3).out.splitlines()


def test_from_says_where_recv_begins(stage):
    """recv begins at the beginning, at the end, or where the group was"""
    send(stage, [b"one", b"two", b"three"])
    same(recv(stage, count=3), [b"one", b"two", b"three"])
    same(recv(stage, "--from", "beginning", count=1), [b"one"])
    same(recv(stage, "--from", "end"), [])
    same(recv(stage, "--group", "g", count=2), [b"one", b"two"])
    same(recv(stage, "--group", "g", "--from", "saved", count=1), [b"three"])
    same(recv(stage, "--group", "g"), [])
    same(recv(stage, "--group", "g", "--from", "beginning", count=1), [b"one"])
    same(recv(stage, "--group", "h", "--from", "end"), [])
    send(stage, [b"four"])
    same(recv(stage, "--group", "h"), [b"four"])


def test_bad_places_are_said(stage):
    """a place that is none, saved without a group, and a place where there is no log: one line each"""
    for words, text in ((["--from", "middle", "file:./log"], "from takes beginning, end or saved"),
                        (["--from", "saved", "file:./log"], "group=NAME"),
                        (["--group", "g", "unix:./s"], 'has no use for the option "group"')):
        one_line(stage.start_wherry("recv", *words).end(2), text)


def test_members_of_a_group_share(stage):
    """two that recv in one group get each message once between them; a third without gets all"""
    stage.mine("log")
    send(stage, [])
    members = [stage.start_wherry("recv", "-q", "--group", "g", "file:./log") for _ in range(2)]
    alone = stage.start_wherry("recv", "-q", "file:./log")
    lines = [b"%d" % n for n in range(500)]
    send(stage, lines)
    alone.read(lambda: alone.out.count(b"\n") == 500, "500 messages")
    members[0].read(lambda: sum(m.out.count(b"\n") for m in members) == 500, "500 messages of both")
    same(sorted(members[0].out.split() + members[1].out.split()), sorted(lines))
    same(alone.out.split(), lines)
    for process in (*members, alone):
        stage.wait_asleep(process)  # one that has got nothing yet may not have begun
        process.stop()


def test_raw_readers(stage):
    """cat, tail -c and a reader of the documented format find the messages; cp makes a log"""
    lines = [b"a line", b"", b"x" * 3000, bytes(range(11, 256))]
    send(stage, lines)
    data = stage.run("cat", "log").out
    same(records(data), lines)
    same(stage.run("tail", "-c", f"+{HEAD + 1}", "log").out, data[HEAD:])
    same(stage.run("head", "-n", "1", "log").out, b"wherry log 1\n")
    stage.run("cp", "log", "copy")
    stage.mine("copy")
    send(stage, [b"more"], "file:./copy")
    same(records((stage.path / "copy").read_bytes()), lines + [b"more"])
    same(records((stage.path / "log").read_bytes()), lines)


def test_a_copy_made_while_it_is_written_is_a_log(stage):
    """cp of a log that is being written: whole messages in turn, and it can be appended to"""
    stage.mine("log")
    stage.mine("copy")
    sender = stage.start_wherry("send", "-q", "file:./log", stdin=subprocess.PIPE)
    copied = threading.Event()

    def feed():
        for n in range(1, 20_000_000, 1000):
            sender.popen.stdin.write(b"".join(b"%d\n" % k for k in range(n, n + 1000)))
            if copied.wait(0.001):
                break

    feeder = threading.Thread(target=feed)
    feeder.start()
    stage.wait_path("log")
    sizes = set()
    while len(sizes) < 6 and feeder.is_alive():
        shutil.copyfile(stage.path / "log", stage.path / "copy")
        send(stage, [b"more"], "file:./copy")
        got = recv(stage, url="file:./copy")
        same(got[-1], b"more")
        same(got[:-1], [b"%d" % n for n in range(1, len(got))])
        sizes.add(len(got))
    copied.set()
    feeder.join()
    same(len(sizes), 6)
    sender.shut()
    sender.end()


def test_a_killed_sender_leaves_whole_messages(stage):
    """send is killed in the middle: what is there is whole and in turn, and the next one goes on"""
    stage.mine("log")
    total = []
    for _ in range(10):
        sender = stage.start("sh", "-c", "seq 1 100000000 | exec \"$0\" send -q file:./log", str(stage.wherry),
                             start_new_session=True)
        before = (stage.path / "log").stat().st_size if (stage.path / "log").exists() else 0
        while not (stage.path / "log").exists() or (stage.path / "log").stat().st_size < before + 200000:
            pass
        os.killpg(sender.pid, signal.SIGKILL)
        sender.end(None)
        got = recv(stage)[len(total):]
        same(got, [b"%d" % n for n in range(1, len(got) + 1)])
        total += got
    send(stage, [b"last"])
    same(recv(stage)[-1], b"last")


def test_what_is_no_log_is_left_alone(stage):
    """a file that is no log is refused in one line and stays as it is"""
    (stage.path / "notes").write_bytes(b"dear diary")
    stage.mine("notes")
    for verb in ("send", "recv"):
        one_line(stage.start_wherry(verb, "file:./notes").end(1), "is a file, but no log of wherry; name another path")
    same((stage.path / "notes").read_bytes(), b"dear diary")
    one_line(stage.start_wherry("send", "file:./no/such").end(1), "the directory does not exist")


def test_a_log_of_ones_own_that_may_not_be_written(stage):
    """one's own log whose mode lets nobody write it: what to do"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root, to be another user as well")
    os.chmod(stage.path, 0o777)
    stage.mine("log")
    stage.run_wherry("send", "file:./log", input=b"x", user=65534, group=65534)
    os.chmod(stage.path / "log", 0o400)
    one_line(stage.run_wherry("send", "file:./log", input=b"x", code=1, user=65534, group=65534),
             r"is this user's, and its mode 0400 does not let it be written: chmod u\+rw it")
