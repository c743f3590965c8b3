# tests/cli/complete.py - completion: what the command offers, and what bash and zsh make of it, on a terminal too.
#
# SPDX-License-Identifier: MIT
"""Some shells run here without a terminal, their completion function called as they would call it; others on a
terminal, with keys, and the line that came out of them is printed by the shell itself."""
import os
import pathlib
import pty
import re
import select
import shutil
import socket
import time

import run
from run import same

SOURCE = pathlib.Path(os.environ["WHERRY_SOURCE"])
BASH, ZSH = SOURCE / "completion/wherry.bash", SOURCE / "completion/wherry.zsh"

# Called as bash does: a line, the cursor behind it.
CALL_BASH = r"""
. "$1"; shift; program=$1; shift
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:@'
for COMP_LINE; do
    COMP_POINT=${#COMP_LINE}
    _wherry "$program" 2>/dev/null
    printf '%s\t' "${COMPREPLY[@]}"
    echo
done
"""

# As zsh does: words in an array.  What is added is printed in place of being listed.
CALL_ZSH = r"""
script=$1; shift; program=$1; shift
compadd() { print -rn -- "${(pj:\t:)${(@P)@[-1]}}"$'\t' }
_files() { print -rn -- FILES$'\t' }
for line; do
    words=("${(@s: :)line}"); words[1]=$program
    CURRENT=${#words} PREFIX=$words[-1]
    . $script
    print
done
"""


def complete(stage, *words):
    """What the command offers: a list of (word, what it is)."""
    process = stage.run_wherry("complete", *words)
    same(process.err, b"", "standard error")
    lines = process.out.decode().split("\n")
    same(lines.pop(), "", "the end of the output")
    plain = {"n": "\n", "t": "\t", "\\": "\\"}
    return [tuple(re.sub(r"\\(.)", lambda match: plain[match[1]], part) for part in line.split("\t", 1))
            for line in lines]


def words_of(stage, *words):
    return [word for word, _ in complete(stage, *words)]


def by_shell(stage, shell, lines):
    """What the function of a shell offers for each of these lines."""
    script, call, words = ((BASH, CALL_BASH, ["bash", "--norc", "-c"]) if shell == "bash" else
                           (ZSH, CALL_ZSH, ["zsh", "-f", "-c"]))
    out = stage.run(*words, call, shell, script, stage.wherry, *lines).out.decode()
    same(out.count("\n"), len(lines), "lines of answers")
    return [[word for word in line.split("\t") if word] for line in out.split("\n")[:-1]]


def help_of(stage, *words):
    return stage.run_wherry(*words, "--help").out.decode()


def verbs_of(stage):
    lines = [line for line in help_of(stage).splitlines() if line.startswith("  ")]
    return [part.split()[0] for line in lines for part in (line[:40], line[40:]) if part]


def options_of(text):
    """Each -x and --long at the front of a line of a help text."""
    found = set()
    for line in text.splitlines():
        match = re.match(r" {2,6}(?:(-\w), )?(--[\w-]+)", line)
        found.update(word for word in (match.groups() if match else ()) if word)
    return found


# ---- the command ----

def test_every_verb(stage):
    """every verb of --help is offered, with what it is; and behind help"""
    verbs = verbs_of(stage)
    same(len(verbs) > 20, True, "verbs")
    same(sorted(words_of(stage, "")), sorted(verbs + ["help", "--help", "--version"]))
    same(sorted(words_of(stage, "help", "")), sorted(verbs))
    same(words_of(stage, "help", "ls", ""), [])
    run.one_line(stage.run_wherry("help", "complete", code=2), 'there is no verb "complete"')
    same([word for word, what in complete(stage, "s") if not what], [], "verbs without a word on them")


def test_every_option(stage):
    """every option of each verb's --help is offered, by the command, by bash and by zsh"""
    verbs = verbs_of(stage)
    lines = [f"wherry {verb} {dash}" for verb in verbs for dash in ("-", "--")]
    bash, zsh = by_shell(stage, "bash", lines), by_shell(stage, "zsh", lines)
    for number, line in enumerate(lines):
        _, verb, dash = line.split(" ")
        wanted = {option for option in options_of(help_of(stage, verb)) if option.startswith(dash)}
        same({"--help", "--version", "--timeout"} <= wanted, True, f"options were found in the help of {verb}")
        same(set(words_of(stage, verb, dash)), wanted, line)
        same(set(bash[number]), wanted, f"bash: {line}")
        same(set(zsh[number]), wanted, f"zsh: {line}")


def test_options_are_taken(stage):
    """each option that is offered, the verb knows, and wants an argument exactly if completion thinks so"""
    for verb in verbs_of(stage):
        for option in words_of(stage, verb, "--"):
            said = stage.run_wherry(verb, f"{option}=\x01", "--frobnicate", code=None).err.decode()
            same("unknown option --" in said and f"unknown option {option}" in said, False, f"{verb} {option}: {said}")
            plain = f"{option} takes no argument" in said or f"{option}=" in said and "takes no argument" in said
            due = words_of(stage, verb, option, "--hel") != ["--help"]
            optional = option == "--color"
            same(due, not plain and not optional, f"an argument is due behind {verb} {option}: {said}")


def test_arguments(stage):
    """words for the arguments of options: processes, users, signals, columns, and those that the help names"""
    me = str(os.getpid())
    same(me in words_of(stage, "ls", "--pid", me), True, "this process")
    same(f"--pid={me}" in words_of(stage, "ls", f"--pid={me}"), True, "this process, behind =")
    same("root" in words_of(stage, "ls", "--owner", "roo"), True, "root")
    same(words_of(stage, "kill", "-s", "TER"), ["TERM"])
    same(words_of(stage, "kill", "--signal", "SIGTER"), ["SIGTERM"])
    same(words_of(stage, "kill", "--then", "5s:KI"), ["5s:KILL"])
    same(words_of(stage, "run", "--forward", "USR1,US"), ["USR1,USR1", "USR1,USR2"])
    same(words_of(stage, "kill", "-l", "HU"), ["HUP"])
    same(words_of(stage, "recv", "-w", ""), [], "what no word can be offered for")
    columns = {line.split()[0] for line in stage.run_wherry("ls", "--list-columns").out.decode().splitlines()}
    same(set(words_of(stage, "ls", "-o", "")), columns)
    same(set(words_of(stage, "ls", "--output=NAME,")), {f"--output=NAME,{column}" for column in columns})
    for verb, option in (("lock", "--kind"), ("recv", "--from"), ("top", "--sort"), ("ls", "--color=")):
        found = words_of(stage, verb, option) if "=" in option else words_of(stage, verb, option, "")
        same(len(found) >= 3, True, f"words for {option}")
        for word in found:
            word = word.split("=")[-1]
            same(re.search(rf"\b{word}\b", help_of(stage, verb)) is not None, True, f"{word} in the help of {verb}")


def test_operands(stage):
    """operands: types, URLs by scheme, paths in URLs, commands, files, units of a Procfile"""
    same({"posix-shm", "sysv", "lock"} <= set(words_of(stage, "ls", "")), True, "types of ls")
    same("fifo" in words_of(stage, "mk", "") and "memory" not in words_of(stage, "mk", ""), True, "types of mk")
    same(words_of(stage, "mk", "fifo", "x"), [], "the name of what is yet to be made")
    schemes = set(stage.run_wherry("transports", "-n", "-r", "-o", "SCHEME").out.decode().split())
    same(set(words_of(stage, "send", "")), {f"{s}:" for s in schemes - {"pipe", "socketpair"}})
    same(words_of(stage, "pipe", "seq 9", "=tc"), ["=tcp="])
    same(words_of(stage, "segment", "cr"), ["create"])
    same(complete(stage, "lock", "./f", "--", "l"), [("", "command 4")])
    same(complete(stage, "lock", "-w", "5", "./f", "--", "ls", "x"), [("", "command 6")])
    same(complete(stage, "run", "--", ""), [("", "command 3")])
    for words in (["lock", ""], ["send", "unix:./x", ""], ["map", "--html", ""], ["map", "--html=x"],
                  ["who", "/et"], ["run", "-f", ""]):
        same(complete(stage, *words), [("", "files")], words)
    os.makedirs(stage.path / "dir")
    stage.fifo("dir/odd %?#name")
    stage.fifo("dir/plain")
    stage.write("dir/file", b"")
    same(words_of(stage, "recv", "fifo:./d"), ["fifo:./dir/"])
    same(sorted(words_of(stage, "recv", "fifo:./dir/")), ["fifo:./dir/odd%20%25%3F%23name", "fifo:./dir/plain"])
    same(words_of(stage, "recv", f"fifo://{stage.path}/dir/p"), [f"fifo://{stage.path}/dir/plain"])
    stage.write("Procfile", b"db: ./database --x\nweb: ./server\n    after db\n")
    for asked in ("--stop", "--start", "--restart", "--reload", "--rel"):
        same(complete(stage, "run", asked, ""), [("db", "./database --x"), ("web", "./server")], asked)
    same(words_of(stage, "run", ""), [])
    stage.write("other", b"one: ./one\n")
    for words in (["-f", "other"], ["-fother"], ["--file=other"], ["--file", "other"]):
        same(words_of(stage, "run", *words, "--stop", ""), ["one"], words)
    fd = os.open("/dev/null", os.O_RDONLY)
    same(f"{os.getpid()}:{fd}" in words_of(stage, "peers", f"{os.getpid()}:"), True, "a descriptor of this process")
    os.close(fd)


def test_objects(stage):
    """live objects by the names that ls prints, each for the verbs that take it; sockets and rings as URLs"""
    name = f"/wherry-complete-{os.getpid()}"
    stage.run_wherry("segment", "create", "-s", "10", f"posix-shm:{name}")
    try:
        for verb in (["segment", "show"], ["rm"], ["show"], ["who"]):
            same(words_of(stage, *verb, f"posix-shm:{name[:-1]}").count(f"posix-shm:{name}"), 1, verb)
        same(words_of(stage, "sem", "post", f"posix-shm:{name}"), [], "a segment for sem")
        same([what for word, what in complete(stage, "show", f"posix-shm:{name}")], ["unknown"])
    finally:
        stage.run_wherry("rm", f"posix-shm:{name}")
    same(complete(stage, "show", f"posix-shm:{name}"), [("", "files")], "after it was removed")
    with stage.listen("sock"):
        path = stage.path / "sock"
        same(words_of(stage, "send", f"unix:{path}"), [f"unix:{path}"] * 2, "as a socket and as a file")
        same(set(words_of(stage, "send", f"unix://{path}")), {f"unix://{path}"})
    with socket.socket(socket.AF_INET) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        same(words_of(stage, "send", url), [url])
    recv = stage.start_wherry("recv", f"shm:/{name}")
    run.wait_for(lambda: f"shm:/{name}" in words_of(stage, "stat", "shm://"), "the ring to be offered")
    same(f"ring:{name[1:]}" in words_of(stage, "show", "ring:"), True, "the ring for show")
    recv.stop()


def test_nonsense(stage):
    """whatever is typed, completion is silent and succeeds"""
    for words in ([], [""], ["", ""], ["frobnicate", ""], ["ls", "--frobnicate", ""], ["ls", "-Z", ""],
                  ["recv", "unix:./no/such/dir/"], ["recv", "unix:%zz/"], ["run", "-f", "/no/such", "--stop", ""],
                  ["peers", "0:"], ["peers", "99999999999:"], ["show", "\x1b[31m"], ["ls", "--=", ""], ["ls", "--="],
                  ["send", "unix:" + "x" * 5000], ["send", "unix:./" + "x/" * 5000], ["\xff" * 300]):
        complete(stage, *words)
    stage.write("Procfile", b"\x00\xff not: a\n   file\n")
    same(complete(stage, "run", "--stop", ""), [], "units of a file that is none")


# ---- shells on a terminal ----

class Shell:
    """A shell on a terminal, its completion loaded."""

    def __init__(self, stage, name):
        self.stage, self.name, self.count = stage, name, 0
        bin_dir = stage.path / "bin"
        if not bin_dir.exists():
            bin_dir.mkdir()
            (stage.mine("bin/wherry")).symlink_to(stage.wherry)
        near, far = pty.openpty()
        where = {**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", "TERM": "vt100", "INPUTRC": "/dev/null",
                 "HOME": str(stage.path), "HISTFILE": "", "LC_ALL": "C.UTF-8", "PS1": "", "WORDS": "no"}
        words = ["bash", "--norc", "-i"] if name == "bash" else ["zsh", "-f", "-i"]
        self.process = stage.start(*words, stdin=far, stdout=far, stderr=far, env=where, start_new_session=True)
        os.close(far)
        self.near, self.said = near, b""
        if name == "bash":
            self.tell(f"source '{BASH}'; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; set +H")
        else:
            functions = stage.path / "functions"
            if not functions.exists():
                functions.mkdir()
                shutil.copy(ZSH, stage.mine("functions/_wherry"))
            self.tell("bindkey -e; unsetopt auto_list beep; LISTMAX=0; PS1=; RPS1=; unset zle_bracketed_paste; "
                      f"fpath=('{functions}' $fpath); autoload -Uz compinit; compinit -D -u; "
                      "zstyle ':completion:*' menu no")

    def read(self, mark):
        until = time.monotonic() + run.PATIENCE
        while mark not in self.said:
            if not select.select([self.near], [], [], max(0, until - time.monotonic()))[0]:
                raise run.tap.Failure(f"{self.name} did not come to {mark}: {self.said[-600:]!r}")
            try:
                self.said += os.read(self.near, 65536)
            except OSError:
                raise run.tap.Failure(f"{self.name} ended: {self.said[-600:]!r}") from None

    def tell(self, text):
        """A line, and wait until the shell has obeyed."""
        self.count += 1
        os.write(self.near, text.encode() + f"; echo done-$(({self.count}+0))-\r".encode())
        self.read(f"done-{self.count}-".encode())

    def complete(self, typed):
        """Type it, press TAB, and return the words that the line has then."""
        out = self.stage.mine("out")
        out.write_bytes(b"")
        os.write(self.near, typed.encode() + b"\t")
        # to the front of the line, to its end: what is typed meanwhile waits in the terminal
        os.write(self.near, b"\x01printf '%s\\0' \x05")
        self.tell(" >>out")
        return out.read_bytes().decode().split("\0")[:-1]

    def close(self):
        os.write(self.near, b"exit\r")
        try:
            while os.read(self.near, 65536):
                pass
        except OSError:
            pass
        os.close(self.near)
        self.process.end(None)


# Each as a program may name its shared memory: text that is a command, an option, a pattern, a line to a shell.
HOSTILE = ("$(touch pwned)", "`touch pwned`", "a;touch pwned", "a\ntouch pwned\n", "a'b\"c", "x y", "co:lon=a@b",
           "[1]*?", "back\\slash", "~tilde", "gr\u00fc\u00df", "!!bang", "{a,b}", "\x1b[31mred", "%s%n", "#hash",
           "tab\tbed", "|&<>")


def hostile_objects(stage, use):
    """use(number, name) for each; they begin alike, and differ behind a number."""
    base = f"wherry-complete-{os.getpid()}-"
    paths = [pathlib.Path("/dev/shm") / f"{base}{number:02}{name}" for number, name in enumerate(HOSTILE)]
    try:
        for path in paths:
            path.write_bytes(b"x")
        for number, path in enumerate(paths):
            use(f"/{base}{number:02}", f"/{path.name}")
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
    same((stage.path / "pwned").exists(), False, "whether a name was run as a command")


def test_hostile_names_in_bash(stage):
    """bash on a terminal: each odd name comes as one word, whole, and nothing of it is run; in quotes too"""
    shell = Shell(stage, "bash")

    def use(begun, name):
        same(shell.complete(f"wherry show posix-shm:{begun}"), ["wherry", "show", f"posix-shm:{name}"])
        same(shell.complete(f"wherry who posix-shm\\:{begun}"), ["wherry", "who", f"posix-shm:{name}"], "escaped")
        if not re.search(r"[\x00-\x1f]", name):
            same(shell.complete(f"wherry show 'posix-shm:{begun}"), ["wherry", "show", f"posix-shm:{name}"], "in '")
            if "!" not in name:
                same(shell.complete(f'wherry show "posix-shm:{begun}'), ["wherry", "show", f"posix-shm:{name}"], 'in "')
    hostile_objects(stage, use)
    shell.close()


def test_hostile_names_in_zsh(stage):
    """zsh on a terminal: the same"""
    shell = Shell(stage, "zsh")

    def use(begun, name):
        same(shell.complete(f"wherry show posix-shm:{begun}"), ["wherry", "show", f"posix-shm:{name}"])
        if not re.search(r"[\x00-\x1f]", name):
            same(shell.complete(f"wherry show 'posix-shm:{begun}"), ["wherry", "show", f"posix-shm:{name}"], "in '")
    hostile_objects(stage, use)
    shell.close()


def test_lines(stage):
    """bash and zsh on a terminal: verbs, options, URLs, files, commands, a typed command that is not run"""
    stage.fifo("queue-a")
    stage.write("some file", b"")
    stage.write("Procfile", b"unit-one: ./database\n")
    for name in ("bash", "zsh"):
        shell = Shell(stage, name)
        for typed, wanted in (
                ("wherry tran", ["wherry", "transports"]),
                ("wherry help tran", ["wherry", "help", "transports"]),
                ("wherry ls --orp", ["wherry", "ls", "--orphan"]),
                ("wherry ls --color=al", ["wherry", "ls", "--color=always"]),
                ("wherry ls -o NAME,HOLDE", ["wherry", "ls", "-o", "NAME,HOLDERS"]),
                ("wherry recv unix+seq", ["wherry", "recv", "unix+seqpacket:"]),
                ("wherry recv fifo:./qu", ["wherry", "recv", "fifo:./queue-a"]),
                ("wherry recv 'fifo:./qu", ["wherry", "recv", "fifo:./queue-a"]),
                ("wherry send unix:./x som", ["wherry", "send", "unix:./x", "some file"]),
                ("wherry map --html=Proc", ["wherry", "map", "--html=Procfile"]),
                ("wherry run --stop unit", ["wherry", "run", "--stop", "unit-one"]),
                ("wherry kill -s TER", ["wherry", "kill", "-s", "TERM"]),
                ("wherry lock ./f -- cat Proc", ["wherry", "lock", "./f", "--", "cat", "Procfile"]),
                ("wherry show '$(touch pwned)' --js", ["wherry", "show", "$(touch pwned)", "--json"]),
                ("wherry frobnicate '`touch pwned`", None)):
            if wanted:
                same(shell.complete(typed), wanted, f"{name}: {typed}")
            else:
                shell.complete(typed + "'")
        same((stage.path / "pwned").exists(), False, "whether what was typed was run")
        shell.close()


def test_state_of_the_shell(stage):
    """bash and zsh: completion changes neither $! nor $?"""
    for name in ("bash", "zsh"):
        shell = Shell(stage, name)
        shell.tell("sleep 100 & begun=$!")
        shell.complete("wherry tran")
        shell.tell('test $begun = $! && echo s-a-m-e | tr -d -; (exit 7)')
        same(b"same" in shell.said, True, f"{name}: $! is what it was")
        os.write(shell.near, b"(exit 7)\rwherry tran\t\x15")
        shell.tell('echo status-$?-; kill "$begun"; wait')
        same(b"status-7-" in shell.said, True, f"{name}: $? is what it was")
        shell.close()


def test_redirections_in_bash(stage):
    """bash: what is redirected is no operand"""
    answers = by_shell(stage, "bash", ["wherry ls 2>/dev/null --orp", "wherry ls > x --orp", "wherry ls >--orp",
                                       "A=1 B='x y' wherry ls --orp", "wherry recv unix:./x --ra"])
    same(answers, [["--orphan"], ["--orphan"], [], ["--orphan"], ["--raw"]])
