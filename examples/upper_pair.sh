#!/bin/sh
# examples/upper_pair.sh - what one process says, another turns into capitals, over a socket pair between them.
#
# SPDX-License-Identifier: MIT
#
# In place of =socketpair= there can be =tcp=, =shm=, =mq= ...; with nothing there it is a pipe.
set -eu
printf 'down the river\nand up again\n' | wherry pipe --pipefail 'cat' =socketpair= 'tr a-z A-Z'
