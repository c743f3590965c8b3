# tests/cli/ring.py - shm:// from the command line, and wherry stat.
#
# SPDX-License-Identifier: MIT
import json
import os
import signal
import subprocess

import run
import tap
from run import one_line, same


def name(stage):
    return f"shm://wherry-cli-{os.getpid()}-{stage.path.name}"


def left(url):
    directory = f"/dev/shm/wherry-{os.geteuid()}"
    word = url.split("//")[1].split("?")[0]
    return [entry for entry in os.listdir(directory) if word in entry] if os.path.isdir(directory) else []


def places(stage, url):
    process = stage.run_wherry("stat", "-J", url)
    return json.loads(process.out)["places"]


def test_lines_go_through_a_ring(stage):
    """lines go through a ring, whoever starts first, and nothing is left"""
    url, data = name(stage), b"".join(b"%d\n" % i for i in range(20000))
    for first in ("recv", "send"):
        if first == "recv":
            recv = stage.start_wherry("recv", url)
            stage.wait_asleep(recv)
            stage.run_wherry("send", url, input=data)
        else:
            stage.write("in", data)
            send = stage.start_wherry("send", url, "in")
            stage.wait_asleep(send)
            recv = stage.start_wherry("recv", url)
            send.end(0)
        recv.end(0)
        same(recv.out, data)
        same(left(url), [], "what is left in /dev/shm")


def test_two_receivers_share(stage):
    """two receivers share what comes, each message to one of them"""
    url = name(stage)
    receivers = [stage.start_wherry("recv", url) for _ in range(2)]
    run.wait_for(lambda: left(url) and len(places(stage, url)) == 2, "two receivers")
    stage.run_wherry("send", url, input=b"".join(b"%d\n" % i for i in range(5000)))
    got = []
    for receiver in receivers:
        receiver.end(0)
        got += receiver.out.split()
    same(sorted(map(int, got)), list(range(5000)))
    same(left(url), [], "what is left in /dev/shm")


def test_stat_shows_who_is_there(stage):
    """stat shows depth, counts and who is alive; a killed sender is dead, and its messages are received"""
    url = name(stage)
    receiver = stage.start_wherry("recv", "--keep", url)
    run.wait_for(lambda: left(url) and places(stage, url), "the ring, and the receiver in it")
    stage.wait_asleep(receiver)
    os.kill(receiver.pid, signal.SIGSTOP)
    sender = stage.start_wherry("send", url, stdin=subprocess.PIPE)
    sender.popen.stdin.write(b"one\ntwo\nthree\n")
    run.wait_for(lambda: any(p["sent"] == 3 for p in places(stage, url)), "three messages")
    lane, = [p for p in places(stage, url) if p["role"] == "sender"]
    same((lane["depth"], lane["received"], lane["state"], lane["pid"]), (3, 0, "alive", sender.pid))
    reader, = [p for p in places(stage, url) if p["role"] == "receiver"]
    same((reader["state"], reader["pid"]), ("alive", receiver.pid))
    os.kill(sender.pid, signal.SIGKILL)
    sender.end(-signal.SIGKILL)
    run.wait_for(lambda: any(p["state"] == "dead" for p in places(stage, url)), "the dead sender")
    os.kill(receiver.pid, signal.SIGCONT)
    same(receiver.read_out(14), b"one\ntwo\nthree\n")
    table = stage.run_wherry("stat", url).out.decode()
    if "DEPTH" not in table or "receiver" not in table:
        raise tap.Failure(table)
    receiver.stop()
    same(left(url), [], "what is left in /dev/shm")


def test_a_kept_ring(stage):
    """keep=1: messages outlive all processes, until the file is removed"""
    url = name(stage) + "?keep=1"
    for i in range(70):  # more senders, one after another, than there are places
        stage.run_wherry("send", url, input=b"%d\n" % i)
    recv = stage.run_wherry("recv", "-c", "70", url)
    same(sorted(map(int, recv.out.split())), list(range(70)))
    waits = stage.start_wherry("recv", url)
    path = f"/dev/shm/wherry-{os.geteuid()}/" + left(url)[0]
    run.wait_for(lambda: any(p["pid"] == waits.pid for p in places(stage, url.split("?")[0])), "the receiver")
    os.unlink(path)
    waits.end(0)


def test_stat_refuses(stage):
    """stat says what it cannot look at"""
    url = name(stage)
    one_line(stage.run_wherry("stat", url, code=1), "there is no such ring")
    one_line(stage.run_wherry("stat", "fifo:./x", code=2), "names no ring")
    one_line(stage.run_wherry("stat", "shm://a/b", code=2), "no slash")
    one_line(stage.run_wherry("recv", "shm://", code=2), "names no ring")
    one_line(stage.run_wherry("recv", url + "?capacity=5000", code=2), "power of two")
    one_line(stage.run_wherry("send", "-w", "0.1", url, input=b"x\n", code=3),
             r"there is no such ring; start the receiver \(a ring is of one user; share= lets another in\)$")
    directory = f"/dev/shm/wherry-{os.geteuid()}"
    os.makedirs(directory, 0o700, exist_ok=True)
    path = os.path.join(directory, url.split("//")[1])
    with open(path, "wb") as file:
        file.write(b"garbage" * 1000)
    try:
        one_line(stage.run_wherry("stat", url, code=1), "is no ring")
        one_line(stage.run_wherry("recv", url, code=1), "is no ring")
    finally:
        os.unlink(path)
