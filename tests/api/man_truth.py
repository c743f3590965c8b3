# tests/api/man_truth.py SOURCE LIBRARY INSPECT|none COMMAND|none COMPILER [FLAG]... - what the man pages say is true.
#
# SPDX-License-Identifier: MIT
"""What pages say of option keys, of the layout of frames, of errors and exit codes is compared with what the library
does, with the sources, and with what other pages say."""
import errno
import re
import sys
import tempfile

import tap
from man_kit import LIBRARY, PAGES, SOURCE, blocks, build, fail_if, plain, run, section, table


def exit_codes():
    text = (SOURCE / "tools/wherry/tool.h").read_text()
    rows = [row[0] for row in table(PAGES["wherry.1"], "Code")]
    codes = [c for n, c in re.findall(r"TOOL_(\w+) = (\d+)", text) if n != "SIGNAL"]
    wrong = [f"exit code {c} is not in wherry(1)" for c in codes if c not in rows]
    elsewhere = [row[0] for row in table(PAGES["wherry-errors.7"], "Code")]
    wrong += [f"the exit codes of wherry(1) are {', '.join(rows)}, those of wherry-errors(7) {', '.join(elsewhere)}"
              for _ in range(rows != elsewhere)]
    fail_if(wrong)


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
# By what the table says a key takes: a value that is right, and one that is wrong in itself.
KINDS = [("none", "", "=1"), ("bytes", "=64k", "=64x"), ("number", "=64", "=64k"), ("time", "=1ms", "=1h"),
         ("octal", "=0600", "=0800"), ("*1*", "=1", "=0"), ("*yes*, *no*", "=no", "=maybe"), ("*length*", "=raw", None),
         ("*any*", "=any", None), ("a uid", "=0", None), ("a name", "=lo", "="), ("one character", "=a", None),
         ("_N_", "=64", None), ("*beginning*", "=end", None), ("*none*", "=each", None)]


def keys_of(page):
    """The rows of its table of options: key, and what it takes, by default, and where."""
    for row in table(PAGES[page], "Key"):
        for key in plain(row[0]).split(", "):
            yield key, row[1:]


def kind_of(key, value):
    found = [kind for kind in KINDS if value.startswith(kind[0])]
    if not found:
        raise tap.Failure(f"{key}: the table of wherry-url(7) says that it takes {value}, which man_truth.py has no "
                          "kind for")
    return found[0]


def option_keys():
    """The table in wherry-url(7) against the options struct and against what each transport takes."""
    schemes = [plain(row[0]) for row in table(PAGES["wherry.7"], "Scheme")]
    said, words = {}, []
    for key, (value, _, where) in keys_of("wherry-url.7"):
        said[key] = set(schemes) if where == "all" else set(where.split(", "))
        words.append(key + ("=1" if key == "max_memory" else kind_of(key, value)[1]))
    header = (SOURCE / "include/wherry/channel.h").read_text()
    struct = re.search(r"struct wherry_channel_options \{(.*?)\n\};", header, re.S).group(1)
    struct = re.sub(r"/\*.*?\*/|\{[^}]*\}", "", struct, flags=re.S)
    fields = set(re.findall(r"(\w+);", struct)) - {"size", "side"} | {"listen", "connect"}
    wrong = [f"{key}: not in the table of wherry-url(7)" for key in fields - set(said)]
    wrong += [f"{key}: in the table of wherry-url(7), but no option" for key in set(said) - fields]
    explained = {key for line in re.findall(r"^\*.*$", section("wherry-url.7", "OPTIONS"), re.M)
                 for key in re.findall(r"\*(\w+)\*", line)}
    wrong += [f"{key}: in the table of wherry-url(7), but not explained below" for key in set(said) - explained -
              {"listen", "connect"}]  # whose explanation is ROLES AND SIDES of wherry(7)
    with tempfile.TemporaryDirectory(prefix="wherry-man-") as where:
        result = run([build(KEYS, where)] + sorted(words), cwd=where)
        if result.returncode != 0:
            raise tap.Failure(result.stdout + result.stderr)
    takes = {}
    for line in result.stdout.splitlines():
        scheme, key = line.split()
        takes.setdefault(key, set()).add(scheme)
        if scheme not in schemes:
            wrong.append(f"{scheme}: not in the table of transports in wherry(7)")
    # whether an endpoint can be inherited is found out last, when the URL is known to be right
    takes["inheritable"] = takes["inheritable"] - {"fifo", "shm", "file"}
    for key in sorted(fields & set(said)):
        if takes.get(key, set()) != said[key]:
            wrong.append(f"{key}: wherry-url(7) and the library differ by "
                         f"{', '.join(sorted(takes.get(key, set()) ^ said[key]))}")
    fail_if(wrong)


def option_values():
    """What the table in wherry-url(7) says that a key takes is what it takes: a value of another kind is refused, for
    that reason."""
    wrong, count = [], 0
    with tempfile.TemporaryDirectory(prefix="wherry-man-") as where:
        program = build(KEYS, where)
        for key, (value, _, _) in keys_of("wherry-url.7"):
            bad = kind_of(key, value)[2]
            if bad is None:
                continue
            count += 1
            result = run([program, key + bad], cwd=where)
            if result.returncode != 1 or f"{key} takes " not in result.stdout:
                wrong.append(f"{key}{bad} is not refused although wherry-url(7) says: {value}: {result.stdout}")
    fail_if(wrong or ([] if count > 20 else [f"only {count} keys were tried"]))


LIMITS = r"""
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <wherry/wherry.h>
/* argv: a key and a value that is one too many.  Prints what transports say that have a use for the key. */
int main(int argc, char **argv)
{
    size_t count;
    const struct wherry_traits *const *list = wherry_transports(&count);
    for (size_t t = 0; t < count && argc == 2; t++) {
        struct wherry_channel *pair[2] = {NULL, NULL};
        char url[200];
        snprintf(url, sizeof url, "%s%c%s", list[t]->sample, strchr(list[t]->sample, '?') ? '&' : '?', argv[1]);
        int result = list[t]->bits & WHERRY_TRAIT_PAIR
                         ? wherry_channel_pair(url, NULL, pair)
                         : wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &pair[0]);
        if (result == 0) {
            wherry_channel_close(pair[0], WHERRY_NOW);
            wherry_channel_close(pair[1], WHERRY_NOW);
            return 1;
        }
        if (!strstr(wherry_why(), "has no use for"))
            printf("%d %s\n", result == -EINVAL, wherry_why() + strlen(url));
    }
    return 0;
}
"""


def option_limits():
    """Where the table in wherry-url(7) says "at most N", N + 1 is refused for that reason."""
    wrong, count = [], 0
    with tempfile.TemporaryDirectory(prefix="wherry-man-") as where:
        program = build(LIMITS, where)
        for key, (value, _, _) in keys_of("wherry-url.7"):
            most = re.search(r"at most (\d+)(G?)$", value)
            if not most:
                continue
            count += 1
            number = (int(most.group(1)) << (30 if most.group(2) else 0)) + 1
            result = run([program, f"{key}={number}"], cwd=where)
            refused = any(line.startswith("1 ") and key in line for line in result.stdout.splitlines())
            if result.returncode != 0 or not refused:
                wrong.append(f"{key}={number} is not refused although wherry-url(7) says: {value}: {result.stdout}")
    fail_if(wrong or ([] if count > 4 else [f"only {count} keys have a limit"]))


URLS = r"""
#include <stdio.h>
#include <string.h>
#include <wherry/wherry.h>
/* argv: URLs.  Prints those that are not understood, and why. */
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct wherry_channel *pair[2] = {NULL, NULL};
        char url[200];
        /* as above: what is wrong is found last */
        snprintf(url, sizeof url, "%s%cmax_memory=1", argv[i], strchr(argv[i], '?') ? '&' : '?');
        int result = strcmp(argv[i], "pipe:") == 0 || strcmp(argv[i], "socketpair:") == 0
                         ? wherry_channel_pair(url, NULL, pair)
                         : wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &pair[0]);
        if (result >= 0 || !strstr(wherry_why(), "max_memory is less"))
            printf("%s: %d %s\n", url, result, result < 0 ? wherry_why() : "");
    }
    return 0;
}
"""


def addresses():
    """Each URL that wherry-url(7) shows is understood, those of its table, with something for the placeholders, and
    those of its examples."""
    page = PAGES["wherry-url.7"]
    urls = [url for row in table(page, "URL") for url in plain(row[0]).split(", ")]
    urls += re.findall(r"(?<![\w/])[\w+]+:[@./][^ '\n]*", "\n".join(blocks(page)))
    urls = [url.replace("@N", "@0").replace(":N", ":0").replace("R,W", "0,1") for url in urls]
    schemes = {plain(row[0]) for row in table(PAGES["wherry.7"], "Scheme")} - {"unix+seqpacket", "unix+dgram"}
    wrong = [f"{scheme}: no address of it is in wherry-url(7)" for scheme in
             sorted(schemes - {url.split(":")[0] for url in urls})]
    with tempfile.TemporaryDirectory(prefix="wherry-man-") as where:
        wrong += run([build(URLS, where)] + urls, cwd=where, check=True).stdout.splitlines()
    fail_if(wrong or ([] if len(urls) > 20 else [f"only {len(urls)} URLs were found"]))


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
        check_of(bytes + 4096) != load32(bytes + 4096 + 8) || !(bytes[12] & 2) ||
        memcmp(bytes + 12, bytes + 4108, 12) != 0)
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
    shown = [line.split() for block in blocks(page) for line in block.splitlines()
             if re.match(r"(whole|part) +\w\w ", line)]
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


# ---- errors ----

def errors_of(text):
    return {name for name in re.findall(r"(?<![\w-])-(E[A-Z0-9]+)\b", text) if hasattr(errno, name)}


def errors():
    """Each error in an ERRORS of section 3 has its entry in wherry-errors(7), and the reverse; and each error that the
    library gives a sentence for is in both."""
    pages = {page: errors_of(section(page, "ERRORS")) for page in PAGES if page.endswith(".3")}
    said = set().union(*pages.values())
    entries = {name for line in re.findall(r"^\*-E.*$", section("wherry-errors.7", "ERRORS"), re.M)
               for name in errors_of(line)}
    given = set()
    for path in sorted((SOURCE / "src").rglob("*.c")):
        given |= set(re.findall(r"wherry__(?:url_)?fail(?:_quietly)?\((E[A-Z0-9]+)\b", path.read_text()))
    wrong = [f"-{name}: in ERRORS of {', '.join(p for p in pages if name in pages[p])}, but not in wherry-errors(7)"
             for name in sorted(said - entries)]
    wrong += [f"-{name}: in wherry-errors(7), but in no ERRORS of section 3" for name in sorted(entries - said)]
    wrong += [f"-{name}: src/ gives it, but no page has it" for name in sorted(given - said)]
    fail_if(wrong or ([] if len(given) > 20 else [f"only {len(given)} errors were found in src/"]))


def kinds():
    """Each kind of object that has a collector is a word of wherry-ls(1)."""
    collector = re.compile(r'struct collector wherry__collector_\w+ = \{\s*\.name = "([^"]+)"')
    found = {name for path in (SOURCE / "src/inspect").glob("*.c") for name in collector.findall(path.read_text())}
    wrong = [f"{kind}: no word of wherry-ls(1)" for kind in sorted(found) if f"*{kind}*" not in PAGES["wherry-ls.1"]]
    fail_if(wrong or ([] if len(found) > 15 else [f"only {len(found)} kinds were found in src/inspect"]))


def shown():
    """Each program that wherry-crash-safety(7) names is a test, and each test of a death is named there."""
    here = {p.stem for p in (SOURCE / "tests").rglob("test_*.c")}
    named = set(re.findall(r"\btest_\w+", PAGES["wherry-crash-safety.7"]))
    # what is there for other reasons than a death: a signal, peers that come and go, gc
    beside = {"test_signal_step", "test_disconnects", "test_gc"}
    deaths = {p.stem for p in (SOURCE / "tests/crash").glob("test_*.c")} - beside
    fail_if([f"{name}: named in wherry-crash-safety(7), but not there" for name in sorted(named - here)] +
            [f"{name}: not in wherry-crash-safety(7)" for name in sorted(deaths - named)])


def main():
    return tap.run([
        ("each exit code is in wherry(1), and as it is in wherry-errors(7)", exit_codes),
        ("the options in wherry-url(7) are those that each transport takes", option_keys),
        ("the options in wherry-url(7) take the values that it says", option_values),
        ("the options in wherry-url(7) have the limits that it says", option_limits),
        ("each URL in wherry-url(7) is understood", addresses),
        ("the frames in wherry-framing(7) are those of the library", frames),
        ("each kind of object is in wherry-ls(1)", kinds),
        ("each test of a death is in wherry-crash-safety(7)", shown),
        ("each error of a page is in wherry-errors(7), and the reverse", errors),
    ])


if __name__ == "__main__":
    sys.exit(main())
