# tests/cli/run_control.py - `wherry run` from elsewhere: what it is asked, by whom, and its death.
#
# SPDX-License-Identifier: MIT
import os
import pathlib
import random
import re
import signal
import socket

import tap
from run import PATIENCE, one_line, same, wait_for
from run_kit import (alive, behind, finish, home, lines_of, no_children, procfile, run, start, status,
                     wait_ready)

TWO = "db: sleep 100\nweb: sleep 100\n  after db\n"


def begin(stage, text=TWO, *words, **how):
    procfile(stage, text)
    process = start(stage, *words, **how)
    wait_ready(stage, *[w for w in words if w.startswith("--name")])
    return process


# ---- asking and telling ----

def test_status(stage):
    """--status: a line for each unit, in order; as JSON; by columns"""
    procfile(stage, TWO + "step: exit 0\n  ready exit\nlate: true\n  after never\nnever: sleep 100\n  ready notify\n")
    process = start(stage)
    wait_for(lambda: b"starting" in run(stage, "--status", code=None).out, "the last to start")
    def settled():
        units = status(stage)
        return units if units["step"]["state"] == "ended" and units["web"]["state"] == "ready" else None
    units = wait_for(settled, "two to be ready, and one to have ended")
    wait_for(lambda: os.readlink(f"/proc/{units['db']['pid']}/exe").split("/")[-1] in ("sleep", "coreutils"),
             "the pid to be the program's, which the shell becomes")
    same([u["state"] for u in units.values()], ["ready", "ready", "ended", "starting", "waiting"])
    same(list(units), ["db", "web", "step", "never", "late"])
    same(units["late"]["why"], "it needs never, which is starting")
    same(units["step"]["last"], "exited with 0")
    since = units["db"]["since"]
    same(bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", since)), True, since)
    same(run(stage, "--status", "-n", "-o", "unit,starts").out.split(), b"db 1 web 1 step 1 never 1 late 0".split())
    same(b"STATE" in run(stage, "--status", "--list-columns").out, True, "the list of columns")
    finish(process)


def test_nobody(stage):
    """where nothing is run, questions say so"""
    for ask in ("--status", "--stop", "--start", "--restart", "--reload"):
        one_line(run(stage, ask, code=1), "nothing is run there", re.escape(str(stage.path)))
    process = begin(stage)
    one_line(run(stage, "--stop", "nobody", code=1), "there is no unit nobody; the units are db, web")
    one_line(run(stage, "--stop", "x" * 300, code=1), "a name has at most 63 characters")
    one_line(run(stage, "--status", "--name", "other", code=1), "the name other: nothing is run there")
    finish(process)
    same(os.listdir(stage.path / "rt/wherry"), [], "what is left in the directory of sockets")


def test_units_from_outside(stage):
    """--stop, --start, --restart and --reload of units answer once it has come about"""
    process = begin(stage, TWO.replace("db: sleep 100", "db: trap 'sleep 0.3; exit' TERM; sleep 100 & wait") +
                    "other: trap 'echo hup' HUP; echo set; while :; do sleep 0.01; done\n")
    process.read(lambda: b"set" in process.out, "the trap")
    before = status(stage)
    run(stage, "--stop", "db")
    same([u["state"] for u in status(stage).values()], ["ended", "ended", "ready"], "the states after a stop of db")
    run(stage, "--start", "web")
    now = status(stage)
    same([u["state"] for u in now.values()], ["ready"] * 3, "the states after a start of web")
    same([now[n]["starts"] for n in now], [2, 2, 1])
    run(stage, "--restart", "web")
    after = status(stage)
    same([after[n]["starts"] for n in after], [2, 3, 1])
    same(after["db"]["pid"], now["db"]["pid"])
    same(before["other"]["pid"], after["other"]["pid"])
    run(stage, "--reload", "other")
    process.read(lambda: b"hup" in process.out, "the reload")
    finish(process)


def test_all_units_stopped(stage):
    """a run whose units were all stopped by name goes on, and can start them again"""
    process = begin(stage)
    run(stage, "--stop", "web", "db")
    same([u["state"] for u in status(stage).values()], ["ended", "ended"])
    same(process.popen.poll(), None)
    run(stage, "--start")
    same([u["starts"] for u in status(stage).values()], [2, 2])
    run(stage, "--stop")
    process.end(0)


def test_started_again_and_ended(stage):
    """a run whose stopped unit was started again because another needs it ends when nothing runs"""
    os.mkfifo(stage.path / "end")
    end = os.open(stage.path / "end", os.O_RDWR)
    wait = "read x <end\n"
    process = begin(stage, f"db: {wait}mid: {wait}  after db\nweb: {wait}  after mid\n")
    run(stage, "--stop", "db", "mid")
    run(stage, "--start", "web")
    same([u["state"] for u in status(stage).values()], ["ready"] * 3)
    os.write(end, b"\n\n\n")  # a line for each
    process.end(0)
    os.close(end)
    os.unlink(stage.path / "end")


def test_start_that_fails(stage):
    """--restart of a unit that fails says why, and exits with 1; -w bounds the wait"""
    process = begin(stage, "keep: sleep 100\nu: test -e bad && exit 4; sleep 100\n"
                           "deaf: trap '' TERM; echo deaf; while :; do sleep 0.01; done\n  stop TERM 1h\n")
    process.read(lambda: b"| deaf" in process.out, "the trap")
    stage.write("bad", b"")
    # it is ready as soon as it runs, and fails after that
    run(stage, "--restart", "u", code=None)
    wait_for(lambda: status(stage)["u"]["state"] == "failed", "u to fail")
    same(status(stage)["u"]["why"], "it exited with 4")
    one_line(run(stage, "-w", "50ms", "--stop", "deaf", code=3), "no answer in the time")
    os.kill(status(stage)["deaf"]["pid"], signal.SIGKILL)
    process.signal(signal.SIGTERM)
    process.end(1)


def test_start_that_waits_in_vain(stage):
    """--start and --restart say which unit waits for one that failed or was stopped, whatever others still do"""
    procfile(stage, "step: test -e good\n  ready exit\nweb: sleep 100\n  after step\n"
                    "never: sleep 100\n  ready fd\n  ready-timeout never\n"
                    "db: sleep 100\napp: sleep 100\n  after db\n")
    process = start(stage)
    wait_for(lambda: status(stage, code=None).get("step", {}).get("state") == "failed", "the step to fail")
    run(stage, "-w", "20", "--start", "db")
    why = "web: it needs step, which is failed"
    one_line(run(stage, "-w", "20", "--restart", "web", code=1), why)
    one_line(run(stage, "-w", "20", "--start", "web", code=1), why)
    one_line(run(stage, "-w", "20", "--start", "step", code=1), "step: it exited with 1")
    one_line(run(stage, "-w", "20", "--start", code=1), "step: it exited with 1")
    run(stage, "--stop", "db")
    one_line(run(stage, "-w", "20", "--restart", "app", code=1), "app: it needs db, which is ended")
    run(stage, "-w", "20", "--start", "app")
    stage.write("good", b"")
    run(stage, "-w", "20", "--start", "web")
    same([u["state"] for u in status(stage).values()], ["ended", "ready", "starting", "ready", "ready"])
    run(stage, "-w", "20", "--stop")
    process.end(0)


def test_stop_and_begin_again(stage):
    """--stop waits for the end, so that the next run can begin at once: 20 times"""
    procfile(stage, TWO)
    for _ in range(20):
        process = begin(stage)
        run(stage, "--stop")
        same(alive(process.pid), False, "that it is still there")
        process.end(0)
    process = begin(stage)
    finish(process)


def test_two_runs(stage):
    """h45: a second run of the same directory, or name, is refused, and starts nothing; of another name it runs"""
    process = begin(stage, "u: echo $$ >>log; sleep 100\n")
    stage.mine("log")
    one_line(run(stage, code=5), "is run already", str(process.pid), "--status", "--name")
    (stage.path / "link").symlink_to(stage.path)
    one_line(run(stage, "-f", "link/Procfile", code=5), "is run already")
    os.unlink(stage.path / "link")
    same(len(wait_for(lambda: lines_of(stage, "log"), "the unit to begin")), 1, "starts")
    other = start(stage, "--name", "other")
    wait_ready(stage, "--name", "other")
    one_line(run(stage, "--name", "other", code=5), "the name other is run already", str(other.pid))
    run(stage, "--stop", "--name", "other")
    other.end(0)
    for name in ("", ".x", "a/b", "x" * 64):
        one_line(run(stage, "--name", name, code=2), "write 1 to 63 letters")
    finish(process)


def test_ten_at_once(stage):
    """of ten that begin at the same time one runs"""
    procfile(stage, "u: echo $$ >>log; sleep 100\n")
    stage.mine("log")
    runs = [start(stage) for _ in range(10)]
    wait_ready(stage)
    wait_for(lambda: sum(r.popen.poll() is not None for r in runs) == 9, "nine to be refused")
    same(sorted(r.popen.returncode for r in runs if r.popen.poll() is not None), [5] * 9)
    same(len(wait_for(lambda: lines_of(stage, "log"), "the unit to begin")), 1, "starts")
    finish(next(r for r in runs if r.popen.poll() is None))


def as_sent(stage, *texts):
    """What `wherry ask` sends for each of these, all in one."""
    sent = b""
    with stage.listen("tap") as server:
        for text in texts:
            asks = stage.start_wherry("ask", "-w", "20", "unix:./tap?frame=length", text)
            with server.accept()[0] as client:
                sent += client.recv(4096)
            asks.end(None)
    return sent


def ask_and_stay(path, data):
    """A client that has asked all this, and got an answer."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(str(path))
    client.sendall(data)
    same(client.recv(4096) != b"", True, "that it is answered")
    return client


def test_many_who_wait(stage):
    """when too many wait for changes, nothing is changed; those who went away wait for nothing"""
    procfile(stage, "db: sleep 100\nnever: sleep 100\n  ready fd\n  ready-timeout never\n")
    process = start(stage)
    wait_for(lambda: status(stage, code=None).get("never", {}).get("state") == "starting", "the units to start")
    path, = (stage.path / "rt/wherry").glob("*.sock")
    data = as_sent(stage, "1 start never", "1 status")
    clients = [ask_and_stay(path, data) for _ in range(64)]
    for words in (["--restart", "db"], ["--restart"], ["--stop", "db"]):
        one_line(run(stage, "-w", "20", *words, code=1), "too many wait for a change already")
    same([(u["state"], u["starts"]) for u in status(stage).values()], [("ready", 1), ("starting", 1)])
    for client in clients:
        client.close()
    wait_for(lambda: run(stage, "-w", "20", "--stop", "db", code=None).popen.returncode == 0, "room for a wish")
    same(status(stage)["db"]["state"], "ended")
    run(stage, "-w", "20", "--stop")
    process.end(0)


# ---- strangers ----

def test_unsafe_directories(stage):
    """h67: a directory for sockets that somebody else could have made is not used"""
    procfile(stage, "u: echo x\n")
    home(stage)
    other = stage.path / "elsewhere"
    other.mkdir(mode=0o700)
    (stage.path / "rt/wherry").symlink_to(other)
    one_line(run(stage, code=1), "rt/wherry: it is not a directory of uid", "XDG_RUNTIME_DIR")
    os.unlink(stage.path / "rt/wherry")
    (stage.path / "rt/wherry").mkdir()
    os.chmod(stage.path / "rt/wherry", 0o777)
    one_line(run(stage, code=1), "not a directory of uid")
    if os.geteuid() == 0:
        os.chmod(stage.path / "rt/wherry", 0o700)
        os.chown(stage.path / "rt/wherry", 65534, 65534)
        one_line(run(stage, code=1), "not a directory of uid")
        one_line(run(stage, "--status", code=1), "not a directory of uid")
    (stage.path / "rt/wherry").rmdir()
    same(run(stage).out, b"u | x\n")
    same(os.stat(stage.path / "rt/wherry").st_mode & 0o777, 0o700, "the mode")


def test_another_uid(stage):
    """another user can neither see nor stop it, also where permissions would let him reach the socket"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root to become somebody else")
    stage.need("setpriv")
    process = begin(stage, "u: sleep 100\n")
    poor = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    os.chmod(stage.path, 0o755)
    for ask in ("--status", "--stop"):
        done = stage.run(*poor, stage.wherry, "run", ask, env=home(stage), code=1)
        one_line(done, "nothing is run there|not a directory")
    os.chmod(stage.path / "rt", 0o755)
    os.chmod(stage.path / "rt/wherry", 0o755)
    path, = (stage.path / "rt/wherry").glob("*.sock")
    os.chmod(path, 0o666)
    done = stage.run(*poor, stage.wherry, "ask", "-w", "5", f"unix://{path}?frame=length", "1 stop", code=None)
    same(done.popen.returncode != 0, True, "that a stranger is refused")
    same(b"ok" in done.out, False)
    same(status_by_socket(stage, path), True, "that root is answered")
    same(process.popen.poll(), None)
    os.chmod(stage.path / "rt/wherry", 0o700)
    os.chmod(stage.path / "rt", 0o700)
    same(status(stage)["u"]["state"], "ready")
    finish(process)
    fallback = pathlib.Path("/tmp/wherry-65534")
    try:
        fallback.rmdir()
    except OSError:  # it is not there, or somebody else's run of a moment ago is
        pass


def status_by_socket(stage, path):
    return stage.run_wherry("ask", "-w", "50", f"unix://{path}?frame=length", "1 status").out.startswith(b"ok ")


def test_nonsense(stage):
    """nonsense on the socket is answered or dropped, and nobody who does not read is waited for"""
    process = begin(stage)
    path, = (stage.path / "rt/wherry").glob("*.sock")
    for text in (b"", b"1", b"2 status", b"1 stopp", b"1 status x", b"x" * 200, b"1 stop \xff\n"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(text)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        for words in (["nonsense"], ["2 status"], ["1 stopp"], ["x" * 300], ["1 stop " + "y" * 100]):
            done = stage.run_wherry("ask", "-w", "5", f"unix://{path}?frame=length", *words, code=None)
            same(done.out[:3] in (b"no ", b""), True, f"the answer to {words}: {done.out}")
        same([u["state"] for u in status(stage).values()], ["ready", "ready"])
    finish(process)


# ---- death ----

GRANDCHILDREN = "u: (sleep 100 & echo $!); (setsid sleep 100 & echo $!); sh -c 'echo $$; sleep 100; :' & echo $$; " \
                "wait\n"


def pids_of(process):
    process.read(lambda: len(re.findall(rb"\| \d+\n", process.out)) == 4, "four processes")
    return [int(n) for n in re.findall(rb"\| (\d+)", process.out)]


def test_front_killed(stage):
    """h63, h65: SIGKILL of the process in front: all are stopped in order, grandchildren too"""
    process = begin(stage, GRANDCHILDREN + "last: trap 'echo bye >>log; exit' TERM; echo set; "
                                           "while :; do sleep 0.01; done\n")
    stage.mine("log")
    pids = pids_of(process)
    process.read(lambda: b"| set" in process.out, "the trap")
    process.signal(signal.SIGKILL)
    process.end(-signal.SIGKILL)
    for pid in pids:
        wait_for(lambda: not alive(pid), f"{pid} to end")
    wait_for(no_children, "all to be gone")
    same((stage.path / "log").read_text(), "bye\n")
    finish(begin(stage))


def test_supervisor_killed(stage):
    """h63, h65: SIGKILL of the process that supervises: all are killed, those too that left the session; it is said"""
    process = begin(stage, GRANDCHILDREN)
    pids = pids_of(process)
    os.kill(behind(process), signal.SIGKILL)
    process.end(128 + signal.SIGKILL)
    for pid in pids:
        same(alive(pid), False, f"that {pid} lives")
    one_line(process, "killed by SIGKILL, and all units with it")
    finish(begin(stage))


def test_both_killed(stage):
    """SIGKILL of both: no unit's first process lives"""
    process = begin(stage)
    pids = [u["pid"] for u in status(stage).values()]
    second = behind(process)
    process.signal(signal.SIGSTOP)
    os.kill(second, signal.SIGKILL)
    process.signal(signal.SIGKILL)
    process.end(-signal.SIGKILL)
    for pid in pids:
        wait_for(lambda: not alive(pid), f"{pid} to end")
    wait_for(no_children, "all to be gone")
    finish(begin(stage))  # what is left of the socket and the lock is in nobody's way


def test_pid_1(stage):
    """as PID 1: orphans are reaped, SIGTERM stops all in order, and SIGKILL from outside leaves nobody"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root to make a PID namespace")
    stage.need("unshare")
    procfile(stage, "u: for i in $(seq 50); do (sh -c 'exit 0' & exec true) & done; wait; "
                    "while grep -q '^State:.Z' /proc/[0-9]*/status 2>/dev/null; do sleep 0.05; done; echo none; "
                    "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done\n")
    words = ["unshare", "--pid", "--fork", "--mount-proc", stage.wherry, "run"]
    for number, code in ((signal.SIGTERM, 0), (signal.SIGKILL, None)):
        process = stage.start(*words, env=home(stage))
        process.read(lambda: b"u | none\nu | ready\n" in process.out, "ready")
        os.kill(behind(process), number)
        process.end(code)
        same(b"bye" in process.out, number == signal.SIGTERM, "that it was stopped gently")
    for name in os.listdir(stage.path / "rt/wherry"):
        os.unlink(stage.path / "rt/wherry" / name)  # of the one that was killed


def test_random_kills(stage):
    """40 random kills, stops and reloads: the status is always right, and in the end nobody is left"""
    chance = random.Random(1)
    restart = "  restart always\n  backoff 1ms 5ms\n"
    text = "".join(f"u{n}: (setsid sleep 100 &); sleep 100 & wait\n{restart}" for n in range(3)) + "  after u0\n"
    process = begin(stage, text)
    supervisor, starts = behind(process), dict.fromkeys(("u0", "u1", "u2"), 1)
    for _ in range(40):
        name = chance.choice(sorted(starts))
        unit = status(stage)[name]
        number = chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGABRT))
        if chance.random() < 0.3 and number != signal.SIGKILL:
            os.kill(unit["pid"], signal.SIGSTOP)
            os.kill(unit["pid"], number)
            os.kill(unit["pid"], signal.SIGCONT)
        else:
            os.kill(unit["pid"], number)
        wait_for(lambda: (lambda u: u["starts"] > starts[name] and u["state"] == "ready")(status(stage)[name]),
                 f"{name} to be started again")
        now = status(stage)
        same(now[name]["pid"] != unit["pid"] and alive(now[name]["pid"]), True, "that it lives, as another")
        same(now[name]["last"].startswith(f"killed by {signal.Signals(number).name}"), True, now[name]["last"])
        starts = {n: u["starts"] for n, u in now.items()}
    same([u["state"] for u in status(stage).values()], ["ready"] * 3)
    os.kill(chance.choice((process.pid, supervisor)), signal.SIGKILL)
    process.end(None)
    wait_for(no_children, "all to be gone")
    finish(begin(stage))
