#!/bin/sh
# tests/fuzz/build.sh CLANG SOURCE OUTPUT FILE... - builds the fuzz targets together with all of src/, for coverage in it.
#
# SPDX-License-Identifier: MIT
clang=$1
source=$2
output=$3
shift 3
exec "$clang" -std=c17 -D_GNU_SOURCE -O1 -g -fno-omit-frame-pointer \
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -I"$source/include" -I"$source/src" -I"$source/tests" \
    "$source"/src/*/*.c "$@" -pthread -o "$output"
