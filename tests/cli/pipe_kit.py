# tests/cli/pipe_kit.py - owns what the cases of `wherry pipe` share: the links, how one is started, and who belongs to
# it.
#
# SPDX-License-Identifier: MIT
import os
import pathlib
import socket

import run
from run import same

NAMED = ("shm", "mq", "sysv", "fifo", "file", "unix+dgram")  # what has a name that could stay behind
LINKS = ("unix", "unix+seqpacket", "tcp", "udp", "pipe", "socketpair", *NAMED)
ALL = ("", *(f"={scheme}=" for scheme in LINKS))


def words_of(stage, *words):
    return [w for w in ("pipe", *words) if w != ""], {**os.environ, "XDG_RUNTIME_DIR": str(stage.path)}


def start(stage, *words, **how):
    words, env = words_of(stage, *words)
    return stage.start_wherry(*words, **{"env": env, **how})


def lacks_room(process):
    """Whether it could not be, since the queues of all tests that run at this time are as many as a user may have."""
    return process.popen.poll() == 125 and b"RLIMIT_MSGQUEUE" in process.err


def pipe(stage, *words, code=0, **how):
    words, env = words_of(stage, *words)

    def ran():
        process = stage.run_wherry(*words, **{"env": env, **how, "code": None})
        return None if lacks_room(process) else process
    process = run.wait_for(ran, "room for a queue")
    if code is not None:
        run.same(process.popen.returncode, code, f"{process}: {process.err!r}: the exit code")
    return process


def own_port():
    """A port of loopback that is free, for tcp: and udp:, and that the kernel gives to nobody who asks for any."""
    first, last = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = [port for port in range(10000, 65536) if not first <= port <= last]
    begin = os.getpid() * 7 % len(ports)
    for port in ports[begin:] + ports[:begin]:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as packets:
            try:
                stream.bind(("127.0.0.1", port))
                packets.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise run.tap.Failure("no port is free")


# ---- who is there, and what ----

def parents():
    """All processes that run: their parent and name."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = pathlib.Path(f"/proc/{name}/stat").read_text(errors="replace")
            except OSError:
                continue
            state, parent = text.rsplit(")", 1)[1].split()[:2]
            if state not in "ZX":
                found[int(name)] = (int(parent), text.split("(", 1)[1].rsplit(")", 1)[0])
    return found


def descendants(pid):
    """The processes below this one, with their names."""
    everybody, found = parents(), {}
    more = [pid]
    while more:
        above = more.pop()
        for child, (parent, name) in everybody.items():
            if parent == above and child not in found:
                found[child] = name
                more.append(child)
    return found


def wait_gone(pids):
    """Until none of them runs; those that had no other parent left are ours, and are reaped."""
    run.wait_for(lambda: not set(pids) & set(parents()), "all processes to end")


def part(everybody, process, which):
    names = {"keeper": "wherry-pipe", "sender": "wherry-pipe-out", "receiver": "wherry-pipe-in"}
    if which == "front":
        return process.pid
    found = [pid for pid, name in everybody.items() if name == names[which]]
    same(len(found), 1, f"processes that are the {which}")
    return found[0]
