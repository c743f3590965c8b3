#!/bin/sh
# examples/echo_server.sh - an echo server and its clients, on a Unix socket or on TCP: echo_server.sh [URL]
#
# SPDX-License-Identifier: MIT
#
#     echo_server.sh unix:./echo
#     echo_server.sh tcp://127.0.0.1:0        port 0: one that the kernel picks
#
# The clients wait for the server.  But which port it got, it has to say: with -v it does, on standard error.  -w 30:
# after so many seconds it ends, should the script be gone.
set -eu
url=${1:-unix:./echo}
mkfifo said
wherry echo -w 30 -v "$url" 2>said &
exec 3<said
rm said
case $url in
tcp:*:0)
    read -r line <&3 # "wherry: listening at tcp://127.0.0.1:4711"
    url=${line##* }
    ;;
esac

wherry ask "$url" hello
wherry ask "$url" 'good-bye'

wherry kill $!
wait $! || echo "the server: $?" # 128 and 15, the number of SIGTERM
