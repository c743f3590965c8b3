#!/bin/sh
# examples/signals.sh - signals as messages: three real-time signals, each with a value, in the order sent.
#
# SPDX-License-Identifier: MIT
#
# Three SIGUSR1 might arrive as one; real-time signals queue up, and each keeps its value.
set -eu
mkfifo said
wherry signals -w 5 -c 3 RTMIN 2>said >got &
exec 3<said
rm said
read -r _ <&3 # it is prepared

for job in 1 2 3; do
    wherry kill -s RTMIN --value "$job" $!
done
wait $!
sed 's/^.*value=/job /; s/$/ is done/' got
rm got
