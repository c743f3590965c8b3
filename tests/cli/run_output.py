# tests/cli/run_output.py - what `wherry run` prints: to readers that are slow or gone, and on a terminal.
#
# SPDX-License-Identifier: MIT
import fcntl
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import termios
import time

import tap
from run import PATIENCE, one_line, same, wait_for
from run_kit import behind, home, procfile, read_terminal, run, start, status, wait_ready


def unread(fd):
    """Bytes that are in the pipe."""
    return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]


# ---- output ----

def test_full_pipe(stage):
    """nobody reads: units wait, status and SIGTERM are answered all the same, and memory does not grow"""
    read, write = os.pipe()
    procfile(stage, "yes: yes 12345678901234567890\nquiet: trap 'exit 0' TERM; while :; do sleep 0.01; done\n")
    process = start(stage, stdout=write)
    os.close(write)
    wait_ready(stage)
    supervisor = behind(process)
    wait_for(lambda: unread(read) >= 60000, "the pipe to be full")

    def memory():
        text = pathlib.Path(f"/proc/{supervisor}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1))
    before = memory()
    for _ in range(20):
        run(stage, "--status")
    same(memory() - before < 2048, True, f"that {memory() - before} kB more are few")
    same([u["state"] for u in status(stage).values()], ["ready", "ready"])
    run(stage, "--restart", "quiet")
    process.signal(signal.SIGTERM)
    # what was printed is delivered for 5 s at most
    process.end(0)
    os.close(read)


def test_slow_reader(stage):
    """a reader that is slow gets every line, whole and in order"""
    read, write = os.pipe()
    procfile(stage, "u: seq 100000\n")
    process = start(stage, stdout=write)
    os.close(write)
    wait_for(lambda: unread(read) >= 60000, "the pipe to be full")
    with os.fdopen(read, "rb") as stream:
        lines = stream.read().splitlines()
    process.end(0)
    same(lines == [b"u | %d" % n for n in range(1, 100001)], True, "that all lines came")


def test_ended_and_unread(stage):
    """units have ended, and nobody reads what they printed: questions are answered, and -w ends the run all the same"""
    read, write = os.pipe()
    procfile(stage, "u: seq 14000\n")
    process = start(stage, stdout=write)
    os.close(write)
    wait_for(lambda: status(stage, "-w", "20", code=None).get("u", {}).get("state") == "ended", "the unit to end")
    run(stage, "-w", "20", "--start", "u", code=None)  # it prints again, and may wait for room
    same(status(stage)["u"]["starts"], 2, "how often it was started")
    path, = (stage.path / "rt/wherry").glob("*.sock")
    same(stage.run_wherry("ask", "-w", "20", f"unix://{path}?frame=length", "1 stop").out[:3], b"ok ")
    with os.fdopen(read, "rb") as stream:
        same(stream.read().splitlines()[:14000] == [b"u | %d" % n for n in range(1, 14001)], True, "that lines came")
    process.end(0)
    read, write = os.pipe()
    process = start(stage, "-w", "500ms", stdout=write)
    os.close(write)
    process.read(lambda: b"the time that -w leaves is over" in process.err, "the end of the time")
    with os.fdopen(read, "rb") as stream:
        stream.read()
    process.end(3)


def test_broken_pipe(stage):
    """h35: when nobody reads any more, all units are stopped, and it dies of SIGPIPE, as commands do"""
    procfile(stage, "yes: yes; echo ended >&2\nquiet: sleep 100\n")
    done = stage.run("bash", "-c", '"$0" run | head -1; echo ${PIPESTATUS[0]}', stage.wherry, env=home(stage))
    same(done.out, b"yes   | y\n141\n")
    read, write = os.pipe()
    process = start(stage, stdout=write)
    os.close(write)
    same(os.read(read, 10), b"yes   | y\n")
    os.close(read)
    process.end(-signal.SIGPIPE)
    same(os.listdir(stage.path / "rt/wherry"), [], "what is left in the directory of sockets")


def test_broken_pipe_ignored(stage):
    """where SIGPIPE is ignored, as under systemd, the units go on, and it is said that nobody reads"""
    read, write = os.pipe()
    procfile(stage, "u: echo x; sleep 0.2; echo y; sleep 0.2; echo z >log\n")
    stage.mine("log")
    process = start(stage, stdout=write, restore_signals=False,
                    preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN))
    os.close(write)
    os.close(read)
    process.end(0)
    same((stage.path / "log").read_text(), "z\n")
    one_line(process, "standard output: Broken pipe: what units print is dropped")


# ---- a terminal ----

class Screen:
    """The command on a pseudo-terminal, leading its session."""

    def __init__(self, stage, *words, columns=60, **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        attributes[3] |= termios.NOFLSH  # or Ctrl-C throws away what was printed and has not yet come here
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        env = dict(home(stage), **{"TERM": "xterm", **environment})
        self.popen = subprocess.Popen([stage.wherry, "run", *words], stdin=slave, stdout=slave, stderr=slave, env=env,
                                      cwd=stage.path, start_new_session=True,
                                      preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.text = b""

    def read_until(self, pattern):
        try:
            self.text = read_terminal(self.master, self.text, pattern)
        except tap.Failure:
            self.popen.kill()
            raise

    def end(self, code):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            self.text += data
        same(self.popen.wait(PATIENCE), code, "the exit code")
        os.close(self.master)


def shown(text):
    """What a terminal that wraps nothing shows in the end, as lines."""
    lines, column = [""], 0
    for part in re.findall(r"\r|\n|\033\[[0-9;]*[A-Za-z]|[^\r\n\033]+", text.decode()):
        if part == "\r":
            column = 0
        elif part == "\n":
            lines.append("")
        elif part == "\033[K":
            lines[-1] = lines[-1][:column]
        elif part[0] != "\033":
            lines[-1] = lines[-1][:column].ljust(column) + part + lines[-1][column + len(part):]
            column += len(part)
    return [line for line in lines if line]


def test_screen(stage):
    """on a terminal: a status line below, gone before anything else is printed and at the end; Ctrl-C stops all"""
    procfile(stage, "web: echo one; sleep 0.3; echo two; exec sleep 100\n"
                    "bad: exit 1\n  restart always\n  backoff 300ms\n")
    screen = Screen(stage)
    screen.read_until(rb"web ready.*bad (again soon|ready) \((1 restart|\d+ restarts)\)")
    screen.read_until(rb"two\r\n")
    os.write(screen.master, b"\x03")
    screen.end(0)
    lines = shown(screen.text)
    same([line for line in lines if not line.startswith("wherry: run: bad: it exited with 1; it is started again in ")],
         ["web | one", "web | two"], "what is on the terminal")
    same(b"\033[36;1mweb |\033[0m one" in screen.text, True, "colours")


def test_screen_is_narrow(stage):
    """the status line is cut to the width of the terminal; NO_COLOR, -q and TERM=dumb are obeyed"""
    names = [f"unit{i}" for i in range(20)]
    screen = Screen(stage, *[f"{n}=exec sleep 100" for n in names], columns=45)
    screen.read_until(rb"unit0 ready \| unit1 ready \| unit2 ready \| un\033")
    os.write(screen.master, b"\x03")
    screen.end(0)
    for drawn in re.findall(rb"\r(unit[^\033]*)\033", screen.text):
        same(len(drawn) <= 44, True, f"the width of {drawn}")
    for words, environment in (([], {"NO_COLOR": "1"}), (["-q"], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})):
        screen = Screen(stage, *words, "u=echo x; sleep 0.3", **environment)
        screen.end(0)
        same(b"\033[36" in screen.text, False, "colours")
        same(b"u ready" in screen.text, not words and "TERM" not in environment, "the status line")


def test_closed_terminal(stage):
    """when its terminal is closed, all are stopped, although SIGHUP means a reload"""
    procfile(stage, "u: trap 'echo hup >>log' HUP; echo x; while :; do sleep 0.01; done\n")
    screen = Screen(stage)
    screen.read_until(rb"u ready")
    os.close(screen.master)
    same(screen.popen.wait(PATIENCE), 0, "the exit code")
    same(os.path.exists(stage.path / "log"), False, "that it was told to reload")


def test_stopped_screen(stage):
    """a terminal that was stopped with Ctrl-S, or whose window does not read, stops nobody who supervises"""
    procfile(stage, "yes: yes 12345678901234567890123456789\n")
    screen = Screen(stage)
    screen.read_until(b"9\r\n")
    wait_ready(stage)
    run(stage, "--restart", "yes")
    os.write(screen.master, b"\x13")
    wait_ready(stage)
    run(stage, "--restart", "yes")
    same(status(stage)["yes"]["starts"], 3)
    os.write(screen.master, b"\x11")
    os.write(screen.master, b"\x03")
    screen.end(0)
