#!/bin/sh
# examples/fork_pair.sh - messages through the unnamed pipe between two commands of a shell.
#
# SPDX-License-Identifier: MIT
#
# fd:1 and fd:0 are what each has inherited as its standard output and input.  The shell makes the pipe, and closes its
# own copies of both ends; so the receiver sees the end when the sender has gone.
set -eu
printf 'message %d from the left\n' 1 2 3 | wherry send fd:1 | wherry recv fd:0
