#!/bin/sh
# examples/run_all.sh [BUILD] - runs each example twice, checks what it prints and that it leaves nothing behind; prints
# TAP.
#
# SPDX-License-Identifier: MIT
#
# BUILD (default build/release) holds the programs, named example_NAME, and the command, which the scripts use.
# shellcheck disable=SC2317 # functions that are called through others
set -u
unset CDPATH
examples=$(cd "$(dirname "$0")" && pwd) || exit 1
build=$(cd "${1:-$examples/../build/release}" && pwd) || exit 1
PATH=$build:$PATH
# The bytes for message queues are all of a user's, also those of tests beside this one.
prlimit --pid $$ --msgqueue=unlimited:unlimited 2>/dev/null || true
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
cd "$scratch" || exit 1
number=0
failed=0
memory=wherry-example-$$                  # of names outside of this directory
key=0x7765$(printf %04x "$(($$ % 65536))") # the same for System V
low=$((($(stat -c %d .) & 255) << 16 | $(stat -c %i .) & 65535)) # of all keys that ftok(3) makes of this directory

# sysv: the System V objects of these keys, each as its kind and its number.
sysv() {
    awk -v key="$(printf %d "$key")" -v low="$low" 'FNR > 1 && ($1 == key || ($1 + 4294967296) % 16777216 == low) {
        sub(".*/", "", FILENAME)
        print FILENAME, $2
    }' /proc/sysvipc/*
}

# processes: who is in this directory, where all that an example starts begins.  Goes elsewhere itself, not to be one of
# them: call it in a subshell.
processes() {
    here=$(pwd -P)
    cd / && find /proc/[0-9]*/cwd -maxdepth 0 -lname "$here" ! -path "/proc/$$/*" 2>/dev/null | cut -d / -f 3
}

# left_behind: files here, objects of these names and keys, and the processes $pids.
left_behind() {
    find . -mindepth 1 ! -name out ! -name err
    find /dev/shm /dev/mqueue -name "*$memory*" 2>/dev/null
    sysv
    for pid in $pids; do
        echo "process $pid: $(tr '\0' ' ' </proc/"$pid"/cmdline)"
    done
}

# tidy: without what a failed run left, the next ones can be judged by themselves.
tidy() {
    for pid in $pids; do
        kill -KILL "$pid"
    done
    find /dev/shm /dev/mqueue -name "*$memory*" -delete 2>/dev/null
    sysv | while read -r kind id; do
        ipcrm "$kind" "$id"
    done >/dev/null
}

# check TITLE EXPECTED: what the last run left in the file `out`, its status in $status, and nothing else.
check() {
    number=$((number + 1))
    pids=$(processes)
    left=$(left_behind)
    sed -i 's/pid [0-9][0-9]*/pid N/' out # a number that is another each time
    if [ "$status" = 0 ] && [ "$(cat out)" = "$2" ] && [ ! -s err ] && [ -z "$left" ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        failed=1
        { echo "status $status; expected:"; echo "$2"; echo "got:"; cat out err; echo "left behind: $left"; } |
            sed 's/^/# /'
        tidy
    fi
    find . -mindepth 1 -delete
}

# twice TITLE EXPECTED COMMAND [ARGUMENT...]: so that the first run leaves nothing in the way of the second.
twice() {
    title=$1
    expected=$2
    shift 2
    for turn in first second; do
        (set -e; "$@") >out 2>err </dev/null
        status=$?
        [ "$title" = reply ] && sort -o out out # two clients, in any order
        check "$title, $turn run" "$expected"
    done
}

# alone NAME EXPECTED [ARGUMENT...]: an example that needs no other.
alone() {
    name=$1
    expected=$2
    shift 2
    twice "$name" "$expected" "$build/example_$name" "$@"
}

# script NAME EXPECTED [ARGUMENT...]: the same of a shell script.
script() {
    name=$1
    expected=$2
    shift 2
    with_command twice "$name.sh" "$expected" sh "$examples/$name.sh" "$@"
}

# together URL: recv and send, the one or the other first.
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

# read_write TITLE EXPECTED PLACE COMMAND...: `COMMAND read PLACE` and `COMMAND write PLACE`, one or the other first.
read_write() {
    title=$1
    expected=$2
    place=$3
    shift 3
    for order in 'read write' 'write read'; do
        first=${order% *}
        "$@" "$first" "$place" >>out 2>>err </dev/null &
        sleep 0.1 # for it to be the first
        "$@" "${order#* }" "$place" >>out 2>>err </dev/null
        status=$?
        wait $! || status=$?
        check "$title, $first first" "$expected"
    done
}

# mapped_byte: look at a byte, change it, and see what other programs find in the file then.
mapped_byte() {
    echo 'hello, world' >file
    "$build/example_mapped_byte" file 7
    "$build/example_mapped_byte" file 7 W
    cat file
    rm file
}

# kept NAME COMMAND...: a run of the command for each step, the string being kept between them.
kept() {
    place=$1
    shift
    "$@" put "$place" 'all aboard'
    "$@" get "$place"
    "$@" put "$place" 'all ashore'
    "$@" get "$place"
    "$@" remove "$place"
}

# by_hand TEXT COMMAND...: types TEXT into the FIFO that the command reads.  The FIFO is there first; so whoever opens
# it waits for the other.
by_hand() {
    text=$1
    shift
    mkfifo typed
    timeout 20 "$@" ./typed &
    # shellcheck disable=SC2016,SC2059 # $1 is for the other shell, and a format
    timeout 20 sh -c 'printf "$1" | cat >typed' type "$text" || kill $!
    wait $!
    rm typed
}

# with_command FUNCTION...: what needs the command, if there is one.
with_command() {
    if [ -x "$build/wherry" ]; then
        "$@"
    else
        number=$((number + 1))
        echo "ok $number - $2 # SKIP the command is not part of this build"
    fi
}

# Two programs to begin with.
together unix:ferry
together unix+seqpacket:ferry
together fifo:ferry
together "unix:@$memory"
together "shm://$memory"
alone many_senders "$(printf 'sender %d: 1000 messages\n' 0 1 2 3)" unix:ferry
alone many_senders "$(printf 'sender %d: 1000 messages\n' 0 1 2 3)" fifo:ferry
script many_senders "$(printf 'sender %d: 1000 messages\n' 0 1 2 3)" unix:ferry
script many_senders "$(printf 'sender %d: 1000 messages\n' 0 1 2 3)" "shm://$memory"

# 1. Shared files and locks.
alone producer_consumer "$(printf '%s\n' '1 squared is 1' '2 squared is 4' '3 squared is 9' '4 squared is 16' \
    '5 squared is 25')"
script producer_consumer '10 in stock'
alone lock_readers "$(printf '%s\n' 'somebody reads' '  another reader comes in' '  another writer has to wait' \
    'the same one writes' '  another reader has to wait' '  another writer has to wait' 'nobody is there' \
    '  another writer comes in')"
script lock_readers "$(printf '%s\n' 'somebody reads' 'another reader comes in' \
    'wherry: lock: ./state: pid N (wherry) has a shared lock on all of it; wait longer, or end it' \
    'a writer has to wait: 5' 'wherry shared holds' 'somebody writes' \
    'wherry: lock: ./state: pid N (wherry) has an exclusive lock on all of it; wait longer, or end it' \
    'a reader has to wait: 5' 'wherry exclusive holds')"
alone lock_holders "$(printf '%s\n' \
    './state: pid N (keeper) has an exclusive lock on all of it; wait longer, or end it' \
    'keeper has a lock that is exclusive' 'visitor waits for a lock that is shared' 'now the visitor has it')"
script lock_holders "$(printf '%s\n' \
    'wherry: lock: ./state: pid N (wherry) has an exclusive lock on all of it; wait longer, or end it' \
    'not run, status 5' 'wherry exclusive holds' 'wherry shared waits' 'now the visitor has it')"

# 2. Shared memory and semaphores.
lines=$(printf '%s\n' 'the tide is in' 'the ferry leaves at nine' 'no dogs on deck')
read_write segment_semaphore "$lines" "posix-shm:/$memory" "$build/example_segment_semaphore"
read_write segment_semaphore "$lines" "sysv-shm:$key" "$build/example_segment_semaphore"
with_command read_write segment_semaphore.sh 'the ferry leaves at nine' "$memory" sh "$examples/segment_semaphore.sh"
twice mapped_byte "$(printf '%s\n' "byte 7 is 'w'" "byte 7 is 'w'" "now it is 'W'" 'hello, World')" mapped_byte
alone shared_counter 4000 ./counter
for place in "posix-shm:/$memory" "sysv-shm:$key"; do
    twice kept_string "$(printf 'all aboard\nall ashore')" kept "$place" "$build/example_kept_string"
    with_command twice kept_string.sh "$(printf 'all aboard\nall ashore')" kept "$place" sh "$examples/kept_string.sh"
done

# 3. Pipes and FIFOs.
alone fork_pair "$(printf 'message %d from the child\n' 1 2 3)"
script fork_pair "$(printf 'message %d from the left\n' 1 2 3)"
# The directory holds the two files of this test, out and err.
alone ls_wc "$(printf '%s\n' 2 'ls exited with 0' 'wc exited with 0' 0 'ls exited with 2' 'wc exited with 0')" \
    . ./no-such-directory
script ls_wc "$(printf '%s\n' 2 2 0 'ls ./no-such-directory: 2')"
read_write fifo_primes '768000 numbers, 61582 of them prime' fifo:numbers "$build/example_fifo_primes"
with_command read_write fifo_primes.sh '768000 numbers, 61582 of them prime' ./numbers sh "$examples/fifo_primes.sh"
twice typed_fifo "$(printf '%s\n' '1: hello there' '2: ' '3: bye (without an end of line)')" \
    by_hand 'hello there\n\nbye' "$build/example_typed_fifo"
with_command twice typed_fifo.sh "$(printf '%s\n' '1: hello there' '2: ' '3: bye')" \
    by_hand 'hello there\n\nbye\n' sh "$examples/typed_fifo.sh"

# 4. Message queues.
alone typed_queue 'the clerk gets a message of its own: you have mail
the fire brigade gets type 1: the house is on fire
the fire brigade gets type 1: the cat is in the tree
the fire brigade gets type 2: answer the letter
the janitor gets type 3: sweep the floor
the janitor gets type 3: water the plants'
script typed_queue "$(printf '%s\n' 'you have mail' 'the house is on fire' 'the cat is in the tree' \
    'answer the letter' 'sweep the floor' 'water the plants')"
alone late_receiver "$(printf '%s\n' 'the sender is gone' 'the receiver finds 3 messages' wash dry iron)" \
    "posix-mq:/$memory"
script late_receiver "$(printf '%s\n' 'the senders are gone' 'put the fire out' wash dry iron)" "$memory"

# 5. Semaphore sets.
alone guarded_set 'the child has both; left: drives 0, buffers 1
not to be had now, so the buffer that is left is not taken either
the child is killed, and we have both
given back; left: drives 1, buffers 2'
script guarded_set "$(printf '%s\n' 'the first has a drive and a buffer' 'the first has the other buffer, too' \
    'the first gives all back' 'the second has both' 1 2)"

# 6. Sockets.
echoes=$(printf 'sent "%s", got "%s"\n' hello hello '' '' good-bye good-bye)
alone echo_server "$echoes" unix:./echo
alone echo_server "$echoes" tcp://127.0.0.1:0
echoes=$(printf '%s\n' hello good-bye 'the server: 143')
script echo_server "$echoes" unix:./echo
script echo_server "$echoes" tcp://127.0.0.1:0
alone reply "$(printf 'down the river -> DOWN THE RIVER\nup the river -> UP THE RIVER')" unix:ferry
alone datagrams "$(printf '%s degrees\n' 18 19 20; echo 'the answer: 3 came, 0 lost')"
script datagrams "$(printf '%s degrees\n' 18 19 20)"
alone upper_pair "$(printf 'DOWN THE RIVER\nAND UP AGAIN')"
script upper_pair "$(printf 'DOWN THE RIVER\nAND UP AGAIN')"
alone poll_loop "$(printf 'tick\ntick\ntick\nthe sender is gone')" unix:ferry

# 7. Processes and signals.
alone exit_status 'child 0: exited with 0, in a shell $? is 0
child 1: exited with 3, in a shell $? is 3
child 2: killed by SIGKILL, in a shell $? is 137
child 3: runs still, and is sent SIGTERM
child 3: killed by SIGTERM, in a shell $? is 143'
script exit_status "$(printf '%s\n' 'exit status: 0' 'exit status: 3' 'signal: 15')"
alone exec_pair 'ping, and the other program says pong'
script exec_pair "$(printf 'one\ntwo')"
alone pipeline "$(printf '271\nseq exited with 0\ngrep exited with 0\nwc exited with 0')" 1000
script pipeline "$(printf '%s\n' 271 'wherry: pipe: 0 0 0')" 1000
alone finish_line "$(printf 'line %d: to be, or not to be\n' 1 2 3; echo 'SIGTERM came, and the last line is whole')" 3
script finish_line "$(printf 'line %d: to be, or not to be\n' 1 2 3; echo 'SIGTERM came, and the last line is whole')"
alone user_signal "$(printf '%s\n' 'the child has worked; SIGUSR1 came from its parent' 'the child exited with 0')"
script user_signal "$(printf '%s\n' '10 SIGUSR1' 'the wait is over')"
alone signals "$(printf 'job %d is done\n' 1 2 3; echo 'the child ended with 7')"
script signals "$(printf 'job %d is done\n' 1 2 3)"
alone graceful_shutdown "$(printf '%s\n' 'the polite child: exited with 0' 'the stubborn child: killed by SIGKILL')"
script graceful_shutdown "$(printf '%s\n' 'the polite one is there' 'the stubborn one is there' \
    'ended by signal 15' 'ended by signal 9')"

# 8. Servers.
alone server "$(printf '%s\n' 'fourth: FOURTH' 'third: THIRD' 'second: SECOND' 'first: FIRST')"
script server "$(printf 'client %d\n' 1 2 3 4)"
alone work_queue "10 jobs done, 1 of them for one that died" "shm://$memory"
alone supervise "$(printf '%s\n' 'base is starting' 'base is ready' 'worker is ready' 'worker is stopping' \
    'worker is backoff: it was killed by SIGKILL' 'worker is waiting: it was killed by SIGKILL' 'worker is ready' \
    'worker is stopping' 'worker is ended' 'base is stopping' 'base is ended')"
# LeakSanitizer stops a process to look at it, and hangs when the SIGCONT with which a unit is ended undoes that.
with_command twice supervise.sh "$(printf '%s\n' 'client | is anybody there?' \
    'wherry: run: client ended: all are stopped')" \
    env "ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0" sh "$examples/supervise.sh"

# 9. Beyond the course.
alone shared_account '996999 in the savings, 3001 in the purse, 1 repaired'
script shared_account "$(printf '%s\n' 'the first one ended with 137' '990 in the savings, 10 in the purse')"
alone log_kill "$(printf '%s\n' 'the writer was killed by signal 9' '1000 messages and more were accepted' \
    'all of them are in the log')"
script log_kill "$(printf '%s\n' 'the writer ended with 137' 'all there is in the log is whole and in order' \
    'the next writer goes on')"
alone in_place "$(printf 'shared-memory ring: in its own memory\n1 1\n2 4\n3 9')" "shm://$memory"
alone in_place "$(printf 'FIFO: through a buffer\n1 1\n2 4\n3 9')" fifo:points
seen=$(printf '%s\n' "the sender sent 4 bytes and finds 'B' in its memory" 'both together took no more than that')
alone zero_copy "the receiver has 64 MiB, from 'A' to 'Z'
$seen" 64
# All of the two gigabytes, in one run, where there is room for them.
limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max) # of a container
[ "$limit" = max ] && limit=9223372036854775807
if [ "$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)" -gt 3145728 ] && [ "$limit" -gt 3221225472 ]; then
    "$build/example_zero_copy" >out 2>err </dev/null
    status=$?
    check 'zero_copy of two gigabytes' "the receiver has 2048 MiB, from 'A' to 'Z'
$seen"
else
    number=$((number + 1))
    echo "ok $number - zero_copy of two gigabytes # SKIP less than three gigabytes of memory are free"
fi

echo "1..$number"
exit $failed
