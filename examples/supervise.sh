#!/bin/sh
# examples/supervise.sh - two programs, the second started when the first is ready; when it has ended, all is stopped.
#
# SPDX-License-Identifier: MIT
set -eu
wherry run -w 20 --any-exit -f - 2>&1 <<'PROCFILE'
base: wherry echo unix:./base
    ready unix:./base
client: wherry ask unix:./base 'is anybody there?'
    after base
PROCFILE
