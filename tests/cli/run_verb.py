# tests/cli/run_verb.py - `wherry run` from outside: its file, the options of units, their order and their ends.
#
# SPDX-License-Identifier: MIT
import os
import pathlib
import re
import signal
import socket
import sys

import tap
from run import one_line, same, wait_for
from run_kit import alive, finish, home, lines_of, procfile, run, start


def wait_lines(stage, name, count):
    stage.mine(name)
    return wait_for(lambda: lines_of(stage, name)[count - 1:] and lines_of(stage, name), f"{count} lines in {name}")


def said(process, pattern):
    if not re.search(pattern, process.err.decode()):
        raise tap.Failure(f"{process}: {process.err.decode()!r} does not say {pattern!r}")


# ---- the file ----

def test_procfile(stage):
    """any Procfile: comments, blank lines, \\r, no newline at the end; whole lines with the unit's name come out"""
    procfile(stage, b"# two units\r\n\r\nweb: printf 'a\\nb\\n'\r\nworker-1:echo c\n\n  # the end\nx_2: printf d")
    same(sorted(run(stage).out.splitlines()), [b"web      | a", b"web      | b", b"worker-1 | c", b"x_2      | d"])


def test_which_file(stage):
    """./Procfile or ./wherry.run; both or neither is said; -f and - say which; a file's directory is the units'"""
    one_line(run(stage, code=2), "neither ./Procfile nor ./wherry.run", "NAME=CMD")
    stage.write("wherry.run", b"a: echo own\n")
    same(run(stage).out, b"a | own\n")
    procfile(stage, "a: echo proc\n")
    one_line(run(stage, code=2), "both there", "-f")
    same(run(stage, "-f", "wherry.run").out, b"a | own\n")
    same(run(stage, "-f", "-", input=b"a: echo typed\n").out, b"a | typed\n")
    one_line(run(stage, "-f", "nothing.here", code=1), "nothing.here: No such file")
    (stage.path / "sub").mkdir()
    stage.write("sub/units", b"a: pwd\nb: pwd\n  dir ..\n")
    same(sorted(run(stage, "-f", "sub/units").out.splitlines()),
         [b"a | %s/sub" % os.fsencode(stage.path), b"b | %s" % os.fsencode(stage.path)])


def test_operands(stage):
    """units of the command line, alone and beside a file's"""
    same(sorted(run(stage, "one=echo 1", "two=echo a=b").out.splitlines()), [b"one | 1", b"two | a=b"])
    procfile(stage, "three: echo 3\n")
    same(run(stage, "one=echo 1").out, b"one | 1\n")
    same(sorted(run(stage, "one=echo 1", "-f", "Procfile").out.splitlines()), [b"one   | 1", b"three | 3"])
    one_line(run(stage, "three=echo 1", "-f", "Procfile", code=2), "Procfile:1:1: there is a unit three already")
    one_line(run(stage, "one", code=2), "write NAME=CMD")
    one_line(run(stage, "one= ", code=2), "behind the = belongs a command")


MISTAKES = [  # the file; where; what is said
    ("web ./server\n", "1:4", "a unit begins with its name"),
    ("-web: ./server\n", "1:1", "a unit begins with its name"),
    ("web: a\n\nweb: b\n", "3:1", "there is a unit web already, in line 2"),
    ("web:   \n", "1:5", "behind \"web:\" belongs a command"),
    ("web: a\nrestart always\n", "2:1", "blanks before it"),
    ("web: a\n  restat always\n", "2:3", "there is no option restat: write after, .* or user"),
    ("web: a\n  db: b\n", "2:3", "the name of a unit begins its line"),
    ("web: a\n  restart\n", "2:10", "something is missing: write \"restart never"),
    ("web: a\n  restart often\n", "2:11", "often: write never, on-failure or always"),
    ("web: a\n  restart always now\n", "2:18", "now is too much"),
    ("web: a\n  restart always\n  restart never\n", "3:3", "web has restart already"),
    ("web: a\n  after\n", "2:8", "something is missing"),
    ("web: a\n  after  db\ndb: b\n  after web\n", "2:10",
     "web needs db, which needs web: none of them could ever start"),
    ("a: a\n  after b\nb: b\n  after c\nc: c\n  after a\n", "[246]:9", "needs ., which needs ., which needs ."),
    ("web: a\n  after  dd db\ndb: b\n", "2:10", "there is no unit dd; the units are first, web, db"),
    ("web: a\n  after web\n", "2:9", "cannot start after itself"),
    ("web: a\n  ready soon\n", "2:9", "soon is no way to be ready: write notify, fd"),
    ("web: a\n  ready fd 2\n", "2:12", "2 is no whole number from 3 to 1023"),
    ("web: a\n  ready notify 3\n", "2:16", "3: write"),
    ("web: a\n  ready http://x\n", "2:9", "http://x is no way to be ready"),
    ("web: a\n  ready pipe:\n", "2:9", "nobody listens who could answer"),
    ("web: a\n  ready tcp://127.0.0.1\n", "2:9", "port"),
    ("web: a\n  ready unix:./x?fram=line\n", "2:9", "fram"),
    ("web: a\n  ready-timeout 3 parsecs\n", "2:19", "parsecs is too much"),
    ("web: a\n  ready-timeout 3p\n", "2:17", "3p is no duration"),
    ("web: a\n  backoff 2s 1s\n", "2:14", "1s is less than 2s"),
    ("web: a\n  backoff 0\n", "2:11", "0 is no time at all"),
    ("web: a\n  limit 64\n", "2:9", "64 is no whole number from 1 to 63"),
    ("web: a\n  stop TREM 1s\n", "2:8", "there is no signal TREM"),
    ("web: a\n  stop TERM soon\n", "2:13", "soon is no duration"),
    ("web: a\n  reload 0\n", "2:10", "there is no signal 0"),
    ("web: a\n  reload KILL\n", "2:10", "KILL: no program can handle this signal: it would die .* HUP, USR1"),
    ("web: a\n  reload 19\n", "2:10", "19: no program can handle this signal: it would stand still"),
    ("web: a\n  env PATH\n", "2:7", "write \"env NAME=VALUE\""),
    ("web: a\n  user nobody-of-this-name\n", "2:8", "there is no user nobody-of-this-name"),
    ("web: a\n  rlimit files 3\n", "2:10", "there is no limit files: write nofile"),
    ("web: a\n  rlimit nofile\n", "2:16", "something is missing: write \"rlimit NAME SOFT"),
    ("web: a\n  rlimit nofile few\n", "2:17", "few is no limit: write a whole number, .* \"rlimit nofile 1024:4096\""),
    ("web: a\n  rlimit nofile 1k:2\n", "2:17", "1k is no limit: write a whole number, without a unit"),
    ("web: a\n  rlimit nofile 1:2:3\n", "2:19", "2:3 is no limit"),
    ("web: a\n  rlimit nofile -\n", "2:17", "- is no limit"),
    ("web: a\n  rlimit nofile 4:3\n", "2:17", "4:3: the soft limit, before the colon, is over the hard one"),
    ("web: a\n  rlimit nofile unlimited:3\n", "2:17", "unlimited:3: the soft limit"),
    ("web: a\n  rlimit nofile -1\n", "2:17", "-1 is out of range: write a number from 0 to 9223372036854775807"),
    ("web: a\n  rlimit core 3:9223372036854775808\n", "2:17", "9223372036854775808 is out of range"),
    ("web: a\n  rlimit nofile :5\n", "2:17", ":5: a number is missing before the colon"),
    ("web: a\n  rlimit nofile 5:\n", "2:19", "5:: a number is missing behind the colon"),
    ("web: a\n  cgroup /nonexistent/group\n", "2:10", "No such file or directory: make the cgroup"),
    ("web: a\n  pidns yes\n", "2:9", "yes is too much"),
    ("web: a\n  ready exit\n  restart always\n", "3:3", "cannot be restarted always"),
    ("web: a\n\n\nb: x\0y\n", "4:5", "a byte of 0"),
    ("x" * 64 + ": a\n", "1:1", "at most 63 characters"),
]


def test_mistakes(stage):
    """a mistake in the file: one line that names file, line, column and what to write; nothing is started"""
    for text, where, what in MISTAKES:
        procfile(stage, "first: echo started >>log\n" + text)
        line, column = where.rsplit(":", 1)
        number = "".join(str(int(c) + 1) if c.isdigit() else c for c in line)
        done = run(stage, code=2)
        one_line(done, rf"^wherry: run: Procfile:{number}:{column}: ", what.replace("(", r"\("))
        same(lines_of(stage, "log"), [], f"what was started in spite of {text!r}")
    procfile(stage, "  restart always\nweb: a\n")
    one_line(run(stage, code=2), "Procfile:1:3: an option belongs to the unit above it")
    for text in ("", "# nothing\n"):
        procfile(stage, text)
        one_line(run(stage, code=2), "Procfile: there is no unit in it")


def test_byte_order_mark(stage):
    """a byte order mark before the first line is nothing; columns are counted behind it"""
    procfile(stage, b"\xef\xbb\xbfu: echo first\nv: echo second\n")
    same(sorted(run(stage).out.splitlines()), [b"u | first", b"v | second"])
    procfile(stage, b"\xef\xbb\xbfu echo first\n")
    one_line(run(stage, code=2), "Procfile:1:2: a unit begins with its name")
    procfile(stage, b"\xef\xbb\xbf")
    one_line(run(stage, code=2), "Procfile: there is no unit in it")


def test_comments(stage):
    """comments behind options; a value or a path is the rest of its line, whatever is in it"""
    (stage.path / "a # b").mkdir()
    procfile(stage, "u: echo \"$V\"; pwd # a comment of the shell's\n  restart never # why\n\t# alone\n"
                    "  env V=x # y\n  dir a # b\n")
    same(run(stage).out.decode(), f"u | x # y\nu | {stage.path}/a # b\n")


def test_blanks_at_the_end(stage):
    """blanks at the end of a line are a value's, a path's and the shell's, and nothing to other lines; a \\r is not"""
    (stage.path / "d ").mkdir()
    for end in ("\n", "\r\n"):
        procfile(stage, end.join(["u: printf '[%s]' \"$A\" \"$B\" c\\ ; echo \"[$PWD]\" \t", "  restart never \t",
                                  " \t", "# \t", "  dir d ", "  env A=x  ", "  env B=\ty # z \t", ""]))
        same(run(stage).out.decode(), f"u | [x  ][\ty # z \t][c ][{stage.path}/d ]\n")
    procfile(stage, "u: echo \t\n  env \t\n")
    one_line(run(stage, code=2), "Procfile:2:6: something is missing: write \"env NAME=VALUE\"")
    procfile(stage, "u: echo a\\ ")
    same(run(stage).out, b"u | a \n")


def test_readme(stage):
    """the file in the README does what it says"""
    text = (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text()
    block = re.search(r"^    # \./Procfile.*?(?=\n\n)", text, re.M | re.S).group(0)
    procfile(stage, re.sub(r"^    ", "", block, flags=re.M))
    stage.write("database", b"#!%s\nimport socket, sys, time\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[2])\n"
                            b"s.listen()\ntime.sleep(100)\n" % os.fsencode(sys.executable))
    stage.write("server", b"#!/bin/sh\necho \"$@\"; ls db.sock; exec sleep 100\n")
    stage.mine("db.sock")
    for name in ("database", "server"):
        os.chmod(stage.path / name, 0o755)
    process = start(stage)
    process.read(lambda: process.out.count(b"\n") == 2, "the server to begin")
    same(process.out, b"web | --port 5000\nweb | db.sock\n")
    finish(process)


def test_later_lines_in_sentences(stage):
    """a line number is that of the file"""
    procfile(stage, "a: b\n" * 1 + "# x\n" * 998 + "c d\n")
    one_line(run(stage, code=2), "Procfile:1000:2: a unit begins")


# ---- commands ----

COMMANDS = [  # the command; what it prints; whether the shell is gone
    ("echo a b", "a b", True),
    ("X=1 Y='2 3' sh -c 'echo $X-$Y'", "1-2 3", True),
    ("X=5; echo $X", "5", False),
    ("cd / && pwd", "/", False),
    ("echo a | tr a b", "b", False),
    ("echo 'a; b' \"c | d\" e\\;f", "a; b c | d e;f", True),
    ("ls /nonexistent 2>&1 >/dev/null | wc -l", "1", False),
    ("sh -c 'echo err >&2' 2>&1", "err", True),
    ("for i in 1 2; do printf $i; done; echo", "12", False),
    ("if true; then echo yes; fi", "yes", False),
    ("(echo sub)", "sub", False),
    ("{ echo group; }", "group", False),
    ("exec echo self", "self", True),
    ("echo $(echo inner; echo more)", "inner more", False),
    ("echo `echo back`", "back", False),
    ("echo a # b; c", "a", False),
    ("eval 'echo evaluated'", "evaluated", False),
    (": nothing", "", False),
    ("echo \"$(echo 'x;y')\"", "x;y", True),
]


def test_commands(stage):
    """commands mean what sh says they mean; a simple one is the program itself, so that signals reach it"""
    for command, printed, _ in COMMANDS:
        procfile(stage, f"u: {command}\n")
        same(run(stage).out.decode(), f"u | {printed}\n" if printed else "", command)
    for command, is_program in (("sleep 100", True), ("X=1 sleep 100 >/dev/null", True), ("sleep 99 & wait", False)):
        procfile(stage, f"u: {command}\n")
        process = start(stage, "-v")
        process.read(lambda: b"ready, pid" in process.err, "ready")
        pid = int(re.search(rb"ready, pid (\d+)", process.err).group(1))
        wait_for(lambda: is_program == (os.readlink(f"/proc/{pid}/exe").split("/")[-1] in ("sleep", "coreutils")),
                 f"the first process of {command} to be the program: {is_program}")
        process.signal(signal.SIGTERM)
        process.end(0)


# ---- the options of units ----

def test_env_dir_rlimit(stage):
    """env, dir and rlimit; a unit's own variables come before those that were there; standard input is empty"""
    (stage.path / "sub dir").mkdir()
    procfile(stage, "u: echo \"$A-$B-$C\"; pwd; ulimit -Sn; ulimit -Hn; cat; echo end\n  env A=1 2  3\n"
                    "  env B=new\n  dir sub dir\n  rlimit nofile 64:128\n  rlimit core 0\n")
    done = run(stage, env=dict(home(stage), B="old", C="kept"), input=b"typed\n")
    same(done.out.decode().splitlines(),
         ["u | 1 2  3-new-kept", f"u | {stage.path}/sub dir", "u | 64", "u | 128", "u | end"])


def test_user(stage):
    """user: another uid with its groups, and its HOME; who may not become another is told so"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root to become somebody else")
    procfile(stage, "u: id -u; id -un; id -G; echo $HOME $USER\n  user nobody\n")
    out = run(stage).out.decode().splitlines()
    same(out[:2], ["u | 65534", "u | nobody"])
    same(out[3], "u | /nonexistent nobody")
    os.chmod(stage.path, 0o755)
    stage.need("setpriv")
    procfile(stage, "u: id -u\n  user root\n")
    (stage.path / "theirs").mkdir(mode=0o700)
    os.chown(stage.path / "theirs", 65534, 65534)
    done = stage.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", stage.wherry, "run", code=1,
                     env=dict(os.environ, XDG_RUNTIME_DIR=str(stage.path / "theirs")))
    said(done, "run: u: failed: /bin/sh: .*CAP_SETGID")


def test_cgroup_and_pidns(stage):
    """cgroup: the unit is in it; pidns: it is PID 1 there, and what left its session ends with it"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root for cgroups and PID namespaces")
    mounts = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
    groups = next((p for p in mounts if os.path.exists(p + "/cgroup.procs")), None)
    stage.mine("pid")
    procfile(stage, "u: setsid sleep 100 & echo $$; sleep 0.1\n  pidns\n")
    same(run(stage).out, b"u | 1\n")
    if groups is None or not os.access(groups, os.W_OK):
        raise tap.Skip("no cgroup of version 2 is mounted where this user may make one")
    group = f"{groups}/wherry-test-{os.getpid()}"
    try:
        os.mkdir(group)
    except OSError as error:
        raise tap.Skip(f"no cgroup can be made here: {error}") from None
    try:
        procfile(stage, f"u: grep -o wherry-test.* /proc/self/cgroup\n  cgroup {group}\n")
        same(run(stage).out.decode(), f"u | wherry-test-{os.getpid()}\n")
    finally:
        wait_for(lambda: not pathlib.Path(group, "cgroup.procs").read_text(), "the cgroup to be empty")
        os.rmdir(group)


def test_order(stage):
    """units start when those they need are ready, wherever these are in the file, and stop the other way round"""
    stage.mine("log")
    unit = "trap 'echo -%s >>log; exit 0' TERM; echo +%s >>log; echo >&3; while :; do sleep 0.01; done\n  ready fd\n"
    procfile(stage, f"c: {unit % ('c', 'c')}  after b\nb: {unit % ('b', 'b')}  after step a\n"
                    f"a: {unit % ('a', 'a')}step: sleep 0.2; echo step >>log\n  ready exit\n")
    process = start(stage)
    wait_lines(stage, "log", 4)
    finish(process)
    lines = lines_of(stage, "log")
    same(lines[:2] in (["+a", "step"], ["step", "+a"]), True, f"the order {lines}")
    same(lines[2:], ["+b", "+c", "-c", "-b", "-a"], "the order")


NOTIFY = "import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); time.sleep(0.1); " \
         "s.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:]); open('log', 'a').write('up\\n'); s.send(b'READY=1'); " \
         "time.sleep(100)"
LISTEN = "import socket, time; time.sleep(0.1); s = socket.socket(); " \
         "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', %d)); " \
         "open('log', 'a').write('up\\n'); s.listen(); time.sleep(100)"


def test_ready(stage):
    """notify, fd, exit and a URL: what comes after starts when it is there, and not before"""
    held = socket.socket()  # it does not listen; as long as it is there, nobody else is given its port
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port = held.getsockname()[1]
    units = [("notify", f"{sys.executable} -c \"{NOTIFY}\""),
             ("fd", "sleep 0.1; echo up >>log; echo >&3; sleep 100"),
             ("fd 7", "sleep 0.1; echo up >>log; echo >&7; sleep 100"),
             ("exit", "sleep 0.1; echo up >>log"),
             (f"tcp://127.0.0.1:{port}", f"{sys.executable} -c \"{LISTEN % port}\"")]
    for ready, command in units:
        stage.write("log", b"")
        procfile(stage, f"late: cat log; kill $PPID; exec sleep 100\n  after early\n"
                        f"early: {command}\n  ready {ready}\n")
        process = start(stage)
        process.read(lambda: b"late  | up\n" in process.out, f"{ready} to be ready")
        process.end(0)
    held.close()


def test_ready_timeout(stage):
    """a unit that is not ready in time is stopped, and has failed; those after it do not start"""
    procfile(stage, "late: echo never\n  after early\nearly: sleep 100\n  ready notify\n  ready-timeout 100ms\n")
    done = run(stage, code=1)
    said(done, "run: early: failed: it was not ready in time")
    said(done, "run: late: was not started: it needs early, which is failed")
    same(done.out, b"")


def test_restart(stage):
    """restart, backoff and limit"""
    procfile(stage, "u: echo x; exit 3\n  restart on-failure\n  backoff 10ms 20ms\n  limit 3 1m\n")
    done = run(stage, code=1)
    same(done.out, b"u | x\n" * 4)
    same(len(re.findall(rb"u: it exited with 3; it is started again in 0.0 s\n", done.err)), 3, "the lines on restarts")
    said(done, "u: failed: it exited with 3, and was started again 3 times within 60 s before")
    procfile(stage, "u: echo x\n  restart on-failure\n")
    same(run(stage).out, b"u | x\n")
    procfile(stage, "u: echo x\n  restart always\n  backoff 1ms\n  limit 2\n")
    same(run(stage, code=1).out, b"u | x\n" * 3)


def test_stop(stage):
    """stop: the signal, and SIGKILL when the time is over, which is said; all of the unit's group"""
    stage.mine("log")
    procfile(stage, "u: trap 'echo usr1 >>log; exit 0' USR1; echo ready; while :; do sleep 0.01; done\n  stop USR1\n"
                    "deaf: trap '' TERM; (sleep 100 & echo $!); echo $$; while :; do sleep 0.01; done\n"
                    "  stop TERM 100ms\n")
    process = start(stage)
    process.read(lambda: process.out.count(b"\n") == 3, "all to be ready")
    process.signal(signal.SIGINT)
    process.end(0)
    same(lines_of(stage, "log"), ["usr1"])
    said(process, "deaf: did not stop in time, and was killed")
    for pid in re.findall(rb"deaf \| (\d+)", process.out):
        same(alive(int(pid)), False, f"that {pid} lives")


def test_reload_and_forward(stage):
    """SIGHUP reloads all, each by its own signal; --forward passes others on"""
    loop = "echo ready; while :; do sleep 0.01; done"
    procfile(stage, f"a: trap 'echo hup' HUP; trap 'echo usr2' USR2; {loop}\n"
                    f"b: trap 'echo usr1' USR1; trap 'echo usr2' USR2; {loop}\n  reload USR1\n")
    process = start(stage, "--forward", "USR2,RTMIN+1")
    process.read(lambda: process.out.count(b"ready") == 2, "both")
    process.signal(signal.SIGHUP)
    process.read(lambda: b"a | hup\n" in process.out and b"b | usr1\n" in process.out, "the reload")
    process.signal(signal.SIGUSR2)
    process.read(lambda: b"a | usr2\n" in process.out and b"b | usr2\n" in process.out, "USR2")
    finish(process)
    for signals, what in (("TERM", "TERM cannot be passed"), ("KILL", "nobody can receive it"), ("X", "no signal X")):
        one_line(run(stage, "--forward", signals, code=2), what)


# ---- exit codes ----

def test_exit_codes(stage):
    """0 when all ended well or were stopped, 1 when one failed; --exit-on-failure and --any-exit exit as it did"""
    run(stage, "a=true", "b=true")
    run(stage, "a=true", "b=exit 7", code=1)
    procfile(stage, "a: sleep 100\nb: exit 7\n")
    done = run(stage, "--exit-on-failure", code=7)
    said(done, "b: failed: it exited with 7")
    said(done, "b failed: all are stopped")
    procfile(stage, "a: sleep 100\nb: kill -USR1 $$\n")
    run(stage, "--exit-on-failure", code=128 + signal.SIGUSR1)
    procfile(stage, "a: sleep 100\nb: exit 0\nstep: true\n  ready exit\n")
    done = run(stage, "--any-exit")
    said(done, "b ended: all are stopped")
    procfile(stage, "a: sleep 0.2\nstep: true\n  ready exit\n")
    said(run(stage, "--any-exit"), "a ended")
    procfile(stage, "a: x\n  dir /nonexistent\n")
    run(stage, "--exit-on-failure", code=127)


def test_second_signal(stage):
    """a second SIGTERM kills at once, and so does SIGQUIT; the exit code says so"""
    procfile(stage, "deaf: trap '' TERM; echo ready; while :; do sleep 0.01; done\n")
    process = start(stage, "-v")
    process.read(lambda: b"ready" in process.out, "ready")
    process.signal(signal.SIGTERM)
    process.read(lambda: b"stopping" in process.err, "the first was seen")
    process.signal(signal.SIGINT)
    process.end(None)
    same(process.popen.returncode in (128 + signal.SIGTERM, 128 + signal.SIGINT), True, "the exit code of the second")
    procfile(stage, "deaf: trap '' TERM; echo ready; while :; do sleep 0.01; done\n  restart always\n")
    process = start(stage)
    process.read(lambda: b"ready" in process.out, "ready")
    process.signal(signal.SIGQUIT)
    process.end(128 + signal.SIGQUIT)


def test_time_out(stage):
    """-w stops all, and exits with 3"""
    done = run(stage, "-w", "300ms", "a=sleep 100", code=3)
    said(done, "the time that -w leaves is over")


def test_verbose(stage):
    """-v says each change of state; without it standard error is empty when all is well"""
    same(run(stage, "a=true").err, b"")
    done = run(stage, "-v", "a=true")
    for pattern in (r"^wherry: run: a: ready, pid \d+$", r"^wherry: run: a: ended: it exited with 0$"):
        if not re.search(pattern, done.err.decode(), re.M):
            raise tap.Failure(f"{done.err!r} does not say {pattern}")


def test_colors(stage):
    """names have colours with --color=always, and where no terminal is there, none"""
    out = run(stage, "--color=always", "a=echo x", "b=echo y").out
    same(sorted(re.findall(rb"\033\[3.;1m(\w) \|\033\[0m (\w)\n", out)), [(b"a", b"x"), (b"b", b"y")])
    same(b"\033" in run(stage, "a=echo x").out + run(stage, "--color", "never", "b=echo", code=None).err, False)


def test_long_lines(stage):
    """lines of many units stay whole, also when they come in pieces; the last one may lack its end"""
    script = "i=0; while [ $i -lt 200 ]; do printf $n; printf '%01000d\\n' $i; i=$((i+1)); done; printf tail"
    units = [f"u{n}=n={n}; {script}" for n in range(4)]
    out = run(stage, *units).out.decode().splitlines()
    for n in range(4):
        mine = [line[5:] for line in out if line.startswith(f"u{n} | ")]
        same(mine, [f"{n}{i:01000d}" for i in range(200)] + ["tail"], f"the lines of u{n}")
    same(len(out), 4 * 201)
