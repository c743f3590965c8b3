#!/bin/sh
# examples/lock_readers.sh - readers lock together, a writer alone; and who has the lock is told by name.
#
# SPDX-License-Identifier: MIT
#
# `wherry lock FILE -- COMMAND` runs the command while it has the lock.  When that is not to be had in time, the command
# is not run, a sentence on standard error says who has it, and the exit status is 5.
set -eu
state=./state
export state

# shellcheck disable=SC2016 # what is in quotes is for the shell that runs under the lock
wherry lock --shared "$state" -- sh -euc '
    echo "somebody reads"
    wherry lock --shared --timeout 0 "$state" -- echo "another reader comes in"
    wherry lock --timeout 0 "$state" -- echo "a writer comes in" 2>&1 || echo "a writer has to wait: $?"
    wherry lock --holders --noheadings --raw --output COMMAND,MODE,STATE "$state"
'
# shellcheck disable=SC2016
wherry lock "$state" -- sh -euc '
    echo "somebody writes"
    wherry lock --shared --timeout 0 "$state" -- echo "a reader comes in" 2>&1 || echo "a reader has to wait: $?"
    wherry lock --holders --noheadings --raw --output COMMAND,MODE,STATE "$state"
'
rm "$state"
