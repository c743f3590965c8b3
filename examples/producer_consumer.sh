#!/bin/sh
# examples/producer_consumer.sh - a producer and a consumer change one number in a file, each 20 times, under a lock.
#
# SPDX-License-Identifier: MIT
#
# A change is three steps: read, add, write.  Without the lock the two would now and then both read the same number, and
# what one of them wrote would be lost.
set -eu
stock=./stock
echo 10 >"$stock"

# change BY: nobody else is between the reading and the writing; who comes meanwhile waits, 10 seconds at most.
change() {
    # shellcheck disable=SC2016 # for the shell that runs under the lock
    wherry lock --timeout 10s "$stock" -- sh -c 'n=$(cat "$1") && echo "$((n + $2))" >"$1"' change "$stock" "$1"
}

produce() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        change 1
    done
}

consume() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        change -1
    done
}

produce &
consume
wait "$!" # its exit status is the producer's
echo "$(cat "$stock") in stock"
rm "$stock"
