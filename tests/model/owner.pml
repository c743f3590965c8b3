/* owner.pml - who reads a lane: bias, revoking it, compare-and-swap, loans, dead marks; receivers killed anywhere.
 *
 * SPDX-License-Identifier: MIT
 *
 * There is always a next message.  A place's lock is `held`; the process in it may die and another take the place. */
#ifndef RECEIVERS
#define RECEIVERS 2
#endif
#ifndef KILLS
#define KILLS 2
#endif

#ifdef CALLS /* of each process in its life */
#define COUNT_CALL calls--
#else
#define CALLS 1
#define COUNT_CALL skip
#endif

#define PROCS RECEIVERS
#define BIAS 0
#define OWNER 1
#define POSITION 2
#define INSIDE(i) (3 + 3 * (i))
#define EPOCH(i) (4 + 3 * (i))
#define STATE(i) (5 + 3 * (i))
#define CELLS (3 + 3 * RECEIVERS)
#include "tso.pml"

#define MARK(i, epoch) ((epoch) * 4 + (i) + 1)
#define PLACE_OF(mark) (((mark) & 3) - 1)
#define EPOCH_OF(mark) (((mark) >> 2) & 15)
#define REVOKED 128
#define POSITIONS 2

bit two_readers, stale_position;

bit held[RECEIVERS], dead[RECEIVERS];
byte kills = KILLS;
byte reader;   /* who reads the lane: index + 1 */
byte received; /* where the position is, for who knows all that was stored */

/* Rule 11: the mark was read before the epoch, so that an epoch that differs is a later one. */
inline ask(mark, ret_dead)
{
#ifdef WEAK_NO_LOCK_ASKED
    ret_dead = 1;
#else
    LOAD(me, EPOCH(PLACE_OF(mark)), e);
    atomic {
        ret_dead = (e != EPOCH_OF(mark) || !held[PLACE_OF(mark)]);
        e = 0
    }
#endif
}

inline begin_to_read()
{
    atomic {
        MUST(reader == 0, two_readers);
        reader = me + 1
    }
    atomic {
        LOAD(me, POSITION, at);
        MUST(at == received, stale_position)
    }
}
inline receipt()
{
    atomic {
        STORE(me, POSITION, (at + 1) % POSITIONS);
        received = (at + 1) % POSITIONS;
        at = 0
    }
}
inline give_back()
{
#ifdef WEAK_OWNER_BEFORE_POSITION
    STORE(me, OWNER, 0);
    receipt();
    reader = 0
#else
    receipt();
    atomic {
        STORE(me, OWNER, 0);
        reader = 0
    }
#endif
}

/* The lane is this receiver's, by its mark in OWNER. */
inline use_owned()
{
    begin_to_read();
    give_back()
}

/* Replaces what OWNER was by this receiver's mark. */
inline take(was)
{
#ifdef WEAK_NO_CAS
    STORE(me, OWNER, mine);
    ok = 1
#else
    CAS(me, OWNER, was, mine, ok)
#endif
}

/* The other receivers that are here; one that dies while it is asked for may count or not. */
inline look_for_others(ret_others)
{
    ret_others = 0;
    j = 0;
    do
    :: j < RECEIVERS ->
        if
        :: j != me ->
            LOAD(me, STATE(j), b);
            ret_others = ret_others || (b && held[j])
        :: else
        fi;
        j++
    :: else -> break
    od;
    j = 0
}

/* Rule 8, for who comes. */
inline end_bias()
{
    do
    :: true;
        LOAD(me, BIAS, b);
        if
        :: b == 0 -> break
        :: else
        fi;
#ifdef WEAK_NO_REVOKE
        break;
#else
        ask(b, gone);
        if
        :: gone -> CAS(me, BIAS, b, 0, ok)
        :: else ->
            if
            :: b < REVOKED ->
                CAS(me, BIAS, b, b + REVOKED, ok);
                b = b + REVOKED
#ifdef WEAK_ONE_MEMBARRIER_FOR_ALL
                ;
                RARE_BARRIER(me);
                skip
#endif
            :: else -> ok = 1 /* somebody else revokes it too; he may not have called membarrier yet */
            fi;
            if
            :: !ok
            :: else ->
#if !defined(WEAK_NO_MEMBARRIER) && !defined(WEAK_ONE_MEMBARRIER_FOR_ALL)
                RARE_BARRIER(me);
#endif
#ifndef WEAK_INSIDE_NOT_AWAITED
                (mem[INSIDE(PLACE_OF(b))] == 0 || !held[PLACE_OF(b)] || mem[EPOCH(PLACE_OF(b))] != EPOCH_OF(b));
#endif
                CAS(me, BIAS, b, 0, ok)
            fi
        fi
#endif
    od;
    b = 0; gone = 0; ok = 0
}

inline try_bias()
{
#ifdef WEAK_BIAS_AFTER_LOOKING
    look_for_others(gone);
    if
    :: gone -> ok = 0
    :: else ->
        CAS(me, BIAS, 0, mine, ok);
        biased = ok
    fi;
#else
    CAS(me, BIAS, 0, mine, ok);
    if
    :: ok ->
        look_for_others(gone);
        if
        :: gone ->
            CAS(me, BIAS, mine, 0, ok);
            if
            :: !ok -> CAS(me, BIAS, mine + REVOKED, 0, ok) /* who comes has seen it: nothing was read under it */
            :: else
            fi
        :: else -> biased = 1
        fi
    :: else
    fi;
#endif
    b = 0; gone = 0; ok = 0
}

inline call_biased()
{
#ifdef WEAK_INSIDE_AFTER_BIAS
    LOAD(me, BIAS, b);
    STORE(me, INSIDE(me), 1);
#else
    STORE(me, INSIDE(me), 1);
    OFTEN_BARRIER(me);
    LOAD(me, BIAS, b);
#endif
    if
    :: b == mine ->
        LOAD(me, OWNER, o);
        if
        :: o == 0 ->
            begin_to_read();
            if
            :: true ->
                receipt();
                atomic {
                    STORE(me, INSIDE(me), 0);
                    reader = 0
                }
            :: true -> /* lend */
#ifndef WEAK_LEND_WITHOUT_MARK
                STORE(me, OWNER, mine);
#endif
                STORE(me, INSIDE(me), 0);
                give_back()
            fi
        :: else ->
            ask(o, gone);
            if
            :: gone ->
                CAS(me, OWNER, o, mine, ok);
                if
                :: ok -> use_owned()
                :: else
                fi
            :: else
            fi;
            STORE(me, INSIDE(me), 0)
        fi
    :: else ->
        STORE(me, INSIDE(me), 0);
        CAS(me, BIAS, mine + REVOKED, 0, ok);
        biased = 0
    fi;
    b = 0; o = 0; gone = 0; ok = 0
}

inline call_unbiased()
{
    LOAD(me, OWNER, o);
    if
    :: o == 0 -> take(0)
    :: else ->
        ask(o, gone);
        if
        :: gone -> take(o)
        :: else -> ok = 0
        fi
    fi;
    if
    :: ok -> use_owned()
    :: else
    fi;
    o = 0; gone = 0; ok = 0
}

proctype receiver(byte me)
{
    byte mine, b, o, e, at, j, calls;
    bit ok, gone, biased;
again:
    {
        held[me]; /* the lock of the place */
        LOAD(me, EPOCH(me), e);
#ifndef WEAK_NO_EPOCH
        e++;
#endif
        atomic {
            mine = MARK(me, e);
            STORE(me, EPOCH(me), e);
            e = 0
        }
        STORE(me, INSIDE(me), 0);
        STORE(me, STATE(me), 1);
#ifndef WEAK_JOIN_WITHOUT_BARRIER
        BARRIER(me);
#endif
        end_bias();
        calls = CALLS;
        do
        :: biased && calls -> COUNT_CALL; call_biased()
        :: !biased && calls -> COUNT_CALL; call_unbiased()
        :: !biased && calls -> try_bias()
        od
    } unless { dead[me] };
    atomic {
        dead[me];
        mine = 0; b = 0; o = 0; e = 0; at = 0; j = 0; calls = 0; ok = 0; gone = 0; biased = 0;
        dead[me] = 0;
        goto again
    }
}

#define KILL(i)                       \
    atomic {                          \
        kills > 0 && held[i];         \
        kills--;                      \
        drain_all(i);                 \
        held[i] = 0;                  \
        dead[i] = 1;                  \
        if                            \
        :: reader == i + 1 ->         \
            reader = 0;               \
            received = mem[POSITION]  \
        :: else                       \
        fi                            \
    }

active proctype world()
{
end:
    do
    :: KILL(0)
    :: KILL(1)
#if RECEIVERS > 2
    :: KILL(2)
#endif
    :: atomic { !held[0] && !dead[0] -> held[0] = 1 }
    :: atomic { !held[1] && !dead[1] -> held[1] = 1 }
#if RECEIVERS > 2
    :: atomic { !held[2] && !dead[2] -> held[2] = 1 }
#endif
    od
}

init
{
    atomic {
        run receiver(0);
        run receiver(1);
#if RECEIVERS > 2
        run receiver(2)
#endif
    }
}
