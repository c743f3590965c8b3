# tests/api/symbols.py SOURCE LIBRARY VERSION [INSPECT] - what libwherry.so and libwherry-inspect.so offer and take.
#
# SPDX-License-Identifier: MIT
"""The exported names equal tests/api/symbols.txt and symbols_inspect.txt, so that the API cannot grow by accident;
symbols_private.txt has what libwherry-inspect takes from libwherry beside it (src/base/shared.h).  After a change
that is meant:

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
    "stdout": "prints", "stderr": "prints", "printf": "prints", "vprintf": "prints", "puts": "prints",
    "putchar": "prints", "perror": "prints", "psignal": "prints", "__printf_chk": "prints", "__vprintf_chk": "prints",
    "syslog": "logs", "vsyslog": "logs", "openlog": "logs",
    "exit": "exits", "quick_exit": "exits", "err": "exits", "errx": "exits",
    "pthread_create": "starts a thread", "thrd_create": "starts a thread", "timer_create": "may start a thread",
    "signal": "changes a disposition", "sigset": "changes a disposition",
    "sem_timedwait": "waits on the wall clock", "mq_timedsend": "waits on the wall clock",
    "mq_timedreceive": "waits on the wall clock", "system": "changes the disposition of SIGINT",
}
# Where one of them is called all the same: the file says why.
EXCEPT = {"pthread_create": "src/socket/resolve.c"}
# What sanitizers and the linker add (the names of versions too) is not ours.
NEEDED = r"lib(c|m|pthread|rt|dl|clang_rt\..*|asan|ubsan|gcc_s)\.so|ld-linux"
FOREIGN = re.compile(r"^(WHERRY_|_init|_fini|_edata|_end|__bss_start|__asan_|__odr_asan|__ubsan_|__sanitizer|__start_|"
                     r"__stop_|asan\.)")


def names(library, *options):
    output = subprocess.run(["nm", "-D", *options, library], check=True, capture_output=True, text=True).stdout
    found = {line.split()[-1].split("@")[0] for line in output.splitlines()}
    return {name for name in found if not FOREIGN.match(name)}


def listed(words):
    return ", ".join(sorted(words))


def listed_in(source, name):
    return {line for line in (source / "tests/api" / name).read_text().split("\n") if line and not line.startswith("#")}


def callers(source, name):
    files = (source / "src").rglob("*.c")
    return [str(p.relative_to(source)) for p in files if re.search(rf"\b{name}\s*\(", p.read_text())]


def cases_of(source, library, listing, private, headers, needed, version):
    """One library: what it offers against its list, its headers, and what it may need."""
    title = pathlib.Path(library).name.split(".")[0]
    exported = names(library, "--defined-only")
    hidden = {n for n in exported if n.startswith("wherry__")}
    public = exported - hidden
    expected = listed_in(source, listing)
    text = "\n".join(p.read_text() for p in headers)
    # a declaration runs from WHERRY_API to its first parenthesis (a function) or semicolon (an object)
    declared = {match.group(1) for match in re.finditer(r"^WHERRY_API\s[^;(]*?\b(\w+)\s*(?:\(|;|\[)", text, re.M)}

    def as_listed():
        if public != expected:
            raise tap.Failure(f"exported but not listed: {listed(public - expected) or 'none'}\n"
                              f"listed but not exported: {listed(expected - public) or 'none'}")

    def as_declared():
        if public != declared:
            raise tap.Failure(f"exported but in no public header: {listed(public - declared) or 'none'}\n"
                              f"declared but not exported: {listed(declared - public) or 'none'}")

    def ours():
        wrong = [n for n in public if not n.startswith("wherry_")]
        if wrong or hidden != private:
            raise tap.Failure(f"not a public name: {listed(wrong) or 'none'}; between the two libraries "
                              f"{listed(hidden ^ private) or 'none'} differ from tests/api/symbols_private.txt")

    def versioned():
        output = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True)
        found = dict(line.split()[-1].partition("@")[::2] for line in output.stdout.splitlines())
        wrong = [f"{n} in {found[n].lstrip('@') or 'none'}" for n in exported
                 if found[n] != "@" + (f"WHERRY_PRIVATE_{sys.argv[3]}" if n in hidden else version)]
        if wrong:
            raise tap.Failure(f"exported in another version than {version}: {listed(wrong)}")

    def soname():
        output = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
        found = re.findall(r"\(SONAME\).*\[(.*)\]", output)
        if found != [f"{title}.so.0"]:
            raise tap.Failure(f"its soname is {found}, not {title}.so.0")

    def imports():
        wrong = [f"{n} ({FORBIDDEN[n]})" for n in names(library, "--undefined-only")
                 if n in FORBIDDEN and callers(source, n) != [EXCEPT.get(n)]]
        if wrong:
            raise tap.Failure(f"the library calls {listed(wrong)}")

    def needs():
        output = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
        found = re.findall(r"\(NEEDED\).*\[(.*)\]", output)
        wrong = [n for n in found if not re.match(NEEDED + needed, n)]
        if wrong:
            raise tap.Failure(f"the library needs {listed(wrong)}")

    return [(f"{title}: the exported names are those of {listing}", as_listed),
            (f"{title}: the exported names are those of its public headers", as_declared),
            (f"{title}: each exported name begins with wherry_, and those with wherry__ are listed", ours),
            (f"{title}: each exported name has the version of its kind, {version} or a private one", versioned),
            (f"{title}: the soname", soname),
            (f"{title}: calls nothing that prints, exits, or starts threads", imports),
            (f"{title}: needs nothing but the C library" + (" and what it is for" if needed else ""), needs)]


def main():
    source, library, version = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    headers = sorted((source / "include").rglob("*.h"))
    inspect = source / "include/wherry/inspect.h"

    def versions():
        text = (source / "include/wherry/base.h").read_text()
        parts = [re.search(rf"#define WHERRY_VERSION_{p} (\d+)", text).group(1) for p in ("MAJOR", "MINOR", "PATCH")]
        if ".".join(parts) != version:
            raise tap.Failure(f"base.h says {'.'.join(parts)}, meson.build says {version}")

    cases = cases_of(source, library, "symbols.txt", listed_in(source, "symbols_private.txt"),
                     [h for h in headers if h != inspect], "", "WHERRY_0")
    if len(sys.argv) > 4:
        cases += cases_of(source, sys.argv[4], "symbols_inspect.txt", set(), [inspect], r"|libwherry\.so|libmnl\.so",
                          "WHERRY_INSPECT_0")
    return tap.run(cases + [("headers and build agree on the version", versions)])


sys.exit(main())
