#!/bin/sh
# examples/segment_semaphore.sh write|read NAME - a text handed over in shared memory; either side may start first.
#
# SPDX-License-Identifier: MIT
#
#     sh segment_semaphore.sh read board & sh segment_semaphore.sh write board
#
# The reader waits for the segment, which has the text in it from its first moment on.  The writer waits for the
# semaphore, with which the reader says that it has read it, and removes both: they are the kernel's, and would stay.
set -eu
segment=posix-shm:/$2
was_read=posix-sem:/$2.read

case $1 in
write)
    wherry sem create "$was_read" 0
    trap 'wherry rm --force "$segment" "$was_read"' EXIT
    trap 'exit 1' HUP INT TERM
    echo 'the ferry leaves at nine' | wherry segment create "$segment" -
    wherry sem wait --timeout 10s "$was_read"
    ;;
read)
    wherry segment show --text --timeout 10s "$segment"
    wherry sem post "$was_read"
    ;;
*)
    echo "usage: $0 write|read NAME" >&2
    exit 2
    ;;
esac
