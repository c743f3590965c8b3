/* room.pml - a sender that waits for room and a receiver that waits for messages, each killed anywhere and replaced.
 *
 * SPDX-License-Identifier: MIT
 *
 * The lane holds one message.  Whoever sleeps looks again once after a death, as in wake.pml. */
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef KILLS
#define KILLS 0
#endif
#define PROCS 2 /* the sender, the receiver */
#define SLEEPERS 0
#define WORD 1
#define POSITION 2
#define FREED 3
#define WAKE_AT 4
#define ROOM_BELL 5
#define BELL 6
#define CELLS 7
#include "tso.pml"
#define NOBODY 99

bit sender_forgotten, receiver_forgotten, overrun;

bit dead[2], asleep[2], tick[2];
byte kills = KILLS;
bit reading; /* the receiver is at the lane's only frame */

proctype sender()
{
    byte me = 0;
    byte n, p, v, s;
    bit was;
again:
    {
        LOAD(me, WORD, n);
        LOAD(me, FREED, p);
        do
        :: n < MESSAGES ->
            if
            :: n == p
            :: else -> LOAD(me, FREED, p)
            fi;
            do
            :: n == p -> break
            :: else ->
#ifndef WEAK_ROOM_READ_LATE
                LOAD(me, ROOM_BELL, v);
#endif
#ifdef WEAK_ROOM_LOOKED_AT_FIRST
                LOAD(me, POSITION, p);
                STORE(me, WAKE_AT, n);
                RARE_BARRIER(me);
#else
                STORE(me, WAKE_AT, n);
#ifndef WEAK_ROOM_WITHOUT_BARRIER
                RARE_BARRIER(me);
#endif
                LOAD(me, POSITION, p);
#endif
                if
                :: n == p
                :: else ->
#ifdef WEAK_ROOM_READ_LATE
                    LOAD(me, ROOM_BELL, v);
#endif
                    d_step { drain_all(me); asleep[0] = (mem[ROOM_BELL] == v); v = 0 }
                    if
                    :: !asleep[0]
#ifndef WEAK_NO_ROOM_TICK
                    :: atomic { asleep[0] && tick[0] -> asleep[0] = 0; tick[0] = 0 }
#endif
                    fi
                fi;
                v = 0;
                STORE(me, WAKE_AT, NOBODY)
            od;
            MUST(!reading, overrun);
            STORE(me, WORD, n + 1);
            OFTEN_BARRIER(me);
            n++;
            LOAD(me, SLEEPERS, s);
            if
            :: s ->
                CLEAR_BIT(me, SLEEPERS, 1, was);
                if
                :: was ->
                    ADD(me, BELL);
                    asleep[1] = 0
                :: else
                fi
            :: else
            fi;
            s = 0;
            was = 0
        :: else -> break
        od
    } unless { dead[0] };
    atomic {
        dead[0];
        n = 0; p = 0; v = 0; s = 0; was = 0;
        dead[0] = 0;
        goto again
    }
}

inline look_for_message()
{
    LOAD(me, WORD, n);
    found = n > p
}

proctype receiver()
{
    byte me = 1;
    byte n, p, v, w;
    bit found, was;
again:
    {
        CLEAR_BIT(me, SLEEPERS, 1, was); /* of who was here before */
        LOAD(me, POSITION, p);
        do
        :: true;
            LOAD(me, BELL, v);
            look_for_message();
            if
            :: found
            :: else ->
                SET_BIT(me, SLEEPERS, 1);
#ifndef WEAK_NO_SLEEP_BARRIER
                RARE_BARRIER(me);
#endif
                look_for_message();
                if
                :: found
                :: else ->
                    d_step { drain_all(me); asleep[1] = (mem[BELL] == v); v = 0 }
                    if
                    :: !asleep[1]
#ifndef WEAK_NO_TICK
                    :: atomic { asleep[1] && tick[1] -> asleep[1] = 0; tick[1] = 0 }
#endif
                    fi
                fi;
                CLEAR_BIT(me, SLEEPERS, 1, was)
            fi;
            atomic { v = 0; n = 0; was = 0 }
            if
            :: found ->
                found = 0;
                reading = 1;
#ifdef WEAK_FREED_AHEAD
                STORE(me, FREED, p + 1);
#endif
                reading = 0;
                p++;
#ifdef WEAK_WAKE_AT_READ_FIRST
                LOAD(me, WAKE_AT, w);
                STORE(me, POSITION, p);
#else
                STORE(me, POSITION, p);
                OFTEN_BARRIER(me);
                LOAD(me, WAKE_AT, w);
#endif
                if
                :: w <= p ->
#ifdef RECEIVER_RESETS
                    STORE(me, WAKE_AT, NOBODY); /* as receive.c does */
#endif
                    ADD(me, ROOM_BELL);
                    asleep[0] = 0
                :: else
                fi;
                w = 0;
                if
                :: STORE(me, FREED, p)
                :: skip
                fi
            :: else
            fi
        od
    } unless { dead[1] };
    atomic {
        dead[1];
        n = 0; p = 0; v = 0; w = 0; found = 0; was = 0;
        dead[1] = 0;
        goto again
    }
}

#define KILL(i)                \
    atomic {                   \
        kills > 0 && !dead[i]; \
        kills--;               \
        drain_all(i);          \
        asleep[i] = 0;         \
        tick[i] = 0;           \
        tick[1 - i] = 1;       \
        if                     \
        :: i == 1 -> reading = 0 \
        :: else                \
        fi;                    \
        dead[i] = 1            \
    }

active proctype death()
{
end:
    do
    :: KILL(0)
    :: KILL(1)
    od
}

active proctype onlooker()
{
    timeout;
    MUST(!(asleep[0] && mem[POSITION] == mem[WORD]), sender_forgotten);
    MUST(!(asleep[1] && mem[POSITION] < mem[WORD]), receiver_forgotten)
}

init
{
    atomic {
        mem[WAKE_AT] = NOBODY;
        run sender();
        run receiver()
    }
}
