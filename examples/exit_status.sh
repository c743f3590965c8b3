#!/bin/sh
# examples/exit_status.sh - what becomes of processes in the background: exit statuses and a signal.
#
# SPDX-License-Identifier: MIT
#
# The shell's own wait knows its children alone, and has no deadline.  `wherry wait` waits for anybody's processes,
# until a deadline; how a child ended, its parent asks.  --exited: one that has gone already is no mistake.
set -eu
(exit 0) &
fine=$!
(exit 3) &
unhappy=$!
wherry recv -w 30 unix:./never & # waits for what never comes
killed=$!

wherry kill --wait -w 10 "$killed"
wherry wait --exited -q -w 10 "$fine" "$unhappy" "$killed"
for child in "$fine" "$unhappy" "$killed"; do
    status=0
    wait "$child" || status=$?
    if [ "$status" -gt 128 ]; then
        echo "signal: $((status - 128))"
    else
        echo "exit status: $status"
    fi
done
