# tests/api/symbols.py SOURCE LIBRARY VERSION - what libwherry.so offers and what it takes from the C library.
#
# SPDX-License-Identifier: MIT
"""The exported names equal tests/api/symbols.txt, so that the API cannot grow by accident.  After a change that is meant:

    nm -D --defined-only build/gcc-release/libwherry.so | sed -n 's/.* \\(wherry_\\)/\\1/p' | LC_ALL=C sort
"""
import pathlib
import re
import subprocess
import sys

import tap

# A library never prints, logs, exits, starts a thread, or waits on the wall clock.  Names as they are linked: fortified
# builds call the __..._chk forms.
FORBIDDEN = {
    "stdout": "prints", "stderr": "prints", "printf": "prints", "vprintf": "prints", "puts": "prints", "putchar": "prints",
    "perror": "prints", "psignal": "prints", "__printf_chk": "prints", "__vprintf_chk": "prints",
    "syslog": "logs", "vsyslog": "logs", "openlog": "logs",
    "exit": "exits", "quick_exit": "exits", "err": "exits", "errx": "exits",
    "pthread_create": "starts a thread", "thrd_create": "starts a thread", "timer_create": "may start a thread",
    "signal": "changes a disposition", "sigset": "changes a disposition",
    "sem_timedwait": "waits on the wall clock", "mq_timedsend": "waits on the wall clock",
    "mq_timedreceive": "waits on the wall clock", "system": "changes the disposition of SIGINT",
}
# Where one of them is called all the same: the file says why.
EXCEPT = {"pthread_create": "src/socket/resolve.c"}
# What sanitizers and the linker add is not ours.
FOREIGN = re.compile(r"^(_init|_fini|_edata|_end|__bss_start|__asan_|__odr_asan|__ubsan_|__sanitizer|__start_|__stop_|asan\.)")


def names(library, *options):
    output = subprocess.run(["nm", "-D", *options, library], check=True, capture_output=True, text=True).stdout
    found = {line.split()[-1].split("@")[0] for line in output.splitlines()}
    return {name for name in found if not FOREIGN.match(name)}


def listed(words):
    return ", ".join(sorted(words))


def main():
    source, library, version = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    exported = names(library, "--defined-only")
    expected = {line for line in (source / "tests/api/symbols.txt").read_text().split("\n")
                if line and not line.startswith("#")}
    text = "\n".join(p.read_text() for p in sorted((source / "include").rglob("*.h")))
    # a declaration runs from WHERRY_API to its first parenthesis (a function) or semicolon (an object)
    declared = {match.group(1) for match in re.finditer(r"^WHERRY_API\s[^;(]*?\b(\w+)\s*(?:\(|;|\[)", text, re.M)}

    def as_listed():
        if exported != expected:
            raise tap.Failure(f"exported but not listed: {listed(exported - expected) or 'none'}\n"
                              f"listed but not exported: {listed(expected - exported) or 'none'}")

    def as_declared():
        if exported != declared:
            raise tap.Failure(f"exported but in no public header: {listed(exported - declared) or 'none'}\n"
                              f"declared but not exported: {listed(declared - exported) or 'none'}")

    def ours():
        wrong = [n for n in exported if not n.startswith("wherry_") or n.startswith("wherry__")]
        if wrong:
            raise tap.Failure(f"not a public name: {listed(wrong)}")

    def callers(name):
        files = (source / "src").rglob("*.c")
        return [str(p.relative_to(source)) for p in files if re.search(rf"\b{name}\s*\(", p.read_text())]

    def imports():
        wrong = [f"{n} ({FORBIDDEN[n]})" for n in names(library, "--undefined-only")
                 if n in FORBIDDEN and callers(n) != [EXCEPT.get(n)]]
        if wrong:
            raise tap.Failure(f"the library calls {listed(wrong)}")

    def needs_libc_only():
        output = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output)
        wrong = [n for n in needed if not re.match(r"lib(c|m|pthread|rt|dl|clang_rt\..*|asan|ubsan|gcc_s)\.so|ld-linux", n)]
        if wrong:
            raise tap.Failure(f"the library needs {listed(wrong)}")

    def versions():
        parts = [re.search(rf"#define WHERRY_VERSION_{p} (\d+)", text).group(1) for p in ("MAJOR", "MINOR", "PATCH")]
        if ".".join(parts) != version:
            raise tap.Failure(f"base.h says {'.'.join(parts)}, meson.build says {version}")

    return tap.run([
        ("the exported names are those of symbols.txt", as_listed),
        ("the exported names are those of the public headers", as_declared),
        ("each exported name begins with wherry_ and none with wherry__", ours),
        ("the library calls nothing that prints, exits, or starts threads", imports),
        ("the library needs the C library and nothing else", needs_libc_only),
        ("headers and build agree on the version", versions),
    ])


sys.exit(main())
