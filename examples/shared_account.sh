#!/bin/sh
# examples/shared_account.sh - a lock that survives its holder: one that moves money is killed half-way, and the next
# one finds the accounts as they were.
#
# SPDX-License-Identifier: MIT
#
# The kernel takes a lock on a file back when its holder dies, and does not say so to the next one.  So a change is
# written beside the file, and renamed to its name: that happens all at once, or not at all.
set -eu
accounts=./accounts
gate=./gate
export accounts gate
echo '1000 0' >"$accounts"

# This one writes, waits at a FIFO, and is killed there with kill -9; the kernel kills its command, too.  To open the
# other end of the FIFO waits until the command has opened its own.
mkfifo "$gate"
# shellcheck disable=SC2016 # for the shell that runs under the lock
wherry lock ./lock -- sh -c 'echo "990 " >"$accounts.new"; exec cat "$gate"' &
holder=$!
exec 3>"$gate"
kill -KILL "$holder"
status=0
wait "$holder" 2>/dev/null || status=$?
echo "the first one ended with $status"

# shellcheck disable=SC2016
wherry lock --timeout 10s ./lock -- sh -euc '
    read -r savings purse <"$accounts"
    echo "$((savings - 10)) $((purse + 10))" >"$accounts.new"
    mv "$accounts.new" "$accounts"
' 3>&-
read -r savings purse <"$accounts"
echo "$savings in the savings, $purse in the purse"
rm "$accounts" "$gate" ./lock
