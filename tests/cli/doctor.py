# tests/cli/doctor.py - wherry doctor: limits and settings that will bite.
#
# SPDX-License-Identifier: MIT
"""What is found is tests/unit/test_inspect_doctor.c's matter; here it is how it is printed, and what of the running
process is told."""
import fcntl
import json
import os
import pty
import signal
import struct
import termios

import tap
from run import same


def findings(stage, *options, **how):
    """By name, the gravest first; the exit code is checked."""
    order = ["warning", "note", "fine"]
    rows = json.loads(stage.run_wherry("doctor", "-J", *options, **how).out)["findings"]
    return {row["name"]: row for row in sorted(rows, key=lambda row: -order.index(row["level"]))}


def but_values(rows):
    """Of how much is in use others make something else from one look to the next."""
    return {name: {key: cell for key, cell in row.items() if key != "value"} for name, row in rows.items()}


def test_only_what_is_worth_it(stage):
    """without options only notes and warnings; with --all or -v what is fine too; -o, -n, -J and --list-columns"""
    few = findings(stage)
    assert "fine" not in {row["level"] for row in few.values()}, few
    everything = findings(stage, "--all")
    assert len(everything) > 20 and but_values(everything).items() >= but_values(few).items(), everything
    same(findings(stage, "-v").keys(), everything.keys())
    for name, row in everything.items():
        assert row["value"] and row["effect"] and row["level"] in ("fine", "note", "warning"), row
        assert row["remedy"] or row["level"] == "fine", row
    document = json.loads(stage.run_wherry("doctor", "-J").out)
    same((document["schema"], list(document["findings"][0]) if few else []),
         (1, ["level", "name", "value", "effect", "remedy"] if few else []))
    lines = stage.run_wherry("doctor", "--all", "-r", "-n", "-o", "name").out.decode().split()
    assert "RLIMIT_NOFILE" in lines and "LEVEL" not in lines, lines
    assert b"REMEDY" in stage.run_wherry("doctor", "--list-columns").out


def test_values_are_the_kernels(stage):
    """sysctls and limits are told as the kernel has them"""
    everything = findings(stage, "--all")
    for name, path in (("fs.mqueue.msg_max", "fs/mqueue/msg_max"), ("net.core.somaxconn", "net/core/somaxconn"),
                       ("kernel.shmmax", "kernel/shmmax"), ("kernel.msgmnb", "kernel/msgmnb")):
        with open(f"/proc/sys/{path}", encoding="ascii") as file:
            same(everything[name]["value"], file.read().strip())
    status = os.statvfs("/dev/shm")
    room = everything["/dev/shm"]["value"]
    assert room.endswith(f"of {status.f_blocks * status.f_frsize >> 20} MiB"), room


def test_the_limit_of_the_caller(stage):
    """20 descriptors are a warning: 0 all the same, 1 with --strict"""
    for options, code in (([], 0), (["--strict"], 1)):
        process = stage.start_poor("doctor", "-J", *options).end(code)
        rows = {row["name"]: row for row in json.loads(process.out)["findings"]}
        same((rows["RLIMIT_NOFILE"]["level"], rows["RLIMIT_NOFILE"]["value"]), ("warning", "20"))
        assert rows["RLIMIT_NOFILE"]["remedy"].startswith("ulimit -n 65536"), rows["RLIMIT_NOFILE"]


def test_nobody_sees_less(stage):
    """as an ordinary user: that what others hold is hidden, and no error"""
    if os.geteuid() != 0:
        raise tap.Skip("needs root, to be nobody")
    stage.need("setpriv")
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    process = stage.run(*nobody, stage.wherry, "doctor", "-J")
    same(process.err, b"")
    rows = {row["name"]: row for row in json.loads(process.out)["findings"]}
    same((rows["CAP_SYS_PTRACE"]["level"], rows["CAP_SYS_PTRACE"]["value"]), ("note", "missing"))
    assert "CAP_SYS_PTRACE" not in findings(stage), "root has it"


def test_wrong_words(stage):
    """operands, columns and options that it does not have"""
    for words in (["x"], ["-o", "nonsense"], ["--nonsense"]):
        assert stage.run_wherry("doctor", *words, code=2).err.startswith(b"wherry: doctor: ")


def test_output_that_fails(stage):
    """a full device is an error; a closed pipe ends it by SIGPIPE or an error, without a word on standard output"""
    with open("/dev/full", "wb") as full:
        assert b"wherry: " in stage.run_wherry("doctor", "--all", stdout=full, code=1).err
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        process = stage.start_wherry("doctor", "--all", stdout=closed).end(None)
    assert process.popen.returncode in (1, -signal.SIGPIPE), process.popen.returncode


def test_a_terminal_of_20_columns(stage):
    """on a terminal of 20 columns it prints everything, folded"""
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
        process = stage.start_wherry("doctor", "--all", stdin=slave, stdout=slave)
        os.close(slave)
        slave = -1
        text = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # EIO: nobody has the other side
                break
            if not data:
                break
            text += data
        process.end(0)
        for name in (b"RLIMIT_NOFILE", b"hidepid"):
            assert name in b"".join(text.split()), name
    finally:
        os.close(master)
        if slave >= 0:
            os.close(slave)
