#!/bin/sh
# examples/kept_string.sh put|get|remove NAME [TEXT] - a string that stays in shared memory when its writer has ended.
#
# SPDX-License-Identifier: MIT
#
#     sh kept_string.sh put posix-shm:/motto 'all aboard'
#     sh kept_string.sh get posix-shm:/motto
#     sh kept_string.sh remove posix-shm:/motto
#
# NAME may be System V's as well: sysv-shm:0x4d2, which ipcs -m lists.
set -eu
case $1 in
put)
    wherry rm --force "$2" # what was there; who has it open keeps it
    printf '%s\0' "$3" | wherry segment create "$2" -
    ;;
get) wherry segment show --text "$2" ;;
remove) wherry segment remove "$2" ;;
*)
    echo "usage: $0 put NAME TEXT | get NAME | remove NAME" >&2
    exit 2
    ;;
esac
