# tests/cli/run_init.py - `wherry run -- COMMAND` from outside, side by side with Debian's tini where it is installed.
#
# SPDX-License-Identifier: MIT
import ctypes
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time

import tap
from run import one_line, same, wait_for
from run_kit import alive, children_of, no_children, read_terminal


def inits(stage):
    """Ours, and tini; each with its name."""
    return [("wherry", [stage.wherry, "run"])] + ([("tini", ["tini", "-s"])] if shutil.which("tini") else [])


def need_tini(stage):
    return stage.need("tini")


def namespace(stage, *words):
    """As PID 1 of a namespace with its own /proc."""
    stage.need("unshare")
    if os.geteuid() != 0:
        raise tap.Skip("needs root to make a PID namespace")
    return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *words]


def both(stage, check):
    """The same of each; that tini is missing is no success."""
    for name, words in inits(stage):
        try:
            check(name, words)
        except tap.Failure as failure:
            raise tap.Failure(f"{name}: {failure}") from None
    need_tini(stage)


def child_of(process, program=None):
    """The pid of its child, once there is one (of this program)."""
    def find():
        for pid in children_of(process.pid):
            try:
                if program is None or os.readlink(f"/proc/{pid}/exe").split("/")[-1].startswith(program):
                    return pid
            except OSError:
                pass
        return None
    return wait_for(find, f"a child of {process}")


def queue_signal(pid, number, value):
    """sigqueue(3), which Python has not."""
    if ctypes.CDLL(None).sigqueue(pid, int(number), ctypes.c_void_p(value)) != 0:
        raise tap.Failure("sigqueue failed")


ECHO_SIGNALS = """
import os, signal, sys
numbers = [n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD,
           signal.SIGTTIN, signal.SIGTTOU, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL,
           signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT)]
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("ready", flush=True)
while True:
    info = signal.sigwaitinfo(numbers)
    print(int(info.si_signo), flush=True)
    if info.si_signo == signal.SIGTERM:
        sys.exit(42)
"""


def test_exit_codes(stage):
    """the command's exit status is ours: 0 to 255, and 128 and the signal"""
    def check(_, words):
        for code in (0, 1, 7, 126, 127, 255):
            stage.run(*words, "--", "sh", "-c", f"exit {code}", code=code)
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1, signal.SIGINT):
            stage.run(*words, "--", "sh", "-c", f"kill -{int(number)} $$", code=128 + number)
    both(stage, check)


def test_what_cannot_be_run(stage):
    """no such program is 127, one that cannot be executed 126, and a line says so"""
    stage.write("text", b"no program\n")

    def check(_, words):
        stage.run(*words, "--", "/nonexistent/program", code=127)
        stage.run(*words, "--", "no-such-program-anywhere", code=127)
        stage.run(*words, "--", str(stage.path / "text"), code=126)
    one_line(stage.run_wherry("run", "--", "/nonexistent/program", code=127), "run: /nonexistent/program: ")
    one_line(stage.run_wherry("run", "--", "./text", code=126), "run: ./text: ")
    both(stage, check)


def test_arguments(stage):
    """what stands behind -- is the command's, whatever it looks like"""
    def check(_, words):
        same(stage.run(*words, "--", "printf", "%s|", "-v", "--", "", "a b").out, b"-v|--||a b|")
    both(stage, check)


def test_every_signal(stage):
    """every signal that can be is passed on to the command, in a PID namespace and outside"""
    skipped = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU, signal.SIGSEGV,
               signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT,
               signal.SIGTERM}
    numbers = [n for n in signal.valid_signals() if n not in skipped]

    def passes_all(process, pid):
        process.read(lambda: b"ready\n" in process.out, "ready")
        for number in numbers:
            before = process.out
            os.kill(pid, number)
            process.read(lambda: process.out != before and process.out.endswith(b"\n"), f"signal {number}")
            same(process.out[len(before):], b"%d\n" % number)
        os.kill(pid, signal.SIGTERM)

    def check(_, words):
        process = stage.start(*words, "--", sys.executable, "-c", ECHO_SIGNALS)
        passes_all(process, process.pid)
        process.end(42)
        if os.geteuid() == 0:
            process = stage.start(*namespace(stage, *words, "--", sys.executable, "-c", ECHO_SIGNALS))
            passes_all(process, child_of(process))
            process.end(42)
    both(stage, check)


def test_value(stage):
    """a real-time signal is passed on with its value"""
    script = """
import ctypes, signal
n = signal.SIGRTMIN + 2
signal.pthread_sigmask(signal.SIG_BLOCK, [n])
print("ready", flush=True)
mask, info = ctypes.c_uint64(1 << (n - 1)), (ctypes.c_int * 32)()
assert ctypes.CDLL(None).sigwaitinfo((ctypes.c_uint64 * 16)(mask.value), info) == n
print(info[6], flush=True)
"""
    process = stage.start_wherry("run", "--", sys.executable, "-c", script)
    process.read_out(6)
    queue_signal(process.pid, signal.SIGRTMIN + 2, 4711)
    process.end()
    same(process.out, b"ready\n4711\n")


def test_group(stage):
    """-g passes signals on to the whole process group of the command"""
    script = "trap 'echo one' USR1; (trap 'echo two; exit' USR1; echo ready; while :; do sleep 0.01; done) & " \
             "wait; wait; exit 5"

    def check(_, words):
        for group in (True, False):
            process = stage.start(*words, *(["-g"] if group else []), "--", "sh", "-c", script)
            process.read(lambda: b"ready\n" in process.out, "ready")
            process.signal(signal.SIGUSR1)
            if group:
                process.end(5)
                same(sorted(process.out.split()), [b"one", b"ready", b"two"])
            else:
                process.read(lambda: b"one\n" in process.out, "one")
                same(b"two" in process.out, False)
                os.killpg(child_of(process), signal.SIGKILL)
                process.end(128 + 9)
                wait_for(no_children, "the rest of the group to be gone")
    both(stage, check)


def test_orphans(stage):
    """as PID 1: 200 orphans are waited for while the command runs, and none stays a zombie"""
    script = ("for i in $(seq 200); do (sh -c 'exit 0' & exec true) & done; wait; "
              "for i in $(seq 200); do n=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l); "
              "[ $n = 0 ] && break; sleep 0.05; done; echo $n; exit 9")

    def check(_, words):
        same(stage.run(*namespace(stage, *words, "--", "sh", "-c", script), code=9).out, b"0\n")
    both(stage, check)


def test_orphans_outside(stage):
    """h65: not PID 1: orphans become ours, are waited for, and ended with the command; tini leaves them running"""
    script = "setsid sh -c 'echo $$ >>pids; exec sleep 100' & (sh -c 'echo $$ >>pids; exec sleep 100' &) ; " \
             "while [ $(cat pids 2>/dev/null | wc -l) -lt 2 ]; do sleep 0.01; done; exit 3"
    stage.mine("pids")
    stage.run_wherry("run", "--", "sh", "-c", script, code=3)
    for pid in (stage.path / "pids").read_text().split():
        same(os.path.exists(f"/proc/{pid}"), False, f"that process {pid} is there")


def test_deaf_leftovers(stage):
    """who is left and ignores SIGTERM is killed; at once when another SIGTERM comes"""
    script = ("(trap '' TERM; echo deaf; while :; do sleep 100; done) & "
              "(trap 'echo told; exit' TERM; echo there; while :; do sleep 100 & wait; done) & read go; exit 3")

    def seconds():
        process = stage.start_wherry("run", "--", "sh", "-c", script, stdin=subprocess.PIPE)
        process.read(lambda: b"deaf" in process.out and b"there" in process.out, "both")
        process.write(b"go\n")
        process.read(lambda: b"told" in process.out, "that the command has ended")  # before, it would get the signal
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        process.end(3)
        return time.monotonic() - began
    # they have ten seconds otherwise; a machine that stands still may take as long, but not each time
    same(any(seconds() < 8 for _ in range(3)), True, "that it took less than they have")


def test_killed(stage):
    """h63: SIGKILL of ours kills the command"""
    process = stage.start_wherry("run", "--", "sh", "-c", "echo $$; exec sleep 100")
    process.read(lambda: b"\n" in process.out, "its pid")
    child = int(process.out)
    process.signal(signal.SIGKILL)
    process.end(-signal.SIGKILL)
    # it is a child of the test's runner by now
    wait_for(lambda: os.waitpid(child, os.WNOHANG)[0] == child, "the command to be killed")


def test_what_is_inherited(stage):
    """descriptors, ignored and blocked signals are the command's as they were ours; close-on-exec is kept"""
    read, write = os.pipe()
    script = ("import os, sys\nos.write(%d, b'told\\n')\n" % write +
              "print(*[l for l in open('/proc/self/status') if l[:6] in ('SigIgn', 'SigBlk')], input())")

    def before():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])

    def masks(data):
        return {name: int(mask, 16) for name, mask in re.findall(rb"Sig(Ign|Blk):\s*(\w+)", data)}

    def check(_, words):
        done = stage.run(*words, "--", sys.executable, "-c", script, input=b"typed\n", pass_fds=[write],
                         preexec_fn=before)
        same(os.read(read, 100), b"told\n")
        same(done.out.endswith(b"typed\n"), True, "that standard input went through")
        same(masks(done.out)[b"Blk"], 1 << (signal.SIGUSR1 - 1))
        same(masks(done.out)[b"Ign"] & (1 | 1 << (signal.SIGUSR2 - 1)), 1 | 1 << (signal.SIGUSR2 - 1))
    try:
        both(stage, check)
    finally:
        os.close(read)
        os.close(write)


def test_all_of_it_is_inherited(stage):
    """however many descriptors there are, and also an ignored SIGCHLD, which we do without ignoring it"""
    script = "import os\nprint(*os.listdir('/proc/self/fd'))\nprint(open('/proc/self/status').read())"

    def before():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    fds = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(400)]
    try:
        out = stage.run_wherry("run", "--", sys.executable, "-c", script, pass_fds=fds, preexec_fn=before).out.decode()
        stage.run_wherry("run", "--", "sh", "-c", "exit 7", preexec_fn=before, code=7)
    finally:
        for fd in fds:
            os.close(fd)
    same(sorted({str(fd) for fd in fds} - set(out.splitlines()[0].split())), [], "the descriptors that are missing")
    for name in ("Ign", "Blk"):
        mask = int(re.search(rf"Sig{name}:\s*(\w+)", out).group(1), 16)
        same(mask >> (signal.SIGCHLD - 1) & 1, 1, f"SIGCHLD in Sig{name}")


def test_nohup(stage):
    """a signal that was ignored when it began stays so"""
    process = stage.start_wherry("run", "--", "sh", "-c", "echo ready; exec sleep 0.3",
                                 preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.read_out(6)
    process.signal(signal.SIGHUP)
    process.end(0)


def test_stop_as_pid_1(stage):
    """as PID 1: SIGTERM goes to the command, whose status is ours; what lingers is ended, and nobody is left"""
    script = "trap 'echo got; exit 5' TERM; setsid sleep 100 & echo ready; while :; do sleep 0.01; done"

    def check(_, words):
        process = stage.start(*namespace(stage, *words, "--", "sh", "-c", script))
        process.read(lambda: b"ready\n" in process.out, "ready")
        os.kill(child_of(process), signal.SIGTERM)
        process.end(5)
        same(process.out, b"ready\ngot\n")
    both(stage, check)


def test_time_out(stage):
    """-w stops the command, and the exit code is 3"""
    done = stage.run_wherry("run", "-w", "0.2", "--", "sleep", "100", code=3)
    one_line(done, "run: the time")


# ---- a terminal ----

class Terminal:
    """A shell's part: a session of its own on a pseudo-terminal, and a program in its foreground."""

    def __init__(self, words, path):
        self.master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self.report, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.close(self.master)
            os.dup2(os.open(os.ttyname(slave), os.O_RDWR), 0)
            os.dup2(0, 1)
            os.dup2(0, 2)
            os.chdir(path)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            self.shell(words, told)
        os.close(slave)
        os.close(told)
        self.text = b""

    @staticmethod
    def shell(words, told):
        """Start it in the foreground; report each time that it stops, and put it there again; end as it does."""
        program = os.fork()
        if program == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.execvp(words[0], words)
        while True:
            _, status = os.waitpid(program, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                os.tcsetpgrp(0, os.getpgrp())
                os._exit(os.waitstatus_to_exitcode(status) % 256)
            os.write(told, b"stopped\n")
            os.tcsetpgrp(0, program)
            os.killpg(program, signal.SIGCONT)

    def read_until(self, what):
        self.text = read_terminal(self.master, self.text, re.escape(what))

    def type(self, data):
        os.write(self.master, data)

    def end(self, code):
        _, status = os.waitpid(self.pid, 0)
        os.close(self.master)
        stops = os.read(self.report, 100)
        os.close(self.report)
        same(os.waitstatus_to_exitcode(status), code, "the exit code")
        return stops


READ_LINES = "echo ready; read line; echo got $line; read line; echo got $line; exit 6"


def test_terminal(stage):
    """on a terminal the command is in the foreground: it reads what is typed, and Ctrl-C is its alone"""
    def check(_, words):
        terminal = Terminal([*words, "--", "sh", "-c", READ_LINES], stage.path)
        terminal.read_until(b"ready")
        terminal.type(b"one\n")
        terminal.read_until(b"got one")
        terminal.type(b"two\n")
        terminal.read_until(b"got two")
        same(terminal.end(6), b"")
        script = "trap 'echo interrupted; exit 4' INT; echo ready; while :; do sleep 0.01; done"
        terminal = Terminal([*words, "--", "sh", "-c", script], stage.path)
        terminal.read_until(b"ready")
        terminal.type(b"\x03")
        terminal.read_until(b"interrupted")
        same(terminal.end(4), b"")
    both(stage, check)


def test_terminal_stop(stage):
    """Ctrl-Z stops the command and us, so that the shell learns of it, and both go on together"""
    terminal = Terminal([stage.wherry, "run", "--", "sh", "-c", READ_LINES], stage.path)
    terminal.read_until(b"ready")
    terminal.type(b"one\n")
    terminal.read_until(b"got one")
    terminal.type(b"\x1a")
    same(os.read(terminal.report, 8), b"stopped\n")
    terminal.type(b"two\n")
    terminal.read_until(b"got two")
    same(terminal.end(6), b"")


def test_terminal_as_a_session(stage):
    """with nobody who could continue it, as in a container, Ctrl-Z does not stop the command for ever"""
    def shell(words, told):
        os.execvp(words[0], words)
    terminal = Terminal.__new__(Terminal)
    terminal.shell = shell
    Terminal.__init__(terminal, [stage.wherry, "run", "--", "sh", "-c", READ_LINES], stage.path)
    terminal.read_until(b"ready")
    terminal.type(b"\x1a")
    terminal.type(b"one\n")
    terminal.read_until(b"got one")
    terminal.type(b"two\n")
    terminal.read_until(b"got two")
    terminal.end(6)


def test_background(stage):
    """without a terminal, and with standard descriptors closed, it runs all the same"""
    stage.run("setsid", "-w", stage.wherry, "run", "--", "sh", "-c", "exit 3", code=3)
    stage.run("sh", "-c", '"$0" run -- sh -c "exit 3" <&- >&-', stage.wherry, code=3)


def test_misuse(stage):
    """what cannot be meant is refused in one line"""
    for words, said in ((["--"], "no command follows --"), (["-f", "x", "--", "true"], "alone"), (["-g"], "-g is for"),
                        (["a=true", "--", "true"], "alone"), (["--status", "--", "true"], "alone")):
        one_line(stage.run_wherry("run", *words, code=2), said, "try 'wherry run --help'")
