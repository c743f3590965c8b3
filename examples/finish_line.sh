#!/bin/sh
# examples/finish_line.sh - a signal comes in the middle of a line; the line is finished, and then the script ends.
#
# SPDX-License-Identifier: MIT
#
# The shell runs a trap between two commands, never within one.  A trap that sets a variable leaves it to the script
# where it ends.
set -eu
came=
trap 'came=TERM' TERM
line=1
while [ -z "$came" ]; do
    printf 'line %s: to be, ' "$line"
    [ "$line" = 3 ] && wherry kill -s TERM $$ # from elsewhere, most of the time
    echo 'or not to be'
    line=$((line + 1))
done
echo "SIG$came came, and the last line is whole"
