#!/bin/sh
# examples/typed_fifo.sh [FIFO] - what somebody types into a FIFO, numbered, until they are done.
#
# SPDX-License-Identifier: MIT
#
#     sh typed_fifo.sh ./typed        in one terminal; and in another:
#     cat >./typed
#
# It waits for somebody to come, and ends when the last one has gone.  With --keep it would wait for the next.
set -eu
wherry recv "fifo:${1:-./typed}?frame=line" | awk '{ print NR ": " $0 }'
