#!/bin/sh
# tests/fuzz/build.sh CLANG SOURCE OUTPUT FILE... - builds the fuzz targets together with all of src/, for coverage in
# it.
#
# SPDX-License-Identifier: MIT
clang=$1
source=$2
output=$3
shift 3
for file in "$source"/src/*/*.c; do
    case $file in
    */src/inspect/*) ;; # another library, which needs more than libc
    *) set -- "$@" "$file" ;;
    esac
done
exec "$clang" -std=c17 -D_GNU_SOURCE -O1 -g -fno-omit-frame-pointer \
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -I"$source/include" -I"$source/src" -I"$source/tests" \
    "$@" -pthread -o "$output"
