#!/bin/sh
# examples/server.sh - a concurrent server: two workers answer four clients, and SIGTERM loses no request.
#
# SPDX-License-Identifier: MIT
set -eu
wherry echo --workers 2 unix:./service &
server=$!
trap 'wherry kill "$server"' EXIT # should a client fail
clients=
for number in 1 2 3 4; do
    wherry ask unix:./service "client $number" >"answer $number" & # waits until the server is there
    clients="$clients $!"
done
for client in $clients; do
    wait "$client"
done
cat answer*
rm answer*

trap - EXIT
wherry kill "$server"
wait "$server" # 0: its workers have answered all they were given
