# tests/install/reproduce.py SOURCE BUILD COMPILER - two builds of the same sources install the same bytes.
#
# SPDX-License-Identifier: MIT
"""The first is BUILD; the second is made of a copy of the sources in another folder, with the same options, under
another umask, zone, language, home and date."""
import hashlib
import json
import os
import pathlib
import stat
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from tree_kit import MINUTES, export, tap, tool  # noqa: E402

# Options that change what a compiler makes; those of wherry's own are needed for the files to be there.
LIKE = ("buildtype", "debug", "optimization", "b_ndebug", "b_lto", "b_pie", "b_staticpic", "b_sanitize", "c_args",
        "c_link_args", "c_std", "prefix", "libdir", "command", "inspect", "man", "bash_completion_dir",
        "zsh_completion_dir", "warning_level", "default_library", "strip")


def options(build):
    found = {o["name"]: o["value"] for o in json.loads(tool("meson", "introspect", build, "--buildoptions"))}
    return {name: found[name] for name in LIKE}


def word(name, value):
    if isinstance(value, list):
        value = ",".join(value)
    return f"-D{name}={str(value).lower() if isinstance(value, bool) else value}"


def installed(build, to):
    """Path: permissions and what is in it."""
    tool("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", to)
    found = {}
    for path in sorted(to.rglob("*")):
        status = path.lstat()
        content = (os.readlink(path) if stat.S_ISLNK(status.st_mode) else "a folder" if path.is_dir() else
                   hashlib.sha256(path.read_bytes()).hexdigest())
        found[str(path.relative_to(to))] = (oct(status.st_mode), content)
    return found


def main():
    source, build = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory(prefix="wherry-reproduce-") as name:
        place = pathlib.Path(name).resolve()
        files = []

        def second():
            like = options(build)
            if like["debug"]:
                raise tap.Skip("debug information names the folders of a build")
            tree, other = export(source, place / "another" / "folder" / "of-the-sources"), place / "b"
            environment = {**os.environ, "TZ": "Pacific/Chatham", "LC_ALL": "C", "LANG": "de_DE", "HOME": str(place),
                           "USER": "nobody", "SOURCE_DATE_EPOCH": "86400", "CC": sys.argv[3]}
            tool("meson", "setup", other, tree, "-Dtests=disabled", "-Dbench=disabled", "-Dexamples=disabled",
                 *(word(name, value) for name, value in like.items() if name not in ("debug", "optimization")),
                 env=environment, umask=0o077)
            tool("ninja", "-C", other, "-j2", env=environment, umask=0o077, patience=20 * MINUTES)
            files.append(installed(build, place / "first"))
            files.append(installed(other, place / "second"))

        def same():
            if len(files) != 2:
                raise tap.Skip("there is no second build")
            first, other = files
            differ = [path for path in sorted(first.keys() | other.keys()) if first.get(path) != other.get(path)]
            if len(first) < 100 or differ:
                raise tap.Failure(f"{len(differ)} of {len(first)} files differ: " +
                                  "; ".join(f"{p}: {first.get(p)} and {other.get(p)}" for p in differ[:20]))

        return tap.run([("a second build elsewhere", second), ("it installs the same bytes", same)])


sys.exit(main())
