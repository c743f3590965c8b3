#!/bin/sh
# examples/pipeline.sh - three programs, with every exit status: pipeline.sh N
#
# SPDX-License-Identifier: MIT
#
# The shell's $? is that of the last program alone.  -v says all of them, --pipefail makes any failure the pipeline's.
set -eu
wherry pipe -v --pipefail "seq 1 ${1:-1000}" 'grep 7' 'wc -l' 2>&1
