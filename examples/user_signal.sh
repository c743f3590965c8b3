#!/bin/sh
# examples/user_signal.sh - a process waits for SIGUSR1, and ends when it has come.
#
# SPDX-License-Identifier: MIT
#
# By default SIGUSR1 kills.  So it is sent only when the receiver has said, on standard error, that it is prepared.
set -eu
mkfifo said
{
    wherry signals -w 5 -c 1 USR1 2>said | cut -d ' ' -f 1,2
    echo 'the wait is over'
} &
exec 3<said
rm said
read -r line <&3 # "wherry: pid N prints the signals USR1"
line=${line#*pid }

wherry kill -s USR1 "${line%% *}"
wait $!
