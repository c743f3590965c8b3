/* wake.pml - receivers that sleep, senders that wake them: no message lies beside a sleeper that nobody will wake.
 *
 * SPDX-License-Identifier: MIT
 *
 * A receiver makes a few calls and then stays away, as a program that is busy does; it may also give up a call.  There
 * is no bias here.  The tick is one look after each death: what a poller with pidfds has.  What the real tick does
 * more, nothing needs. */
#ifndef SENDERS
#define SENDERS 2
#endif
#ifndef RECEIVERS
#define RECEIVERS 2
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef CALLS
#define CALLS 1
#endif
#ifndef MESSAGES_0
#define MESSAGES_0 2
#endif
#ifndef MESSAGES_1
#define MESSAGES_1 1
#endif
#ifndef GIVE_UPS
#define GIVE_UPS 1
#endif

/* Senders come first, receivers behind them; lane l is that of sender l. */
#define PROCS (SENDERS + RECEIVERS)
#define SLEEPERS 0
#define WORD(l) (1 + 3 * (l)) /* messages committed */
#define POSITION(l) (2 + 3 * (l))
#define OWNER(l) (3 + 3 * (l)) /* process + 1 */
#define CELLS (1 + 3 * SENDERS)
#define DEPTH 1
#include "tso.pml"
#define BIT(r) (1 << (r))

bit lost_wakeup;

bit dead[PROCS], asleep[RECEIVERS], rung[RECEIVERS] /* the bell differs from what was read */, tick[RECEIVERS];
byte kills = KILLS, give_ups;

/* Rule 13. */
inline wake_one()
{
    LOAD(me, SLEEPERS, s);
    do
    :: s == 0 -> break
    :: else ->
        if
        :: s & BIT(0) -> k = 0
#if RECEIVERS > 1
        :: s & BIT(1) -> k = 1
#endif
        fi;
        CLEAR_BIT(me, SLEEPERS, BIT(k), was);
#ifdef WEAK_WAKE_ONE_TRY
        was = 1;
#endif
        if
        :: was ->
            /* CRASH(wake-cleared) */
#ifndef WEAK_BELL_NOT_RUNG
            d_step { drain_all(me); rung[k] = 1; asleep[k] = 0 }
#else
            asleep[k] = 0;
#endif
            break
        :: else -> LOAD(me, SLEEPERS, s) /* another woke him */
        fi
    od;
    atomic { s = 0; k = 0; was = 0 }
}

proctype sender(byte me; byte messages)
{
    byte n, s, k;
    bit was;
    {
        do
        :: n < messages ->
#ifdef WEAK_SLEEPERS_BEFORE_COMMIT
            wake_one();
            STORE(me, WORD(me), n + 1);
#else
            STORE(me, WORD(me), n + 1);
            OFTEN_BARRIER(me);
            wake_one();
#endif
            n++
        :: else -> break
        od
    } unless { dead[me] };
    atomic { n = 0; s = 0; k = 0; was = 0 }
}

/* A lane given back may have a message that others passed by while it was owned: rule 9 needs this. */
inline pass_on()
{
#ifndef WEAK_NOT_PASSED_ON
    LOAD(me, WORD(l), n);
    if
    :: n > p -> wake_one()
    :: else
    fi
#else
    skip
#endif
}

/* Takes a message from any lane. */
inline look()
{
    l = 0;
    do
    :: l == SENDERS || found -> break
    :: else ->
        atomic { LOAD(me, POSITION(l), p); LOAD(me, WORD(l), n) }
        if
        :: n > p ->
            d_step { /* the lane is free, or its owner dead: compare-and-swap */
                drain_all(me);
                ok = (mem[OWNER(l)] == 0);
                if
                :: !ok -> ok = dead[mem[OWNER(l)] - 1]
                :: else
                fi;
                if
                :: ok -> mem[OWNER(l)] = me + 1
                :: else
                fi
            }
            if
            :: ok ->
                    atomic {
                        LOAD(me, POSITION(l), p);
                        LOAD(me, WORD(l), n);
                        if
                        :: n > p ->
                            p++;
                            found = 1;
                            STORE(me, POSITION(l), p)
                        :: else
                        fi
                    }
                    STORE(me, OWNER(l), 0);
                    OFTEN_BARRIER(me);
                    pass_on()
            :: else
            fi
        :: else
        fi;
        l++
    od;
    atomic { l = 0; n = 0; p = 0; ok = 0 }
}

/* Who leaves the wait takes its bit back.  If somebody has cleared it, the wake may have been for a message that this
 * one does not take. */
inline take_back(hand_on)
{
#ifndef WEAK_BIT_NOT_TAKEN_BACK
    CLEAR_BIT(me, SLEEPERS, BIT(r), was);
#ifndef WEAK_WAKE_NOT_HANDED_ON
    if
    :: hand_on && !was ->
        l = 0;
        do
        :: l < SENDERS ->
            atomic { LOAD(me, POSITION(l), p); LOAD(me, WORD(l), n) }
            if
            :: n > p ->
                wake_one();
                break
            :: else
            fi;
            l++
        :: else -> break
        od
    :: else
    fi;
#endif
    atomic { l = 0; n = 0; p = 0; was = 0 }
#else
    skip
#endif
}

proctype receiver(byte me; byte r)
{
    byte calls = CALLS;
    byte l, n, p, s, k;
    bit found, ok, was, away;
    {
        do
        :: calls == 0 || away -> break
        :: else ->
            do
            :: true;
#ifndef WEAK_BELL_READ_LATE
                rung[r] = 0;
#endif
                look();
                if
                :: found -> break
                :: else
                fi;
#ifdef WEAK_BIT_AFTER_LOOKING
                RARE_BARRIER(me);
                look();
                SET_BIT(me, SLEEPERS, BIT(r));
#else
                SET_BIT(me, SLEEPERS, BIT(r));
#ifndef WEAK_NO_SLEEP_BARRIER
                RARE_BARRIER(me);
#endif
#ifndef WEAK_NO_SECOND_LOOK
                look();
#endif
#endif
                if
                :: found ->
                    take_back(1);
                    break
                :: else
                fi;
#ifdef WEAK_BELL_READ_LATE
                rung[r] = 0;
#endif
                d_step { drain_all(me); asleep[r] = !rung[r]; rung[r] = 0 } /* futex wait */
                if
                :: !asleep[r]
#ifndef WEAK_NO_TICK
                :: atomic { asleep[r] && tick[r] -> asleep[r] = 0; tick[r] = 0 }
                    /* the bits of the dead */
                    mem[SLEEPERS] = mem[SLEEPERS] &
                                    (255 - dead[SENDERS] * BIT(0) - dead[PROCS - 1] * BIT(RECEIVERS - 1))
#endif
                :: atomic { asleep[r] && give_ups > 0 -> asleep[r] = 0; give_ups--; away = 1 }
                    take_back(1);
                    break
                fi;
                take_back(0)
            od;
            if
            :: calls--
            :: away = 1 /* for the rest of the story */
            fi;
            found = 0
        od
    } unless { dead[me] };
    atomic { calls = 0; l = 0; n = 0; p = 0; s = 0; k = 0; found = 0; ok = 0; was = 0; away = 0 }
}

#define KILL(i)                  \
    atomic {                     \
        kills > 0 && !dead[i];   \
        kills--;                 \
        drain_all(i);            \
        dead[i] = 1;             \
        tick[0] = 1;             \
        tick[RECEIVERS - 1] = 1; \
        if                       \
        :: i >= SENDERS -> asleep[i - SENDERS] = 0 \
        :: else                  \
        fi                       \
    }

active proctype death()
{
    byte i;
end:
    do
    :: kills == 0 -> break
    :: KILL(0)
    :: KILL(PROCS - 1)
    od
}

active proctype onlooker()
{
    byte r, l;
    timeout;
    atomic {
        for (r : 0 .. RECEIVERS - 1) {
            for (l : 0 .. SENDERS - 1) {
                MUST(!(asleep[r] && mem[WORD(l)] > mem[POSITION(l)]), lost_wakeup)
            }
        }
    }
}

init
{
    atomic {
        if
        :: skip /* so that a sleeper that nobody wakes sleeps for good */
        :: give_ups = GIVE_UPS
        fi;
        run sender(0, MESSAGES_0);
#if SENDERS > 1
        run sender(1, MESSAGES_1);
#endif
        run receiver(SENDERS, 0);
#if RECEIVERS > 1
        run receiver(SENDERS + 1, 1)
#endif
    }
}
