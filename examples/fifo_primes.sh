#!/bin/sh
# examples/fifo_primes.sh write|read FIFO - 768,000 integers go through a FIFO, and the primes are counted as they come.
#
# SPDX-License-Identifier: MIT
#
#     sh fifo_primes.sh read ./numbers & sh fifo_primes.sh write ./numbers
#
# A line is a message; so the writer may be a program that knows nothing of wherry, once the FIFO is there:
#
#     seq 768000 >./numbers
set -eu
url="fifo:$2?frame=line"
case $1 in
write) seq 768000 | wherry send "$url" ;;
read) wherry recv "$url" | factor | awk '{ count++ } NF == 2 { primes++ } # one factor: the number itself
    END { print count " numbers, " primes " of them prime" }' ;;
*)
    echo "usage: $0 write|read FIFO" >&2
    exit 2
    ;;
esac
