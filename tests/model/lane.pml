/* lane.pml - one lane: a sender and a receiver, each killed anywhere and replaced by another.
 *
 * SPDX-License-Identifier: MIT
 *
 * Stores reach memory in their order on x86 (and by the release elsewhere), and nobody here reads after a store what
 * another stores: so each store is a step, and a process that dies has made the first few of them.  Memory is words; a
 * frame is its word and, with `size` 1, a word of payload that looks like a frame's to who reads it as one (H73). */
#ifndef WORDS
#define WORDS 4
#endif
#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef KILLS
#define KILLS 2
#endif

#define FRAME(id, size) (64 + (id) * 2 + (size))
#define PAYLOAD(id) (128 + (id) * 2 + 1)
#define LENGTH(word) (1 + ((word) & 1))

#ifdef DROP
#define DELIVER(marked) !(marked)
#else
#define DELIVER(marked) true
#endif

bit torn, false_frame, wrong_end, twice, lost, falsely_marked;

byte word[WORDS];
byte sender_position, position, freed, lent;

/* What an onlooker knows. */
byte commits, end_of_lane, attempts; /* a try to send has a number, so that what an earlier one left is told apart */
byte id[MESSAGES];
bit size_of[MESSAGES], seen[MESSAGES];
bit went[MESSAGES]; /* with a receiver that was killed before its call returned */
byte taken;                                            /* messages before `position` */
byte kills = KILLS;
bit sender_dead, receiver_dead;
mtype = { NOTHING, TAKEN, LENDING };
mtype holds = NOTHING; /* what the receiver has that nobody else will get unmarked */

inline commit()
{
    atomic {
        word[at % WORDS] = FRAME(me, size);
        id[commits] = me;
        size_of[commits] = size;
        commits++;
        end_of_lane = next
    }
}

proctype sender()
{
    byte at, next, room, w, me;
    bit size;
again:
    {
        at = sender_position;
        room = freed;
#ifndef WEAK_NO_SEARCH
        do
        :: w = word[at % WORDS];
            if
            :: w == 0 || at - sender_position > WORDS -> break
            :: else -> at = at + LENGTH(w)
            fi
        od;
#endif
        MUST(at == end_of_lane, wrong_end);
#ifndef WEAK_END_NOT_STORED
        sender_position = at; /* else two that die make it two frames old: the lane may have come round to it */
#endif
        do
        :: commits < MESSAGES ->
            atomic {
                attempts++;
                me = attempts;
                if
                :: size = 0
                :: size = 1
                fi;
                next = at + 1 + size
            }
#ifdef WEAK_NO_ROOM_FOR_ZERO
#define NEED next
#else
#define NEED (next + 1)
#endif
            if
            :: NEED - room <= WORDS
            :: else ->
                room = freed;
                if
                :: NEED - room <= WORDS
                :: else -> atomic { NEED - position <= WORDS -> room = position }
                fi
            fi;
#if !defined(WEAK_COMMIT_BEFORE_CLEAR) && !defined(WEAK_NO_CLEAR)
            word[next % WORDS] = 0;
#endif
#ifdef WEAK_COMMIT_BEFORE_PAYLOAD
            commit();
#endif
            if
            :: size -> word[(at + 1) % WORDS] = PAYLOAD(me)
            :: else
            fi;
            /* CRASH(send-written) */
#ifndef WEAK_COMMIT_BEFORE_PAYLOAD
            commit();
#endif
#ifdef WEAK_COMMIT_BEFORE_CLEAR
            word[next % WORDS] = 0;
#endif
            /* CRASH(send-committed) */
            sender_position = next;
            at = next
        :: else -> break
        od
    } unless { sender_dead };
    atomic {
        sender_dead;
        at = 0; next = 0; room = 0; w = 0; me = 0; size = 0;
        sender_dead = 0;
        goto again
    }
}

/* The onlooker: what is at hand now is message `taken`, whole. */
#define WHOLE(payload) (!size_of[message] || (payload) == PAYLOAD(id[message]))
inline hand_out()
{
    d_step {
        twice = seen[message] && !marked;
        assert(!twice);
        falsely_marked = marked && !seen[message] && !went[message];
        assert(!falsely_marked);
        seen[message] = 1;
        holds = NOTHING
    }
}
inline move_position(what)
{
    atomic {
        position = next;
        taken++;
        holds = what
    }
}

proctype receiver()
{
    byte at, next, w, got, message;
    bit marked;
again:
    {
        do
        :: at = position;
            atomic {
                word[at % WORDS] != 0;
                w = word[at % WORDS];
                message = taken
            }
            MUST(message < commits && w == FRAME(id[message], size_of[message]), false_frame);
            next = at + LENGTH(w);
#ifdef WEAK_LENT_IGNORED
            marked = 0;
#elif defined(WEAK_LENT_IS_A_FLAG) || defined(WEAK_LENT_CLEARED_FIRST)
            marked = (lent != 0);
#else
            marked = (lent == at + 1); /* else it is of a message that was returned */
#endif
            if
#ifdef DROP
            :: marked -> /* redeliver=no */
                move_position(NOTHING)
#endif
            :: DELIVER(marked) -> /* copy */
#ifdef WEAK_FREED_AHEAD
                freed = next;
#endif
#ifdef WEAK_POSITION_BEFORE_COPY
                move_position(NOTHING);
#endif
                got = word[(at + 1) % WORDS];
#ifdef WEAK_POSITION_BEFORE_COPY
                holds = TAKEN;
#else
                /* CRASH(receive-copied) */
                move_position(TAKEN);
#endif
                /* CRASH(receive-taken) */
                MUST(WHOLE(got), torn);
                hand_out();
                got = 0
            :: DELIVER(marked) -> /* lend, in place */
#ifdef WEAK_LENT_IS_A_FLAG
                atomic { lent = 1; holds = LENDING }
#elif defined(WEAK_LENT_CLEARED_FIRST)
                atomic { lent = 1; holds = LENDING }
#else
                atomic { lent = at + 1; holds = LENDING }
#endif
                MUST(WHOLE(word[(at + 1) % WORDS]), torn);
                hand_out();
#ifdef WEAK_FREED_AHEAD
                freed = next;
#endif
                /* the program reads it once more, and returns it */
                MUST(WHOLE(word[(at + 1) % WORDS]), torn);
#ifdef WEAK_LENT_CLEARED_FIRST
                lent = 0;
#endif
                move_position(NOTHING);
#ifndef WEAK_LENT_CLEARED_FIRST
                lent = 0
#endif
            fi;
            if
            :: freed = position
            :: skip
            fi
        od
    } unless { receiver_dead };
    atomic {
        receiver_dead;
        at = 0; next = 0; w = 0; got = 0; message = 0; marked = 0;
        receiver_dead = 0;
        goto again
    }
}

active proctype death()
{
end:
    do
    :: atomic { kills > 0 && !sender_dead -> kills--; sender_dead = 1 }
    :: atomic {
        kills > 0 && !receiver_dead;
        kills--;
        if
        :: holds == TAKEN -> went[taken - 1] = 1 /* the call did not return; the message went with its receiver */
        :: holds == LENDING -> went[taken] = 1   /* the same, a step before the program had it */
        :: else
        fi;
        holds = NOTHING;
        receiver_dead = 1
    }
    od
}

/* When nobody has anything left to do. */
active proctype onlooker()
{
    byte k;
    timeout;
    d_step {
        k = 0;
        do
        :: k < MESSAGES ->
            lost = !(k < commits && (seen[k] || went[k]));
            assert(!lost);
            k++
        :: else -> break
        od
    }
}

init
{
    atomic {
        run sender();
        run receiver()
    }
}
