#!/bin/sh
# examples/ls_wc.sh [DIRECTORY] - `ls DIRECTORY | wc -l`, and the exit status that a shell does not tell.
#
# SPDX-License-Identifier: MIT
#
# With --pipefail the status of the first command that fails is not hidden by the last one's success.  Between the two
# may be more than a pipe: shared memory as here, or =unix=, =tcp=, =fifo=, ...
set -eu
directory=${1:-.}
export directory
# shellcheck disable=SC2016 # the commands are run by a shell of their own
wherry pipe --pipefail 'ls -A "$directory"' 'wc -l'
# shellcheck disable=SC2016
wherry pipe --pipefail 'ls -A "$directory"' '=shm=' 'wc -l'
status=0
wherry pipe --pipefail 'ls -A ./no-such-directory 2>/dev/null' 'wc -l' || status=$?
echo "ls ./no-such-directory: $status"
