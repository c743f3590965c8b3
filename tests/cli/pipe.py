# tests/cli/pipe.py - `wherry pipe` from outside: what goes in comes out, ends pass both ways, and what commands
# inherit; cases for tests/cli/run.py.  How it is stopped and killed: pipe_stop.py.
#
# SPDX-License-Identifier: MIT
import hashlib
import os
import pathlib
import random
import re
import select
import signal
import socket
import subprocess

import run
import tap
from pipe_kit import ALL, descendants, own_port, parents, part, pipe, start, wait_gone, words_of
from run import one_line, same


# ---- what goes in comes out ----

def test_count(stage):
    """seq 1000000 into wc -l, over everything"""
    for link in ALL:
        same(pipe(stage, "seq 1000000", link, "wc -l").out, b"1000000\n", link)


def test_bytes(stage):
    """bytes arrive as they were: random ones, without a last newline, NULs, nothing at all, a single one"""
    samples = (random.Random(1).randbytes(3_000_001), b"a\nb", b"\0" * 70_000, b"", b"x", b"\n", b"\n\n\0")
    for link in ALL:
        for sample in samples:
            ran = pipe(stage, "cat", link, "cat", input=sample)
            same(hashlib.sha256(ran.out).digest() if len(sample) > 9 else ran.out,
                 hashlib.sha256(sample).digest() if len(sample) > 9 else sample, link)
            same(ran.err, b"")


def test_small_pieces(stage):
    """what is written in small pieces arrives while the writer goes on"""
    for link in ALL:
        process = start(stage, "cat", link, "cat", stdin=subprocess.PIPE)
        for i in range(20):
            before = len(process.out)
            process.write(b"%d\n" % i)
            process.read(lambda b=before: process.out[b:].endswith(b"\n"), f"line {i} by {link}")
        process.shut()
        same(process.end().out, b"".join(b"%d\n" % i for i in range(20)), link)


def test_long(stage):
    """many commands, links of all kinds among them"""
    data = random.Random(2).randbytes(1_000_000)
    words = ["cat"]
    for link in ALL:
        words += [link, "cat"]
    same(pipe(stage, *words, input=data).out, data)
    same(pipe(stage, "echo alone").out, b"alone\n")
    same(pipe(stage, "cat", input=data).out, data)


def test_given(stage):
    """an address that is given: paths, a port, a log that has something in it; and what there was stays"""
    port = own_port()
    data = random.Random(3).randbytes(300_000)
    for url in ("unix:./s", "unix:@wherry-test-" + stage.path.name, "unix+seqpacket:./s", "unix+dgram:./s", "fifo:./f",
                "unix:./s?frame=raw", f"tcp://127.0.0.1:{port}", f"udp://127.0.0.1:{port}", "shm://" + stage.path.name,
                "tcp://[::1]:0"):
        same(pipe(stage, "cat", f"={url}=", "cat", input=data).out, data, url)
        same(os.listdir(stage.path), [], f"what {url} left")
    stage.run_wherry("send", "file:./log", input=b"of before\n")
    stage.mine("log")
    same(pipe(stage, "cat", "=file:./log=", "cat", input=data).out, data, "a log")
    same(stage.run_wherry("recv", "--raw", "-c1", "file:./log").out, b"of before")
    name = f"posix-mq:/wherry-test-{stage.path.name}"
    stage.run_wherry("mk", "posix-mq", name.split(":")[1])
    try:
        same(pipe(stage, "cat", f"=mq://{name.split(':')[1]}=", "cat", input=data).out, data, "a queue")
        for word in ("=shm?capacity=4096=", "=fifo?writers=1=", "=file?retain_bytes=99999999=", "=mq?mode=0640=",
                     "=sysv?capacity=4096=", "=tcp?frame=raw="):
            same(pipe(stage, "cat", word, "cat", input=data).out, data, "options of what is made")
    finally:
        stage.run_wherry("rm", name)


def test_somebody_elses_messages(stage):
    """a queue in which something is already: that is said, and not passed off as what was sent"""
    name = f"wherry-test-{stage.path.name}"
    stage.run_wherry("mk", "posix-mq", f"/{name}")
    try:
        stage.run_wherry("send", f"mq:///{name}", input=b"not yours\n")
        ran = pipe(stage, "echo mine", f"=mq:///{name}=", "cat", code=125)
        one_line(ran, f"=mq:///{name}=: somebody else sends to mq:///{name}")
        same(b"not yours" in ran.out, False)
    finally:
        stage.run_wherry("rm", f"posix-mq:/{name}")


def state_of(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_loss(stage):
    """something of what was sent does not arrive, since somebody else took it: that is said, and no end like others"""
    name = f"wherry-test-{stage.path.name}"
    stage.run_wherry("mk", "posix-mq", f"/{name}")
    try:
        process = start(stage, "cat", f"=mq:///{name}=", "cat", stdin=subprocess.PIPE)
        run.wait_for(lambda: list(descendants(process.pid).values()).count("cat") == 2, "all to be there")
        receiver = part(descendants(process.pid), process, "receiver")
        process.write(b"before")
        process.read_out(6)
        os.kill(receiver, signal.SIGSTOP)
        # one that yet sleeps in the kernel would be handed the message there
        run.wait_for(lambda: state_of(receiver) == "T", "the receiver to be stopped")
        process.write(b"taken")
        same(stage.run_wherry("recv", "--raw", "-c1", "-w60", f"mq:///{name}").out, b"taken")
        os.kill(receiver, signal.SIGCONT)
        process.write(b"after")
        process.shut()
        one_line(process.end(125), rf"=mq:///{name}=: 5 of 16 bytes were lost on the way")
        same(process.out, b"beforeafter")
    finally:
        stage.run_wherry("rm", f"posix-mq:/{name}")


def test_many_at_once(stage):
    """eight that begin together, again and again: each makes a directory, though all look for what was left behind"""
    words = [stage.wherry, "pipe", "true", "=fifo=", "cat"]
    for _ in range(30):
        for process in [stage.start(*words) for _ in range(8)]:
            same(process.end().err, b"")


def test_strangers(stage):
    """where anybody may connect, strangers are shown out: foreign bytes, messages, one that stays; then all arrives"""
    data = random.Random(4).randbytes(200_000)
    port = own_port()
    for scheme in ("tcp", "udp"):
        process = start(stage, "cat", f"={scheme}://127.0.0.1:{port}=", "cat", stdin=subprocess.PIPE)
        run.wait_for(lambda p=process: list(descendants(p.pid).values()).count("cat") == 2, "all to be there")
        process.write(data)
        process.read_out(len(data))
        stays = socket.socket(type=socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM)
        stays.connect(("127.0.0.1", port))
        with socket.socket(type=stays.type) as other:
            other.connect(("127.0.0.1", port))
            other.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if scheme == "tcp":
                other.settimeout(tap.PATIENCE)
                try:
                    same(other.recv(1), b"", "what foreign bytes get")
                except ConnectionResetError:
                    pass
        stage.run_wherry("send", f"{scheme}://127.0.0.1:{port}", input=b"whole messages\nof a stranger\n", code=None)
        process.write(data)
        process.shut()
        same(process.end().out == 2 * data, True, f"whether all came by {scheme}, and nothing else")
        same(process.err, b"")
        stays.close()


# ---- ends and back-pressure ----

def test_reader_ends_early(stage):
    """a reader that ends early ends the writer, by SIGPIPE"""
    for link in ALL:
        ran = pipe(stage, "-v", "yes", link, "head -1")
        same(ran.out, b"y\n", link)
        one_line(ran, "pipe: 141 0$")


def test_reader_never_reads(stage):
    """a reader that reads nothing, and a writer that stops for that"""
    for link in ALL:
        one_line(pipe(stage, "-v", "yes", link, "true"), "pipe: 141 0$")


def written_by(pid):
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        return int(re.search(r"wchar: (\d+)", file.read()).group(1))


def test_back_pressure(stage):
    """while the reader does not read, the writer stops; then all arrives"""
    size = 30_000_000
    under_way = []
    for number, link in enumerate(ALL):  # all at the same time, for that they stand still takes time to see
        stage.fifo(f"gate{number}")
        process = start(stage, f"head -c {size} /dev/zero; touch done{number}", link,
                        f"read line < gate{number}; wc -c")
        run.wait_for(lambda p=process: "head" in descendants(p.pid).values(), "the writer")
        head = next(pid for pid, name in descendants(process.pid).items() if name == "head")
        under_way.append((number, link, process, head))
    heads, last = [head for *_, head in under_way], []

    def stand_still():
        last.append([written_by(head) for head in heads])
        select.select([], [], [], 0.05)
        return last[-4:] == [last[-1]] * 4 and 0 not in last[-1]

    run.wait_for(stand_still, "the writers to stop")
    for number, link, process, _ in under_way:
        same(os.path.exists(stage.path / f"done{number}"), False, f"whether all was taken by {link}")
        same(last[-1][number] < 8_000_000, True, f"bytes on their way, {last[-1][number]}, by {link}")
        (stage.path / f"gate{number}").write_bytes(b"go\n")
        same(process.end().out, b"%d\n" % size, link)
        stage.mine(f"done{number}")


def test_input_is_let_go(stage):
    """when the first command has ended, who writes to the pipeline sees it, though others run; and likewise behind"""
    process = start(stage, "head -1", "=shm=", "cat; sleep 300", stdin=subprocess.PIPE)
    process.write(b"first\n")
    process.read_out(6)

    def broken():
        try:
            process.write(b"more\n")
        except BrokenPipeError:
            return True
        return False

    run.wait_for(broken, "the pipe to break")
    process.popen.stdin = None
    process.signal(signal.SIGTERM)
    process.end(143)
    process = start(stage, "exec sleep 300 >&-", "exec sleep 300 >&-")
    run.wait_for(lambda: list(descendants(process.pid).values()).count("sleep") == 2, "both")
    process.read(lambda: process.popen.stdout.closed, "the end of its output")
    process.signal(signal.SIGTERM)
    process.end(143)


# ---- exit codes ----

def test_statuses(stage):
    """the exit code is the last one's, with --pipefail the last that failed; -v has all; as in bash"""
    stage.need("bash")
    for link in ("", "=shm=", "=tcp="):
        for commands in (["true", "true"], ["exit 3", "true"], ["true", "exit 4"], ["exit 3", "exit 4"],
                         ["exit 3", "exit 4", "true"], ["kill -9 $$", "cat"], ["true", "kill -15 $$"],
                         ["no-such-command", "cat"], ["yes", "true", "exit 7"], ["exit 255", "cat"]):
            text = " | ".join(f"sh -c '{c}' 2>/dev/null" for c in commands)
            stage.run("bash", "-c", f"{text}; echo ${{PIPESTATUS[@]}} > statuses")
            wanted = stage.mine("statuses").read_text().strip()
            words = [w for c in commands for w in (link, c)][1:]
            statuses = list(map(int, wanted.split()))
            for flags, code in ((["-v"], statuses[-1]),
                                (["-v", "--pipefail"], next((s for s in reversed(statuses) if s), 0))):
                ran = pipe(stage, *flags, *words, code=code)
                same(ran.err.decode().splitlines()[-1], f"wherry: pipe: {wanted}", str(words))


def test_cannot_start(stage):
    """a link that cannot be made: no command is run, and nothing is left"""
    with stage.listen("taken"), socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for link, said in (("=unix:./no/such/place=", "does not exist"), ("=unix:./taken=", "listening there"),
                           ("=fifo:./no/such/f=", ""),
                           (f"=tcp://127.0.0.1:{port}=", ""), ("=shm://a/b=", "slash")):
            for words in ([link], ["=shm=", "cat", link], [link, "cat", "=sysv="]):
                ran = pipe(stage, "touch ran", *words, "touch ran", code=125)
                one_line(ran, re.escape(link.strip("=")) + ".*" + re.escape(said))
                same(sorted(os.listdir(stage.path)), ["taken"], f"what is left after {words}")
        stage.mine("taken")


def test_nowhere_to_be(stage):
    """without $XDG_RUNTIME_DIR, where /tmp cannot be written to: the line says what to set"""
    script = ('mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp && unset XDG_RUNTIME_DIR && '
              'exec "$0" pipe true =shm= true')
    words = [stage.need("unshare"), "-m" if os.getuid() == 0 else "-rm", "sh", "-c", script, stage.wherry]
    one_line(stage.run(*words, code=125), "made in /tmp: .*; set XDG_RUNTIME_DIR")


def test_no_descriptors(stage):
    """too few descriptors: a line, and nothing is left; at every limit until it works"""
    worked = 0
    for limit in range(6, 60):
        words, env = words_of(stage, "cat", "=shm=", "cat", "=tcp=", "cat", "cat")
        poor = ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", stage.wherry]
        ran = stage.run(*poor, *words, code=None, env=env, input=b"x\n")
        same(ran.popen.returncode in (0, 1, 125), True, f"exit code {ran.popen.returncode} at {limit}: {ran.err}")
        if ran.popen.returncode == 0:
            worked += 1
            same((ran.out, ran.err), (b"x\n", b""), f"at {limit}")
        else:
            same(ran.err.startswith(b"wherry: "), True, f"a line at {limit}: {ran.err}")
            same(worked, 0, f"times that it worked with less than {limit}")
        same(os.listdir(stage.path), [], f"what is left at {limit}")
        if worked == 3:
            return
    raise tap.Failure("it never worked")


def test_mistakes(stage):
    """wrong command lines"""
    for words, said in (([], "expects"), (["=shm=", "cat"], "between two"), (["cat", "=shm="], "between two"),
                        (["a", "=shm=", "=tcp=", "b"], "between two"), (["a", "=nope=", "b"], "no transport"),
                        (["a", ""], "empty"), (["a", "==", "b"], "scheme"), (["a", "=fd=", "b"], "descriptor"),
                        (["a", "=fd:3=", "b"], "descriptor"), (["a", "=pipe:=", "b"], "=pipe="),
                        (["a", "=ip=", "b"], "give one"), (["a", "=pipe?x=", "b"], "options"),
                        (["a", "=unix:./s?listen=", "b"], "listens"),
                        (["a", "=unix:./s?frame=line=", "b"], "frame=raw"),
                        (["a", "=tcp?frame=nul=", "b"], "frame=raw"), (["-w", "x", "a"], "duration")):
        words, env = words_of(stage, *words) if "" not in words else (["pipe", *words], None)
        one_line(stage.run_wherry(*words, code=2, env=env), re.escape(said))
        same(os.listdir(stage.path), [], f"what {words} left")


# ---- what a shell would hand on ----

def test_what_commands_inherit(stage):
    """descriptors, ignored signals, the blocked ones, the environment and the directory are as the caller left them"""
    near, far = os.pipe()
    os.write(far, b"by descriptor\n")
    os.close(far)
    same(pipe(stage, f"cat <&{near}", "=shm=", "cat", pass_fds=[near]).out, b"by descriptor\n")
    os.close(near)
    listed = pipe(stage, "ls /proc/self/fd", "=unix=", "cat").out.split()
    same(listed, [b"0", b"1", b"2", b"3"], "its descriptors, and ls's own")

    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])

    wanted = stage.run("sh", "-c", "grep 'Sig[BI]' /proc/self/status", preexec_fn=ignore).out
    same(pipe(stage, "grep 'Sig[BI]' /proc/self/status", "=shm=", "cat", preexec_fn=ignore).out, wanted, "signals")
    same(pipe(stage, "pwd; echo $HOME", "=tcp=", "cat").out.decode(), f"{stage.path}\n{os.environ.get('HOME', '')}\n")
    ran = pipe(stage, "-v", "yes", "=shm=", "head -1", preexec_fn=ignore)
    same(ran.out, b"y\n", "where SIGPIPE is ignored")
    same(ran.err.decode().splitlines()[-1], "wherry: pipe: 1 0")


def test_left_in_the_background(stage):
    """what a command leaves in the background is not waited for, and lives on"""
    ran = pipe(stage, "sleep 300 > /dev/null 2>&1 & echo $!", "=shm=", "cat")
    pid = int(ran.out)
    same(pid in parents(), True, "whether it lives")
    os.kill(pid, signal.SIGKILL)
    wait_gone([pid])
