#!/bin/sh
# examples/run_all.sh [BUILD] - runs each example twice, checks what it prints and that it leaves nothing behind; prints TAP.
#
# SPDX-License-Identifier: MIT
#
# BUILD (default build/release) holds the programs, named example_NAME.
set -u
unset CDPATH
build=$(cd "${1:-$(dirname "$0")/../build/release}" && pwd) || exit 1
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
cd "$scratch" || exit 1
number=0
failed=0

# check NAME EXPECTED: what the last run left in the file `out`, its status in $status, and nothing else in the directory.
check() {
    number=$((number + 1))
    left=$(find . -mindepth 1 ! -name out ! -name err)
    if [ "$status" = 0 ] && [ "$(cat out)" = "$2" ] && [ ! -s err ] && [ -z "$left" ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        failed=1
        { echo "status $status; expected:"; echo "$2"; echo "got:"; cat out err; echo "left behind: $left"; } | sed 's/^/# /'
    fi
    find . -mindepth 1 -delete
}

# alone NAME EXPECTED [ARGUMENT...]: an example that needs no other, twice.
alone() {
    name=$1
    expected=$2
    shift 2
    for turn in first second; do
        "$build/example_$name" "$@" >out 2>err </dev/null
        status=$?
        [ "$name" = reply ] && sort -o out out # two clients, in any order
        check "$name, $turn run" "$expected"
    done
}

# together URL: recv and send, the one or the other first, each twice.
together() {
    for turn in first second; do
        "$build/example_recv" "$1" >out 2>err </dev/null &
        [ $turn = second ] && sleep 0.2
        "$build/example_send" "$1" one 'two words' '' three 2>>err </dev/null
        status=$?
        wait $! || status=$?
        check "recv and send over $1, $turn run" "$(printf 'one\ntwo words\n\nthree')"
    done
}

echo "1..$((8 * 2 + 5 * 2))"
together unix:ferry
together unix+seqpacket:ferry
together fifo:ferry
together unix:@wherry-example-$$
together shm://wherry-example-$$
alone fork_pair "$(printf 'message %d from the child\n' 1 2 3)"
alone exec_pair 'ping, and the other program says pong'
alone many_senders "$(printf 'sender %d: 1000 messages\n' 0 1 2 3)" unix:ferry
alone many_senders "$(printf 'sender %d: 1000 messages\n' 0 1 2 3)" fifo:ferry
alone reply "$(printf 'down the river -> DOWN THE RIVER\nup the river -> UP THE RIVER')" unix:ferry
alone poll_loop "$(printf 'tick\ntick\ntick\nthe sender is gone')" unix:ferry
alone work_queue "10 jobs done, 1 of them for one that died" shm://wherry-example-$$
alone in_place "$(printf '1 1\n2 4\n3 9')"
exit $failed
