#!/bin/sh
# examples/log_kill.sh [LOG] - a log that survives kill -9: what is in it is whole and in order.
#
# SPDX-License-Identifier: MIT
set -eu
log=${1:-./orders.log}
seq 1000000000 2>/dev/null | wherry send "file:$log" & # seq will find nobody to write to
writer=$!
trap 'kill -KILL "$writer"; rm -f "$log" ./got' EXIT
trap 'exit 1' HUP INT TERM
wherry recv --count 1000 --timeout 10s "file:$log" >/dev/null # until a thousand are in it; the writer goes on
kill -KILL "$writer"
status=0
wait "$writer" 2>/dev/null || status=$?
trap 'rm -f "$log" ./got' EXIT # without the kill: the number may be another process's from now on
echo "the writer ended with $status"

# A log has no end: after all that is there, recv would wait for more.  With --timeout 0 it says so, and ends with 3.
wherry recv --timeout 0 "file:$log" >./got 2>/dev/null || [ $? = 3 ]
count=$(wc -l <./got)
[ "$count" -ge 1000 ]
seq "$count" | cmp - ./got
echo 'all there is in the log is whole and in order'

echo 'the next writer goes on' | wherry send "file:$log"
wherry recv --count "$((count + 1))" "file:$log" | tail -n 1
