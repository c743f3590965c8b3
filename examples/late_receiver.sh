#!/bin/sh
# examples/late_receiver.sh - a queue outlives its sender: who comes later finds the messages.  late_receiver.sh NAME
#
# SPDX-License-Identifier: MIT
#
# A POSIX message queue also has the urgent ones come first: those of a higher --type, which it calls priority.
set -eu
name=${1:?"usage: late_receiver.sh NAME"}
wherry mk --count 10 --size 100 posix-mq "/$name" # as many, and as large; one that is there already is a failure
trap 'wherry rm "posix-mq:/$name"' EXIT

printf 'wash\ndry\niron\n' | wherry send "mq:///$name" # ends when all are in the queue
echo 'put the fire out' | wherry send --type 1 "mq:///$name"
echo 'the senders are gone'
wherry recv -w 5 -c 4 "mq:///$name"
