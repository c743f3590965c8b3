# tests/api/man.py SOURCE LIBRARY COMMAND|none COMPILER [FLAG]... - the man pages say everything, render, and are true.
#
# SPDX-License-Identifier: MIT
"""Pages are docs/man/NAME.SECTION.scd.  What a page shows as C that begins with an #include is compiled; what it says of
option keys and of the layout of frames is compared with what the library does."""
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import tap

SOURCE, LIBRARY, COMMAND, COMPILER, FLAGS = (pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve(), sys.argv[3],
                                             shlex.split(sys.argv[4]), sys.argv[5:])
PAGES = {p.name.removesuffix(".scd"): p.read_text() for p in sorted((SOURCE / "docs/man").glob("*.scd"))}
SECTIONS = {"1": ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"],
            "3": ["NAME", "SYNOPSIS", "DESCRIPTION", "ERRORS", "THREADS, FORKS, SIGNALS", "EXAMPLE", "SEE ALSO"],
            "7": ["NAME", "DESCRIPTION", "SEE ALSO"]}
# mandoc's opinion of what scdoc writes, rather than of what we wrote
HARMLESS = re.compile(r"STYLE:|skipping paragraph macro|missing date")


def fail_if(wrong):
    if wrong:
        raise tap.Failure("\n".join(wrong))


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, **more)


def names_of(page):
    """What NAME lists, with the section."""
    text = re.search(r"^# NAME\n\n(.*?) - ", PAGES[page], re.M | re.S).group(1)
    return {f"{name.strip()}.{page[-1]}" for name in text.split(",")}


def blocks(text):
    return re.findall(r"^```\n(.*?)^```", text, re.M | re.S)


def build(text, where, *more):
    """Compile and link a program; its path."""
    source = pathlib.Path(where) / "program.c"
    source.write_text(text)
    program = source.with_suffix("")
    result = run(COMPILER + FLAGS + ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I", str(SOURCE / "include"), str(source),
                                     "-o", str(program), str(LIBRARY), f"-Wl,-rpath,{LIBRARY.parent}", *more])
    if result.returncode != 0:
        raise tap.Failure(result.stderr)
    return str(program)


def table(text, first):
    """The rows of the scdoc table whose first heading is this."""
    at = text.index(f"[[ *{first}*\n")
    rows = []
    for line in text[at + 3:text.index("\n\n", at)].split("\n"):
        if line[0] == "|" or not rows:
            rows.append([line[3:] if line[0] == "|" else line])
        elif line[0] == ":":
            rows[-1].append(line[3:])
        else:
            rows[-1][-1] += " " + line.strip()
    return rows[1:]


def plain(text):
    return re.sub(r"[*_\\](?=\W|$)|(?<![\w])[*_\\]", "", text).replace("*", "")


# ---- form ----

def has_sections(page):
    found = re.findall(r"^# (.*)$", PAGES[page], re.M)
    wanted = [s for s in found if s in SECTIONS[page[-1]]]
    missing = [s for s in SECTIONS[page[-1]] if s not in found]
    if missing:
        raise tap.Failure(f"without {', '.join(missing)}")
    if wanted != SECTIONS[page[-1]]:
        raise tap.Failure(f"sections in another order than {', '.join(SECTIONS[page[-1]])}")


def renders(page):
    if not shutil.which("scdoc"):
        raise tap.Skip("scdoc is not installed: scripts/install-deps installs it")
    if not PAGES[page].startswith(f"{page[:-2]}({page[-1]})\n"):
        raise tap.Failure(f"the page does not begin with {page[:-2]}({page[-1]})")
    text = PAGES[page]
    if "\n@TABLES@\n" in text and COMMAND != "none":
        tables = run([COMMAND, "transports", "--scdoc"], check=True).stdout
        text = text.replace("@TABLES@\n", tables)
    result = run(["scdoc"], input=text)
    if result.returncode != 0:
        raise tap.Failure(result.stderr)
    with tempfile.NamedTemporaryFile("w", suffix="." + page) as file:
        file.write(result.stdout)
        file.flush()
        if shutil.which("man"):
            fail_if(run(["man", "--warnings", "-l", file.name]).stderr.splitlines())
        if shutil.which("mandoc"):
            lines = run(["mandoc", "-T", "lint", file.name]).stdout.splitlines()
            fail_if([line for line in lines if not HARMLESS.search(line)])


def references():
    known = set().union(*(names_of(page) for page in PAGES)) | set(PAGES)
    wrong = []
    for page, text in PAGES.items():
        for name, section in re.findall(r"(?<![\w])(wherry[\w-]*)\*\((\d)\)", text):
            if f"{name}.{section}" not in known:
                wrong.append(f"{page} refers to {name}({section}), which no page is about")
    fail_if(wrong)


def listed():
    """docs/man/meson.build installs each page under all its names."""
    text = (SOURCE / "docs/man/meson.build").read_text()
    pages = dict(re.findall(r"'([\w.-]+)': \[(.*?)\]", text, re.S))
    wrong = [f"{page}: not in docs/man/meson.build" for page in PAGES if page not in pages]
    wrong += [f"{page}: in docs/man/meson.build, but not there" for page in pages if page not in PAGES]
    for page in set(pages) & set(PAGES):
        have = {f"{name}.{page[-1]}" for name in re.findall(r"'(\w+)'", pages[page])} | {page}
        want = names_of(page) | {page}
        if have != want:
            wrong.append(f"{page}: its NAME and docs/man/meson.build differ by {', '.join(sorted(have ^ want))}")
    fail_if(wrong)


# ---- completeness ----

def symbols():
    wrong = []
    for name in (SOURCE / "tests/api/symbols.txt").read_text().split():
        if not name.startswith("wherry_"):
            continue
        pages = [page for page in PAGES if f"{name}.3" in names_of(page)]
        if len(pages) != 1:
            wrong.append(f"{name}: in the NAME of {len(pages)} pages")
        elif not re.search(rf"\b{name}\(", PAGES[pages[0]].split("# DESCRIPTION")[0]):
            wrong.append(f"{name}: not in the SYNOPSIS of {pages[0]}")
        elif not re.search(rf"\b{name}\W*\(", PAGES[pages[0]].split("# DESCRIPTION")[1].split("# ERRORS")[0]):
            wrong.append(f"{name}: not in the DESCRIPTION of {pages[0]}")
    fail_if(wrong)


def prototypes():
    """The synopses are the headers'."""
    def normal(text):
        return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", text, flags=re.S)).strip()

    headers = normal("\n".join(p.read_text() for p in (SOURCE / "include/wherry").glob("*.h")))
    wrong = []
    for page, text in PAGES.items():
        if not page.endswith(".3"):
            continue
        for block in blocks(text.split("# DESCRIPTION")[0]):
            for statement in re.split(r"(?<=[;}])\n\n?(?=\S)|(?<=;)\n", block):
                statement = normal(re.sub(r"^#.*$", "", statement, flags=re.M))
                if "(" in statement and statement not in headers:
                    wrong.append(f"{page}: {statement}: not so in the headers")
                if statement.startswith("struct") and "{" in statement:
                    fields = statement[statement.index("{"):]
                    if statement[:statement.index("{")] + fields not in headers:
                        wrong.append(f"{page}: {statement}: not so in the headers")
    fail_if(wrong)


def constants():
    """Each flag, trait and constant of the headers is named in some page."""
    text = "\n".join(PAGES.values()).replace("\\", "")
    headers = "\n".join(p.read_text() for p in (SOURCE / "include/wherry").glob("*.h"))
    found = set(re.findall(r"^#define (WHERRY_(?!TRAIT_|VERSION_|API)\w+) ", headers, re.M)) - {"WHERRY_API"}
    traits = [row[0] for row in table(PAGES["wherry_transports.3"], "Name")]
    wrong = [f"{name}: in no page" for name in sorted(found) if name not in text]
    wrong += [f"{name}: not in the table of wherry_transports(3)"
              for name in re.findall(r"WHERRY_TRAIT_(\w+) \(UINT64", headers)
              if name.lower().replace("_", "-") not in traits]
    counters = re.search(r"struct wherry_channel_stats \{(.*?)\n\};", headers, re.S).group(1)
    for name in re.findall(r"(\w+)[,;]", re.sub(r"/\*.*?\*/", "", counters)):
        if not re.search(rf"\b{name}\b", PAGES["wherry_channel_stats.3"]):
            wrong.append(f"{name}: not in wherry_channel_stats(3)")
    fail_if(wrong)


def need_command():
    if COMMAND == "none":
        raise tap.Skip("the command is not part of this build")


def verbs():
    need_command()
    found = re.findall(r"^  (\w+) ", run([COMMAND, "--help"], check=True).stdout, re.M)
    wrong = [] if found else ["--help lists no verbs"]
    for verb in found:
        if verb == "help":
            continue
        if f"wherry-{verb}.1" not in PAGES:
            wrong.append(f"wherry-{verb}(1) is missing")
            continue
        if f"*wherry-{verb}*(1)" not in PAGES["wherry.1"]:
            wrong.append(f"wherry(1) does not refer to wherry-{verb}(1)")
        page = PAGES[f"wherry-{verb}.1"]
        text = run([COMMAND, verb, "--help"], check=True).stdout
        for option in re.findall(r"^  +(-\w)?,? *(--[\w-]+)", text, re.M):
            wrong += [f"wherry-{verb}(1) does not explain {o}" for o in option if o and f"*{o}*" not in page]
    fail_if(wrong)


def exit_codes():
    text = (SOURCE / "tools/wherry/tool.h").read_text()
    rows = [row[0] for row in table(PAGES["wherry.1"], "Code")]
    codes = [c for n, c in re.findall(r"TOOL_(\w+) = (\d+)", text) if n != "SIGNAL"]
    fail_if([f"exit code {c} is not in wherry(1)" for c in codes if c not in rows])


# ---- truth ----

def examples(page):
    with tempfile.TemporaryDirectory(prefix="wherry-man-") as where:
        for block in blocks(PAGES[page]):
            if not block.startswith("#include"):
                continue
            path = pathlib.Path(where) / "block.c"
            path.write_text(block)
            result = run(COMPILER + ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I",
                                     str(SOURCE / "include"), str(path)])
            if result.returncode != 0:
                raise tap.Failure(f"{block}\n{result.stderr}")


KEYS = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wherry/wherry.h>
/* argv: keys with a value.  Prints "scheme key" for each that a transport has a use for. */
int main(int argc, char **argv)
{
    size_t count;
    const struct wherry_traits *const *list = wherry_transports(&count);
    for (size_t t = 0; t < count; t++)
        for (int i = 1; i < argc; i++) {
            struct wherry_channel *pair[2] = {NULL, NULL};
            char url[200];
            bool is_pair = list[t]->bits & WHERRY_TRAIT_PAIR;
            /* a max_memory of 1 is always wrong, and found last, so that nothing is opened */
            snprintf(url, sizeof url, "%s:%s?%s%s", list[t]->scheme, is_pair ? "" : "./x", argv[i],
                     strncmp(argv[i], "max_memory=", 11) == 0 ? "" : "&max_memory=1");
            int result = is_pair ? wherry_channel_pair(url, NULL, pair)
                                 : wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &pair[0]);
            if (result == 0)
                return 1;
            bool used = strstr(wherry_why(), "max_memory is less") != NULL;
            if (!used && !strstr(wherry_why(), "has no use for") && !strstr(wherry_why(), "has no sides")) {
                printf("%s: %s\n", url, wherry_why());
                return 1;
            }
            if (used)
                printf("%s %.*s\n", list[t]->scheme, (int)strcspn(argv[i], "="), argv[i]);
        }
    return 0;
}
"""
VALUES = {"frame": "=raw", "mode": "=0600", "uid": "=any", "spin": "=1us", "read_ahead": "=no", "listen": "", "connect": "",
          "max_memory": "=1", "keep": "=1", "redeliver": "=no", "share": "=0",
          "delay": "=1", "keepalive": "=1s", "user_timeout": "=1s",
          "seq": "=1", "broadcast": "=1", "interface": "=lo", "loop": "=no"}


def option_keys():
    """The table in wherry(7) against the options struct and against what each transport takes."""
    page, schemes = PAGES["wherry.7"], [plain(row[0]) for row in table(PAGES["wherry.7"], "Scheme")]
    said = {}
    for row in table(page, "Key"):
        for key in plain(row[0]).split(", "):
            said[key] = set(schemes) if row[3] == "all" else set(row[3].split(", "))
    header = (SOURCE / "include/wherry/channel.h").read_text()
    struct = re.search(r"struct wherry_channel_options \{(.*?)\n\};", header, re.S).group(1)
    struct = re.sub(r"/\*.*?\*/|\{[^}]*\}", "", struct, flags=re.S)
    fields = set(re.findall(r"(\w+);", struct)) - {"size", "side"} | {"listen", "connect"}
    wrong = [f"{key}: not in the table of wherry(7)" for key in fields - set(said)]
    wrong += [f"{key}: in the table of wherry(7), but no option" for key in set(said) - fields]
    with tempfile.TemporaryDirectory(prefix="wherry-man-") as where:
        words = [key + VALUES.get(key, "=1" if key in ("single_thread", "inheritable", "report_ends") else "=64")
                 for key in sorted(fields)]
        result = run([build(KEYS, where)] + words, cwd=where)
        if result.returncode != 0:
            raise tap.Failure(result.stdout + result.stderr)
    takes = {}
    for line in result.stdout.splitlines():
        scheme, key = line.split()
        takes.setdefault(key, set()).add(scheme)
        if scheme not in schemes:
            wrong.append(f"{scheme}: not in the table of transports in wherry(7)")
    # whether an endpoint can be inherited is found out last, when the URL is known to be right
    takes["inheritable"] = takes["inheritable"] - {"fifo", "shm"}
    for key in sorted(fields & set(said)):
        if takes.get(key, set()) != said[key]:
            wrong.append(f"{key}: wherry(7) and the library differ by "
                         f"{', '.join(sorted(takes.get(key, set()) ^ said[key]))}")
    fail_if(wrong)


FRAMES = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wherry/wherry.h>

static void check(int result)
{
    if (result < 0) {
        puts(wherry_why());
        exit(1);
    }
}

static uint32_t load32(const unsigned char *b)
{
    return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24;
}

/* The check as the page has it. */
static uint32_t check_of(const unsigned char *b)
{
    uint32_t size = load32(b), type = load32(b + 4);
    return size & 0x80000000 ? part_check(size, type, load32(b + 12) | (uint64_t)load32(b + 16) << 32, load32(b + 20),
                                          load32(b + 24), load32(b + 28))
                             : whole_check(size, type);
}

static void dump(const char *word, const unsigned char *b, size_t size)
{
    printf("%s", word);
    for (size_t i = 0; i < size; i++)
        printf(" %02x", b[i]);
    puts("");
}

int main(int argc, char **argv)
{
    struct wherry_channel *sender;
    struct wherry_message hello = {.data = "hello", .size = 5};
    static unsigned char bytes[9000], payload[5000];
    int fds[2];
    char url[64];
    /* headers that the page shows: is their check what its function says? */
    for (int i = 1; i < argc; i++) {
        size_t n = 0;
        for (char *at = argv[i]; *at; at += strspn(at, " "))
            bytes[n++] = (unsigned char)strtoul(at, &at, 16);
        if (check_of(bytes) != load32(bytes + 8)) {
            printf("the check of %s is %08x\n", argv[i], check_of(bytes));
            return 1;
        }
    }
    if (pipe(fds) != 0)
        return 1;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    snprintf(url, sizeof url, "fd:%d", fds[1]);
    check(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender));
    check(wherry_channel_send_message(sender, &hello, 0, WHERRY_NOW));
    dump("whole", bytes, (size_t)read(fds[0], bytes, sizeof bytes));
    hello.type = 7;
    check(wherry_channel_send_message(sender, &hello, 0, WHERRY_NOW));
    dump("whole", bytes, (size_t)read(fds[0], bytes, sizeof bytes));
    check(wherry_channel_send(sender, NULL, 0, WHERRY_NOW));
    dump("whole", bytes, (size_t)read(fds[0], bytes, sizeof bytes));
    check(wherry_channel_send(sender, payload, sizeof payload, WHERRY_NOW));
    ssize_t size = read(fds[0], bytes, sizeof bytes);
    if (size != 4096 + 32 + 936 || check_of(bytes) != load32(bytes + 8) ||
        check_of(bytes + 4096) != load32(bytes + 4096 + 8) || !(bytes[12] & 2) || memcmp(bytes + 12, bytes + 4108, 12) != 0)
        return 2;
    /* all but the random sender and what follows from it */
    memset(bytes + 8, 0, 12);
    memset(bytes + 4096 + 8, 0, 12);
    dump("part", bytes, 32);
    dump("part", bytes + 4096, 32);
    return (int)wherry_channel_close(sender, WHERRY_NOW);
}
"""


def frames():
    """The bytes and the function in wherry-framing(7) are those of the library."""
    page = PAGES["wherry-framing.7"]
    function = next(block for block in blocks(page) if block.startswith("#include"))
    shown = [line.split() for block in blocks(page) for line in block.splitlines() if re.match(r"(whole|part) +\w\w ", line)]
    with tempfile.TemporaryDirectory(prefix="wherry-man-") as where:
        program = build(function + FRAMES, where)
        result = run([program] + [" ".join(line[1:33]) for line in shown], cwd=where)
    if result.returncode != 0:
        raise tap.Failure(result.stdout + result.stderr + f"status {result.returncode}")
    for line in shown:
        if line[0] == "part":
            line[9:21] = ["00"] * 12
    wanted = [" ".join(line) for line in shown]
    if result.stdout.splitlines() != wanted:
        raise tap.Failure(f"the library writes\n{result.stdout}the page shows\n" + "\n".join(wanted))


def has_c(page):
    return any(block.startswith("#include") for block in blocks(PAGES[page]))


def main():
    cases = []
    for page in PAGES:
        cases.append((f"{page} renders without warnings", lambda p=page: renders(p)))
        cases.append((f"{page} has its sections", lambda p=page: has_sections(p)))
        if has_c(page):
            cases.append((f"the C in {page} compiles", lambda p=page: examples(p)))
    return tap.run(cases + [
        ("each exported name has a page", symbols),
        ("the synopses are those of the headers", prototypes),
        ("each constant, trait and counter is in a page", constants),
        ("each verb and each of its options has a page", verbs),
        ("each exit code is in wherry(1)", exit_codes),
        ("each reference leads to a page", references),
        ("each page is installed under all its names", listed),
        ("the options in wherry(7) are those that each transport takes", option_keys),
        ("the frames in wherry-framing(7) are those of the library", frames),
    ])


if __name__ == "__main__":
    sys.exit(main())
