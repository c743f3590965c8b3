# tests/cli/run.py CASES.py WHERRY HELPERS - runs the cases of one file against the command, and prints TAP.
#
# SPDX-License-Identifier: MIT
"""A case is a function test_... of CASES.py that takes a Stage; its docstring is its name.  Each runs in an empty
directory of its own.  Afterwards no process may be left, and no file but those that the case said it would make
(stage.mine)."""
import ctypes
import fcntl
import importlib.util
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "api"))
import tap  # noqa: E402
from tap import PATIENCE, wait_for  # noqa: E402

CASE_LIMIT = 180  # seconds for a case, whatever it waits in
PR_SET_CHILD_SUBREAPER = 36


class Process:
    """A program under way, its standard descriptors on pipes (or what start() was told)."""

    def __init__(self, stage, words, **how):
        self.stage, self.words = stage, [w if isinstance(w, bytes) else str(w) for w in words]
        how.setdefault("stdin", subprocess.DEVNULL)
        how.setdefault("stdout", subprocess.PIPE)
        how.setdefault("stderr", subprocess.PIPE)
        self.popen = subprocess.Popen(self.words, cwd=stage.path, bufsize=0, **how)
        self.pid = self.popen.pid
        self.out, self.err = b"", b""

    def _streams(self):
        return [s for s in (self.popen.stdout, self.popen.stderr) if s and not s.closed]

    def _take(self, stream):
        data = stream.read(65536)
        if not data:
            stream.close()
        elif stream is self.popen.stdout:
            self.out += data
        else:
            self.err += data

    def _pump(self, until):
        """Read once from whatever program of the stage prints, so that none waits for us.  False: the time is up."""
        owners = {s: p for p in self.stage.processes for s in p._streams()}
        ready, _, _ = select.select(list(owners), [], [], max(0, until - time.monotonic()))
        for stream in ready:
            owners[stream]._take(stream)
        return bool(ready)

    def read(self, enough, what):
        """Read what it prints until enough() is true."""
        until = time.monotonic() + PATIENCE
        while not enough():
            if not self._streams():
                raise tap.Failure(f"{self}: ended before {what}: {self.out[-300:]!r} {self.err[-300:]!r}")
            if not self._pump(until):
                raise tap.Failure(f"{self}: waited {PATIENCE} s for {what}; so far "
                                  f"{self.out[-300:]!r} {self.err[-300:]!r}")

    def read_out(self, size):
        self.read(lambda: len(self.out) >= size, f"{size} bytes")
        return self.out

    def write(self, data):
        self.popen.stdin.write(data)

    def shut(self):
        self.popen.stdin.close()

    def signal(self, number):
        self.popen.send_signal(number)

    def end(self, code=0):
        """Read to the end and wait, as long as it says something; the exit code must be `code` (None: any)."""
        until, said = time.monotonic() + PATIENCE, 0
        while self._streams():
            if len(self.out) + len(self.err) != said:
                until, said = time.monotonic() + PATIENCE, len(self.out) + len(self.err)
            if not self._pump(until):
                raise tap.Failure(f"{self}: still runs after {PATIENCE} s; {self.out[-300:]!r} {self.err[-300:]!r}")
        try:
            self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise tap.Failure(f"{self}: still runs after {PATIENCE} s") from None
        if code is not None and self.popen.returncode != code:
            raise tap.Failure(f"{self}: exit code {self.popen.returncode}, expected {code}: {self.err!r}")
        return self

    def stop(self):
        """End it by SIGTERM, of which its exit code tells, once it has begun to care."""
        wait_for(lambda: self.popen.poll() is not None or catches(self, signal.SIGTERM, "SigCgt:", "SigBlk:"),
                 f"{self} to heed SIGTERM")
        self.signal(signal.SIGTERM)
        return self.end(128 + signal.SIGTERM)

    def __str__(self):
        return " ".join(w if isinstance(w, str) else repr(w) for w in self.words)[:120]


class Stage:
    def __init__(self, wherry, helpers):
        self.wherry, self.helpers = str(pathlib.Path(wherry).resolve()), pathlib.Path(helpers).resolve()
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="wherry-cli-"))
        self.processes, self.made, self.counter = [], set(), 0

    # ---- programs ----

    def start(self, *words, **how):
        process = Process(self, words, **how)
        self.processes.append(process)
        return process

    def start_wherry(self, *words, **how):
        return self.start(self.wherry, *words, **how)

    def run(self, *words, code=0, input=None, **how):
        """Run to the end; `input` comes from a file, so that nobody has to feed it."""
        if input is not None:
            with tempfile.TemporaryFile() as file:
                file.write(input)
                file.seek(0)
                return self.start(*words, stdin=file, **how).end(code)
        return self.start(*words, **how).end(code)

    def run_wherry(self, *words, **how):
        return self.run(self.wherry, *words, **how)

    def helper(self, name):
        return self.helpers / name

    def need(self, program):
        if shutil.which(program) is None:
            raise tap.Skip(f"{program} is not installed")
        return program

    def start_poor(self, *words, **how):
        """The command with 20 descriptors and no more."""
        return self.start("sh", "-c", 'ulimit -n 20; exec "$@"', "sh", self.wherry, *words, **how)

    # ---- peers ----

    def connect(self, name, kind=socket.SOCK_STREAM):
        """A client of the socket of this name."""
        client = socket.socket(socket.AF_UNIX, kind)
        client.connect(str(self.path / name))  # blocking: a full backlog is waited for
        client.settimeout(PATIENCE)
        return client

    def listen(self, name):
        """A server at a socket of this name."""
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(self.mine(name)))
        server.listen()
        server.settimeout(PATIENCE)
        return server

    # ---- files ----

    def mine(self, name):
        """A path in the stage's directory that the case makes and need not remove."""
        self.made.add(name)
        return self.path / name

    def write(self, name, data):
        self.mine(name).write_bytes(data)
        return name

    def fifo(self, name):
        os.mkfifo(self.mine(name))
        return name

    # ---- waiting ----

    def _sockets(self):
        """The inodes of all sockets that programs of the stage hold."""
        found = set()
        for process in self.processes:
            try:
                for fd in os.listdir(f"/proc/{process.pid}/fd"):
                    match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{process.pid}/fd/{fd}"))
                    found.update(match.groups() if match else ())
            except OSError:
                pass
        return found

    def unix_sockets(self, name):
        """The rows of /proc/net/unix for a path that ends like this (or @name): as lists of columns, ours alone."""
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
            rows = [line.split() for line in table][1:]
        ours = self._sockets()
        return [r for r in rows if len(r) == 8 and r[7].rsplit("/", 1)[-1] == name and r[6] in ours]

    def wait_listening(self, name):
        """Until a program listens on a socket of this path (or @name), or has bound one of a kind that does not
        listen."""
        def listening():
            return any(r[4] == "0002" or int(r[3], 16) & 0x10000 for r in self.unix_sockets(name))
        wait_for(listening, f"a socket {name} that listens")

    def wait_path(self, name):
        wait_for(lambda: os.path.lexists(self.path / name), f"{name} to appear")

    def wait_asleep(self, process):
        """Until the program has begun, and sleeps in the kernel: for its peer, for input, for room."""
        program = os.path.realpath(shutil.which(process.words[0]))
        wait_for(lambda: tap.asleep(process.pid, program), f"{process} to wait")

    def wait_opened(self, process, name):
        """Until the process has the file open."""
        want = os.stat(self.path / name)

        def opened():
            for fd in os.listdir(f"/proc/{process.pid}/fd"):
                try:
                    have = os.stat(f"/proc/{process.pid}/fd/{fd}")
                except OSError:
                    continue
                if (have.st_dev, have.st_ino) == (want.st_dev, want.st_ino):
                    return True
            return False
        wait_for(opened, f"{process} to open {name}")

    # ---- the end ----

    def close(self, judge):
        """What was left behind, when `judge`; and away with it."""
        left = []
        for process in self.processes:
            if process.popen.poll() is None:
                left.append(f"a process: {process}")
                process.popen.kill()
                process.popen.wait()
            for stream in (process.popen.stdin, process.popen.stdout, process.popen.stderr):
                if stream:
                    try:
                        stream.close()
                    except BrokenPipeError:
                        pass
        left += self._strays()
        for root, _, files in os.walk(self.path):
            for name in files:
                path = pathlib.Path(root) / name
                if str(path.relative_to(self.path)) not in self.made:
                    left.append(f"{'a socket' if stat.S_ISSOCK(os.lstat(path).st_mode) else 'a file'}: {name}")
        shutil.rmtree(self.path)
        if judge and left:
            raise tap.Failure("left behind: " + "; ".join(left))

    @staticmethod
    def _strays():
        """Grandchildren whose parent is gone: they are ours, since the runner is a subreaper."""
        left = []
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return left
            if pid == 0:
                children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
                for child in children:
                    words = pathlib.Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
                    if not is_dying(child):
                        left.append(f"a process: pid {child} {words[:80]}")
                        os.kill(int(child), signal.SIGKILL)
                    os.waitpid(int(child), 0)


def is_dying(pid):
    """Whether it has been killed, and only its end takes time: a process of ours that nobody has waited for.  Between
    taking the signal and ending it shows neither, for a moment."""
    for _ in range(10):
        if shows_its_end(pid):
            return True
        select.select([], [], [], 0.005)
    return False


def shows_its_end(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    pending = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd:", "ShdPnd:"))]
    flags = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[6])
    exiting = 0x4  # PF_EXITING, linux/sched.h
    return flags & exiting != 0 or any(mask >> (signal.SIGKILL - 1) & 1 for mask in pending)


def descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def too_long(*_):
    raise tap.Failure(f"the case took more than {CASE_LIMIT} s")


def as_case(function, wherry, helpers):
    def case():
        before = descriptors()
        stage = Stage(wherry, helpers)
        fine = False
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(CASE_LIMIT)
        try:
            function(stage)
            fine = True
        finally:
            signal.alarm(0)
            stage.close(fine)
        if descriptors() != before:
            raise tap.Failure("the case left descriptors open")
    return (function.__doc__.strip().splitlines()[0], case)


def catches(process, number, *fields):
    """Whether the process has a handler for this signal (or any of these fields of /proc/PID/status has it)."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        masks = [int(line.split()[1], 16) for line in status if line.split()[0] in (fields or ("SigCgt:",))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def unread(client):
    """Whether something that was sent on this socket was not yet read at the other end."""
    return struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0] > 0


def read_all(client):
    """What comes on this socket until its end."""
    got = bytearray()
    while data := client.recv(1 << 20):
        got += data
    return bytes(got)


def fill(client, data=None):
    """Send `data`, or x for ever, without reading, until the kernel takes no more for 100 ms or the connection is cut:
    the bytes sent, and whether it was cut.  That a program has stopped reading shows in nothing but time."""
    client.setblocking(False)
    sent, idle, pause = 0, 0, select.poll()
    while idle < 50:
        part = b"x" * 65536 if data is None else data[sent:sent + 65536]
        if not part:
            break
        try:
            sent += client.send(part)
            idle = 0
        except BlockingIOError:
            idle += 1
            pause.poll(2)
        except (BrokenPipeError, ConnectionResetError):
            return sent, True
    client.settimeout(PATIENCE)
    return sent, False


# What cases say of what they got.

def same(got, wanted, what="the output"):
    if got != wanted:
        def short(value):
            text = repr(value)
            return text if len(text) < 400 else f"{text[:200]} ... {text[-150:]} ({len(value)} long)"
        raise tap.Failure(f"{what} is {short(got)}, not {short(wanted)}")


def one_line(process, *patterns):
    """Exactly one line on standard error, which every pattern is found in, and no control characters."""
    text = process.err.decode()
    if text.count("\n") != 1 or not text.endswith("\n") or not text.startswith("wherry: "):
        raise tap.Failure(f"{process}: not one line of ours on standard error: {text!r}")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text):
        raise tap.Failure(f"{process}: control characters on standard error: {text!r}")
    for pattern in patterns:
        if not re.search(pattern, text):
            raise tap.Failure(f"{process}: {text!r} does not say {pattern!r}")


def losses(process, said):
    """The last line on standard error is what recv says of its losses; it is taken away."""
    *before, last = process.err.splitlines(keepends=True) or [b""]
    same(re.sub(rb"^wherry: recv: \S+: ", b"", last).decode(), said + "\n", "the line of losses")
    process.err = b"".join(before)


def lslocks(stage, columns):
    """What it lists.  Who waits for a lease to be given back has no file yet; while there is one on the host, lslocks
    cannot parse the list of locks."""
    said = []

    def listed():
        said.append(stage.run("lslocks", "--json", "--notruncate", "-o", columns, code=None))
        return said[-1].popen.returncode == 0 or b"<none>" not in said[-1].err
    wait_for(listed, "lslocks to parse the list of locks")
    same(said[-1].popen.returncode, 0, said[-1].err)
    return json.loads(said[-1].out or '{"locks": []}')["locks"]


def json_lines(data):
    return [json.loads(line) for line in data.decode().splitlines()]


def main():
    cases, wherry, helpers = sys.argv[1:4]
    only = sys.argv[4:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:  # all tests that run at the same time share it, and it is enough for nine queues
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):  # not root
        pass
    # or nohup(1) would be handed on to the command
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    sys.modules["run"] = sys.modules["__main__"]  # what the cases import
    spec = importlib.util.spec_from_file_location("cases", cases)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = [f for name, f in vars(module).items() if name.startswith("test_") and callable(f)]
    found = [f for f in found if not only or f.__name__ in only]
    return tap.run([as_case(f, wherry, helpers) for f in found])


if __name__ == "__main__":
    sys.exit(main())
