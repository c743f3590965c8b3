#!/bin/sh
# examples/lock_holders.sh - who has a lock, and who waits for it: both by name.
#
# SPDX-License-Identifier: MIT
set -eu
state=./state
gate=./gate

# The keeper has the lock for as long as its command runs: cat, until this shell closes the other end of the FIFO.  To
# open that end waits until cat has opened its own; so from then on the lock is taken.
mkfifo "$gate"
wherry lock "$state" -- cat "$gate" &
exec 3>"$gate"

wherry lock --timeout 0 "$state" -- echo 'nobody has it' 2>&1 || echo "not run, status $?"

wherry lock --shared --timeout 20s "$state" -- echo 'now the visitor has it' 3>&- &
# Nothing tells when the visitor has begun to wait: to look is for people.
for _ in $(seq 500); do
    wherry lock --holders "$state" | grep -q waits && break
done
wherry lock --holders --noheadings --raw --output COMMAND,MODE,STATE "$state"

exec 3>&-
wait
rm "$state" "$gate"
