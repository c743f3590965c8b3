#!/bin/sh
# examples/graceful_shutdown.sh - two processes are asked to end; the one that does not is killed.
#
# SPDX-License-Identifier: MIT
#
# Names that begin with @ are in no directory: who is killed leaves none behind.
set -eu
place=unix:@wherry-example-$$
wherry echo -w 30 "$place-polite" &
polite=$!
(
    trap '' TERM # ignored, also by the command below: it is stubborn
    exec wherry echo -w 30 "$place-stubborn"
) &
stubborn=$!
for name in polite stubborn; do
    wherry ask "$place-$name" "the $name one is there" # waits until it is
done

wherry kill --then 10s:KILL "$polite" & # asked, and killed after 10 seconds, if it takes so long
wherry kill --then 100ms:KILL "$stubborn" &
for pid in "$polite" "$stubborn"; do
    status=0
    wait "$pid" 2>/dev/null || status=$? # some shells say there who was killed
    echo "ended by signal $((status - 128))"
done
wait
