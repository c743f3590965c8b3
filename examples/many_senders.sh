#!/bin/sh
# examples/many_senders.sh URL - one receiver, and four senders at once.
#
# SPDX-License-Identifier: MIT
#
#     sh many_senders.sh unix:./ferry
#
# They start in any order: a sender waits for the receiver.  The end of the senders comes whenever the last one so far
# has gone, perhaps before the next has come; so the receiver counts.
set -eu
for sender in 0 1 2 3; do
    seq 1000 | sed "s/.*/$sender/" | wherry send --timeout 10s "$1" &
done
wherry recv --keep --count 4000 --timeout 10s "$1" | sort | uniq -c | awk '{ print "sender " $2 ": " $1 " messages" }'
wait
