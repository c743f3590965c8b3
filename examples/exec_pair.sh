#!/bin/sh
# examples/exec_pair.sh - a program gets a channel that was open before it began: a descriptor, and its number in a URL.
#
# SPDX-License-Identifier: MIT
#
# Here the shell opens a FIFO as descriptor 3 and hands that on, as it does with standard input, 0.
set -eu
mkfifo channel
printf 'one\ntwo\n' >channel &
exec 3<channel
rm channel # nobody needs its name any more

wherry recv -w 5 -c 1 'fd:3?frame=line' # takes one line, and leaves the rest
wherry recv -w 5 'fd:3?frame=line'
wait $!
