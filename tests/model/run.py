# tests/model/run.py - checks the models of the ring's protocol with spin, and that each mistake in the protocol shows.
#
# SPDX-License-Identifier: MIT
#
# run.py [--sound | --weak] [WORD]: the cases that have WORD in their name; what holds alone, or the mistakes alone.
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "api"))
sys.dont_write_bytecode = True
import tap  # noqa: E402

# What holds: the part, what it is defined with, in words.
SOUND = [
    ("LANE", "KILLS=2", "a lane, two deaths"),
    ("LANE", "KILLS=1 DROP", "a lane, redeliver=no"),
    ("OWNER", "RECEIVERS=2 KILLS=2", "two receivers for ever, two deaths"),
    ("OWNER", "RECEIVERS=3 KILLS=0 CALLS=1", "three receivers"),
    ("OWNER", "RECEIVERS=2 KILLS=1 FENCED", "two receivers without membarrier"),
    ("WAKE", "SENDERS=1", "two receivers sleep, one may give up"),
    ("WAKE", "SENDERS=1 MESSAGES_0=1 KILLS=1", "two receivers sleep, one death"),
    ("WAKE", "SENDERS=1 GIVE_UPS=0 FENCED", "two receivers sleep without membarrier"),
    ("ROOM", "KILLS=0", "both ends sleep"),
    ("ROOM", "KILLS=2", "both ends sleep, two deaths"),
    ("ROOM", "KILLS=2 RECEIVER_RESETS", "both ends sleep, the receiver resets wake_at, two deaths"),
    ("ROOM", "KILLS=1 FENCED", "both ends sleep without membarrier"),
    ("NAME", "KILLS=0", "three come and go"),
    ("NAME", "KILLS=1", "three come and go, one death"),
]

# The mistakes: the part, which, with what else defined, what must be found to fail.
WEAK = [
    ("LANE", "END_NOT_STORED", "", "wrong_end"),
    ("LANE", "NO_SEARCH", "", "wrong_end"),
    ("LANE", "NO_ROOM_FOR_ZERO", "", "lost"),
    ("LANE", "COMMIT_BEFORE_CLEAR", "", "false_frame"),
    ("LANE", "NO_CLEAR", "", "false_frame"),
    ("LANE", "COMMIT_BEFORE_PAYLOAD", "", "torn"),
    ("LANE", "FREED_AHEAD", "KILLS=0", "torn"),
    ("LANE", "POSITION_BEFORE_COPY", "KILLS=1", "lost"),
    ("LANE", "POSITION_BEFORE_COPY", "KILLS=0", "torn"),
    ("LANE", "LENT_IGNORED", "", "twice"),
    ("LANE", "LENT_CLEARED_FIRST", "", "twice"),
    ("LANE", "LENT_IS_A_FLAG", "", "falsely_marked"),
    ("LANE", "LENT_IS_A_FLAG", "DROP", "lost"),
    ("OWNER", "NO_REVOKE", "", "two_readers"),
    ("OWNER", "NO_MEMBARRIER", "", "two_readers"),
    ("OWNER", "ONE_MEMBARRIER_FOR_ALL", "", "two_readers"),
    ("OWNER", "INSIDE_NOT_AWAITED", "", "two_readers"),
    ("OWNER", "INSIDE_AFTER_BIAS", "", "two_readers"),
    ("OWNER", "BIAS_AFTER_LOOKING", "", "two_readers"),
    ("OWNER", "JOIN_WITHOUT_BARRIER", "", "two_readers"),
    ("OWNER", "LEND_WITHOUT_MARK", "", "two_readers"),
    ("OWNER", "NO_CAS", "", "two_readers"),
    ("OWNER", "NO_LOCK_ASKED", "", "two_readers"),
    ("OWNER", "NO_EPOCH", "", "two_readers"),
    ("OWNER", "OWNER_BEFORE_POSITION", "", "stale_position"),
    ("WAKE", "NOT_PASSED_ON", "SENDERS=1 GIVE_UPS=0", "lost_wakeup"),
    ("WAKE", "WAKE_NOT_HANDED_ON", "SENDERS=1", "lost_wakeup"),
    ("WAKE", "WAKE_NOT_HANDED_ON", "SENDERS=2 MESSAGES_0=1 GIVE_UPS=0", "lost_wakeup"),
    ("WAKE", "BIT_NOT_TAKEN_BACK", "SENDERS=2 MESSAGES_0=1 GIVE_UPS=0", "lost_wakeup"),
    ("WAKE", "WAKE_ONE_TRY", "SENDERS=2 MESSAGES_0=1 GIVE_UPS=0", "lost_wakeup"),
    ("WAKE", "SLEEPERS_BEFORE_COMMIT", "SENDERS=1 GIVE_UPS=0", "lost_wakeup"),
    ("WAKE", "BELL_NOT_RUNG", "SENDERS=1 GIVE_UPS=0", "lost_wakeup"),
    ("WAKE", "BELL_READ_LATE", "SENDERS=1 GIVE_UPS=0", "lost_wakeup"),
    ("WAKE", "BIT_AFTER_LOOKING", "SENDERS=1 GIVE_UPS=0", "lost_wakeup"),
    ("WAKE", "NO_SLEEP_BARRIER", "SENDERS=1 GIVE_UPS=0", "lost_wakeup"),
    ("WAKE", "NO_SECOND_LOOK", "SENDERS=1 GIVE_UPS=0", "lost_wakeup"),
    ("WAKE", "NO_TICK", "SENDERS=1 GIVE_UPS=0 KILLS=1", "lost_wakeup"),
    ("ROOM", "ROOM_WITHOUT_BARRIER", "", "sender_forgotten"),
    ("ROOM", "ROOM_LOOKED_AT_FIRST", "", "sender_forgotten"),
    ("ROOM", "ROOM_READ_LATE", "", "sender_forgotten"),
    ("ROOM", "WAKE_AT_READ_FIRST", "", "sender_forgotten"),
    ("ROOM", "NO_ROOM_TICK", "KILLS=1", "sender_forgotten"),
    ("ROOM", "NO_TICK", "KILLS=1", "receiver_forgotten"),
    ("ROOM", "NO_SLEEP_BARRIER", "", "receiver_forgotten"),
    ("ROOM", "FREED_AHEAD", "KILLS=1", "overrun"),
    ("NAME", "NAME_NOT_CHECKED_AFTER_LOCK", "", "two_files"),
    ("NAME", "NAMED_BEFORE_LOCKED", "", "removed_under_a_user"),
    ("NAME", "COMER_REMOVES_UNSEEN", "", "removed_under_a_user"),
    ("NAME", "LAST_REMOVES_UNSEEN", "", "removed_under_a_user"),
    ("NAME", "REMOVED_WITHOUT_LOCK", "", "removed_under_a_user"),
    ("NAME", "LOCK_KEPT_UNTIL_LAST", "KILLS=0", "litter"),
]


def command(words, folder):
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    if result.returncode != 0:
        raise tap.Failure(f"{' '.join(words)}: exit status {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def search(defines, optimize):
    """What fails, '' if nothing does; and how one gets there."""
    if not shutil.which("spin"):
        raise tap.Skip("spin is not installed")
    with tempfile.TemporaryDirectory(prefix="wherry-model-") as folder:
        for model in HERE.glob("*.pml"):
            shutil.copy(model, folder)
        defines = [f"-D{word}" for word in defines]
        command(["spin", "-a", *defines, "ring.pml"], folder)
        # Escapes (`unless`) and a look at all variables when nobody can move: no partial order is left to use.
        flags = ["-w", "-DSAFETY", "-DNOREDUCE", "-DMEMLIM=2000", optimize]
        command(["cc", *flags, "-o", "pan", "pan.c"], folder)
        output = command(["./pan", "-E", "-m1000000"], folder)
        found = re.search(r"assertion violated\s+!\((\w+)\)", output)
        if found:
            trail = command(["spin", "-t", "-p", *defines, "ring.pml"], folder)
            return found[1], trail
        # Complete, or it says nothing.
        if not re.search(r"errors: 0\b", output) or re.search("max search depth|Search not completed|MEMLIM", output):
            raise tap.Failure(f"the search came to no end\n{output}")
        return "", ""


def tail(trail):
    steps = [line for line in trail.splitlines() if ".pml:" in line]
    return "\n".join(steps[-120:])


def sound(part, more):
    def check():
        found, trail = search([f"PART_{part}", *more.split()], "-O2")
        if found:
            raise tap.Failure(f"{found}; the way there:\n{tail(trail)}")
    return check


def weak(part, mistake, more, expected):
    def check():
        found, trail = search([f"PART_{part}", f"WEAK_{mistake}", *more.split()], "-O0")
        if found != expected:
            raise tap.Failure(f"found {found or 'nothing'}, not {expected}\n{tail(trail)}")
    return check


def main():
    words = [word for word in sys.argv[1:] if word[:2] != "--"]
    cases = []
    if "--weak" not in sys.argv:
        cases += [(f"{part.lower()}: {title}", sound(part, more)) for part, more, title in SOUND]
    if "--sound" not in sys.argv:
        cases += [(f"{part.lower()}: {mistake} {more}".strip() + f" is {name}", weak(part, mistake, more, name))
                  for part, mistake, more, name in WEAK]
    return tap.run([case for case in cases if all(word in case[0] for word in words)])


if __name__ == "__main__":
    sys.exit(main())
