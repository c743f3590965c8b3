# tests/cli/terminal_kit.py - a terminal for programs that draw: its screen, and a shell that they stop under.
#
# SPDX-License-Identifier: MIT
import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import sys
import termios
import time
import unicodedata

import tap
from tap import PATIENCE

# Runs a program as a shell with job control would: in a process group of its own, in the foreground of the terminal.
# Says on a descriptor which pid it has, that it stopped, how it ended; continues it for each byte that comes there.
SHELL = """
import fcntl, os, signal, sys, termios
says = int(sys.argv[1])
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
modes = termios.tcgetattr(0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pid = os.fork()
if pid == 0:
    os.close(says)
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.execv(sys.argv[2], sys.argv[2:])
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.write(says, b"pid %d\\n" % pid)
while True:
    _, status = os.waitpid(pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(0, os.getpgrp())
    os.write(says, b"stopped %d\\n" % (termios.tcgetattr(0) == modes))
    termios.tcsetattr(0, termios.TCSADRAIN, modes)
    os.read(says, 1)
    os.tcsetpgrp(0, pid)
    os.kill(-pid, signal.SIGCONT)
os.write(says, b"ended %d\\n" % (os.waitstatus_to_exitcode(status)))
"""

SEQUENCE = re.compile(r"\x1b(?:\[([?>]?)([\d;]*)([@-~])|([()])(.)|\][^\x07\x1b]*(?:\x07|\x1b\\)|([^\[\]()]))", re.S)


class Screen:
    """Enough of a VT100 for what curses says to one; what it does not know is a failure."""

    def __init__(self, columns, rows):
        self.row, self.column, self.left = 0, 0, ""
        self.resize(columns, rows)

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.top, self.bottom = 0, rows - 1
        self.row, self.column = min(self.row, rows - 1), min(self.column, columns - 1)

    def lines(self):
        return ["".join(line).rstrip() for line in self.cells]

    def _scroll(self, count):
        for _ in range(abs(count)):
            if count > 0:
                del self.cells[self.top]
                self.cells.insert(self.bottom, [" "] * self.columns)
            else:
                del self.cells[self.bottom]
                self.cells.insert(self.top, [" "] * self.columns)

    def _print(self, character):
        width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if self.column + width > self.columns:
            self.column = 0
            self._down()
        self.cells[self.row][self.column] = character
        if width == 2:
            self.cells[self.row][self.column + 1] = ""
        self.column += width

    def _down(self):
        if self.row == self.bottom:
            self._scroll(1)
        else:
            self.row = min(self.row + 1, self.rows - 1)

    def _erase(self, rows):
        for row in rows:
            self.cells[row] = [" "] * self.columns

    def _csi(self, private, numbers, final):
        values = [int(n) if n else 0 for n in numbers.split(";")] if numbers else []
        first = values[0] if values and values[0] else 1
        kind = values[0] if values else 0
        if private or final in "mhlncq":
            return
        if final == "H":
            self.row, self.column = first - 1, (values[1] if len(values) > 1 and values[1] else 1) - 1
        elif final in "ABCD":
            rows, columns = {"A": (-1, 0), "B": (1, 0), "C": (0, 1), "D": (0, -1)}[final]
            self.row += rows * first
            self.column += columns * first
        elif final == "K":
            begin, end = [(self.column, self.columns), (0, self.column + 1), (0, self.columns)][kind]
            self.cells[self.row][begin:end] = [" "] * (end - begin)
        elif final == "J":
            if kind == 0:
                self._csi("", "", "K")
            self._erase(range(self.row + 1, self.rows) if kind == 0 else range(self.rows))
        elif final == "r":
            self.top, self.bottom = first - 1, (values[1] if len(values) > 1 else self.rows) - 1
            self.row = self.column = 0
        else:
            raise tap.Failure(f"the screen knows no CSI {numbers}{final}")
        self.row, self.column = max(0, min(self.row, self.rows - 1)), max(0, min(self.column, self.columns - 1))

    def _escape(self, match):
        if match[3]:
            self._csi(match[1], match[2], match[3])
        elif match[6] == "M":
            if self.row == self.top:
                self._scroll(-1)
            else:
                self.row -= 1
        elif match[6] == "D":
            self._down()
        elif match[6] == "E":
            self.column = 0
            self._down()
        elif match[0].startswith("\x1b]"):
            raise tap.Failure(f"the terminal's title is set: {match[0]!r}")

    def take(self, text):
        text = self.left + text
        at = 0
        while at < len(text):
            match = SEQUENCE.match(text, at)
            if match:
                self._escape(match)
                at = match.end()
                continue
            character = text[at]
            if character == "\x1b":
                break  # the rest comes
            at += 1
            if character == "\r":
                self.column = 0
            elif character == "\n":
                self._down()
            elif character == "\b":
                self.column = max(0, self.column - 1)
            elif character == "\t":
                self.column = min(self.columns - 1, self.column // 8 * 8 + 8)
            elif character >= " ":
                self._print(character)
        self.left = text[at:]


class Terminal:
    """A program on a terminal of its own, under a shell with job control."""

    def __init__(self, stage, *words, columns=200, rows=24, blind=False, **environment):
        self.near, self.far = pty.openpty()
        self.screen, self.raw, self.said = Screen(columns, rows), b"", b""
        self.blind = blind  # what is written is kept, and not drawn: it is for another terminal than a VT100
        self._size(columns, rows)
        self.modes = termios.tcgetattr(self.far)
        self.program = os.path.realpath(words[0])
        self.shell, theirs = [end.detach() for end in socket.socketpair()]
        names = {"TERM": "vt100", "LC_ALL": "C.UTF-8", **environment}
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LINES", "COLUMNS", "LANG", "TERM")}
        env = kept | {k: v for k, v in names.items() if v is not None}
        self.process = stage.start(sys.executable, "-c", SHELL, str(theirs), *words, stdin=self.far, stdout=self.far,
                                   stderr=self.far, env=env, pass_fds=(theirs,))
        os.close(theirs)
        self.pid = int(self._shell_says(rb"pid (\d+)\n"))

    def _size(self, columns, rows):
        fcntl.ioctl(self.far, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _shell_says(self, pattern):
        def said():
            return re.search(pattern, self.said)
        self.until(said, f"the shell to say {pattern!r}")
        match = said()
        self.said = self.said[match.end():]
        return match[1] if match.re.groups else match[0]

    def pump(self, seconds):
        """Take what comes within a while.  False: nothing."""
        ready, _, _ = select.select([self.near, self.shell], [], [], seconds)
        if self.near in ready:
            data = os.read(self.near, 65536)
            self.raw += data
            if not self.blind:
                self.screen.take(data.decode("utf-8", "replace"))
        if self.shell in ready:
            self.said += os.read(self.shell, 4096)
        return bool(ready)

    def until(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise tap.Failure(f"waited {PATIENCE} s for {what}; the screen is " + "\n".join(self.screen.lines()))
            self.pump(0.05)

    def settle(self):
        """Wait until it has read all that was typed, and drawn all of what it had heard."""
        def settled():
            # to ask for what can be read brings there what is on its way from the other end
            unread = select.select([self.far], [], [], 0)[0]
            return not unread and tap.asleep(self.pid, self.program) and not self.pump(0)
        self.until(settled, "the program to sleep")

    def has(self, *patterns):
        """Each is found on the screen as it is."""
        for pattern in patterns:
            if not self._has(pattern):
                raise tap.Failure(f"{pattern!r} is not on the screen: " + "\n".join(self.screen.lines()))

    def shows(self, *patterns):
        """Wait until each is found on the screen, in a line each."""
        for pattern in patterns:
            self.until(lambda: self._has(pattern), f"the screen to show {pattern!r}")

    def hides(self, pattern):
        self.until(lambda: not self._has(pattern), f"{pattern!r} to go")

    def _has(self, pattern):
        return any(re.search(pattern, line) for line in self.screen.lines())

    def type(self, keys):
        os.write(self.near, keys.encode())

    def resize(self, columns, rows):
        self.screen.resize(columns, rows)
        self._size(columns, rows)
        os.kill(self.pid, signal.SIGWINCH)

    def is_restored(self):
        return termios.tcgetattr(self.far) == self.modes

    def signal(self, number):
        os.kill(self.pid, number)

    def stopped(self):
        """Wait until it is: whether the terminal was then as before it began.  After that the shell has seen to it."""
        return self._shell_says(rb"stopped (\d)\n") == b"1"

    def go_on(self):
        os.write(self.shell, b"c")

    def end(self):
        """Wait for its end: its exit code, or the negative of the signal."""
        code = int(self._shell_says(rb"ended (-?\d+)\n"))
        self.process.end(0)
        while select.select([self.near], [], [], 0)[0]:
            self.pump(0)
        return code

    def close(self):
        for fd in (self.near, self.far, self.shell):
            os.close(fd)

