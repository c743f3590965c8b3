#!/bin/sh
# examples/typed_queue.sh - six messages of several types, taken out of the order in which they were sent.
#
# SPDX-License-Identifier: MIT
#
# The queue is named by this directory and a letter, as ftok(3) does it: `sysv:` when messages go through it,
# `sysv-msg:` when it is looked at or removed.  It stays until somebody removes it.
set -eu
queue='sysv:.?id=T'
trap 'wherry rm -f "sysv-msg:.?id=T"' EXIT

put() {
    echo "$2" | wherry send --type "$1" "$queue"
}
put 3 'sweep the floor'
put 1 'the house is on fire'
put 4711 'you have mail'
put 2 'answer the letter'
put 3 'water the plants'
put 1 'the cat is in the tree'

wherry recv -w 5 -c 1 --type 4711 "$queue" # of this type alone
wherry recv -w 5 -c 3 --type -2 "$queue"   # of types 1 and 2, the lowest first
wherry recv -w 5 -c 2 "$queue"             # the rest, as it was sent
