# tests/cli/demo.py - the demo says the truth: what it verified, and what was lost.
#
# SPDX-License-Identifier: MIT
import pathlib
import re

from run import same
from tap import Failure

LAST = re.compile(r"(?:all (\d+) transports|(\d+) of \d+ transports) verified(?:, the others were skipped)?: "
                  r"(\d+) carried every byte, in order"
                  r"(?:; (.*), which may lose messages, lost (.*), and delivered the rest in order)?")


def items(text):
    return re.split(", | and ", text) if text else []


def demo(stage, text):
    """The rows by transport, and the last line taken to pieces, after a look whether they agree."""
    program = pathlib.Path(stage.wherry).parent / "bench_demo"
    out = stage.run(program, "-", input=text).out.decode()
    rows = {words[0]: line for line in out.splitlines() if len(words := line.split()) > 7 and ("  yes" in line or
                                                                                                "  NO" in line)}
    last = LAST.fullmatch(out.splitlines()[-1])
    if not last:
        raise Failure(f"its last line is {out.splitlines()[-1]!r}")
    lost = {name: found[1] for name, row in rows.items() if (found := re.search(r"lost \d+ \((.* %)\)", row))}
    same(dict(zip(items(last[4]), items(last[5]))), lost, "what it says was lost, and the rows")
    same(int(last[1] or last[2]), len(rows), "how many it says it verified")
    same(int(last[3]), len(rows) - len(lost), "how many it says carried every byte")
    return rows


def test_long_line(stage):
    """a line too long for a datagram goes in pieces, and is verified"""
    rows = demo(stage, b"before\n" + b"b" * 300000 + b"\nbehind\n")
    for name, largest in (("udp", 65507), ("mq", 8192)):
        if name in rows:
            same(f"yes, 1 line in pieces: it takes {largest} bytes at most" in rows[name] or "lost" in rows[name], True,
                 rows[name])
    same("  yes" in rows["unix"], True, rows["unix"])


def test_long_lines_that_differ(stage):
    """pieces of several long lines, each of bytes of its own, and of one without a newline at the end"""
    demo(stage, b"".join(bytes([65 + i]) * (70000 + 1000 * i) + b"\n" for i in range(20)) + b"z" * 140000)


def test_loss(stage):
    """what was lost is said in the last line too, where so much comes that some of it may be"""
    demo(stage, b"".join(b"%d of many lines\n" % i for i in range(100000)))
