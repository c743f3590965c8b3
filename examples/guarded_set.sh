#!/bin/sh
# examples/guarded_set.sh - a semaphore set guards a drive and two buffers; who needs both takes both at once.
#
# SPDX-License-Identifier: MIT
#
# A command ends as soon as it has counted down, so nothing is undone when a script is killed between wait and post: for
# that `wherry lock FILE -- COMMAND` is there, or the program beside this one.
set -eu
set_name='sysv-sem:.?id=G'
drive=0 buffer=1
wherry sem create "$set_name" 1 2
trap 'wherry rm -f "$set_name"' EXIT

wherry sem wait -w 5 "$set_name" "$drive" "$buffer"
echo 'the first has a drive and a buffer'
{
    wherry sem wait -w 5 "$set_name" "$drive" "$buffer" # until both are there; meanwhile it has neither
    echo 'the second has both'
    wherry sem post "$set_name" "$drive" "$buffer"
} &
wherry sem wait -w 0 "$set_name" "$buffer" # so the second buffer can be had
echo 'the first has the other buffer, too'
wherry sem post "$set_name" "$buffer"
echo 'the first gives all back'
wherry sem post "$set_name" "$drive" "$buffer"
wait $!
wherry sem value "$set_name"
