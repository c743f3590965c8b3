# tests/install/tree_kit.py - owns copies of the source tree, as a release would have it, and the running of tools.
#
# SPDX-License-Identifier: MIT
import os
import pathlib
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "api"))
import tap  # noqa: E402

MINUTES = 60  # seconds; nothing takes more than a few of them when all is well


def tool(*words, patience=10 * MINUTES, **how):
    """Run it, and return what it printed; the end of that is in the failure."""
    words = [str(word) for word in words]
    try:
        result = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                stdin=subprocess.DEVNULL, timeout=patience, **how)
    except subprocess.TimeoutExpired:
        raise tap.Failure(f"{' '.join(words)[:200]}: still runs after {patience} s") from None
    if result.returncode != 0:
        raise tap.Failure(f"{' '.join(words)[:200]}: exit code {result.returncode}: {result.stdout[-3000:]}")
    return result.stdout


def paths(source):
    """What belongs to the sources: what git knows or would add; without git all but builds."""
    if (source / ".git").exists() and shutil.which("git"):
        names = subprocess.run(["git", "-C", str(source), "-c", "safe.directory=*", "ls-files", "-z", "--cached",
                                "--others", "--exclude-standard"], check=True, capture_output=True).stdout
        found = [source / os.fsdecode(name) for name in names.split(b"\0") if name]
    else:
        found = [p for p in source.rglob("*")
                 if p.relative_to(source).parts[0] != "build" and "__pycache__" not in p.parts and not p.is_dir()]
    return sorted(p for p in found if p.exists())


def export(source, to):
    """A copy with the permissions that git keeps, whatever the umask."""
    for path in paths(source):
        copy = to / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
    return to
