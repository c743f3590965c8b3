#!/bin/sh
# examples/datagrams.sh - without a connection, on UDP: measurements go to whoever listens at a port.
#
# SPDX-License-Identifier: MIT
#
# Nobody sees an end, so the receiver counts; and what is sent before somebody listens is lost, so the script waits
# until the receiver says, on standard error, which port it has.  With seq=1 it would say how many are missing.
set -eu
mkfifo said
wherry recv -v -w 5 -c 3 'udp://127.0.0.1:0?seq=1' 2>said &
exec 3<said
rm said
read -r line <&3 # "wherry: listening at URL"

printf '%s degrees\n' 18 19 20 | wherry send "${line##* }"
wait $!
