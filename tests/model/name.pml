/* name.pml - a name, the files that were made for it, and processes that come, go and are killed.
 *
 * SPDX-License-Identifier: MIT
 *
 * System calls are steps; what the kernel does in one is one.  A file is a number, used again when nobody has it. */
#ifndef PROCS
#define PROCS 3
#endif
#ifndef KILLS
#define KILLS 2
#endif
#define FILES (PROCS + 2)
#define NONE 0

bit removed_under_a_user, two_files, litter;

byte name;                           /* the file that has it */
byte file[PROCS];                    /* the one that each has open */
bit locked[PROCS], all[PROCS];       /* record locks: its own place, or the whole range */
bit using[PROCS];                    /* came, and believes to be at the name */
bit dead[PROCS], away[PROCS];
byte kills = KILLS, i;

inline find_free_file(ret_file)
{
    ret_file = 1;
    i = 0;
    do
    :: i == PROCS && name != ret_file -> break
    :: i == PROCS && name == ret_file ->
        ret_file++;
        i = 0
    :: i < PROCS && i != me && file[i] == ret_file ->
        ret_file++;
        i = 0
    :: else -> i++
    od;
    i = 0
}

inline see_others()
{
    held = 0;
    whole = 0;
    i = 0;
    do
    :: i == PROCS -> break
    :: else ->
        held = held || (i != me && file[i] == file[me] && (locked[i] || all[i]));
        whole = whole || (i != me && file[i] == file[me] && all[i]);
        i++
    od;
    i = 0
}

/* Closing any descriptor of a file drops the locks. */
inline close_file()
{
    d_step {
        locked[me] = 0;
        all[me] = 0;
        file[me] = NONE
    }
}

inline lock_all()
{
    atomic {
        see_others();
        all[me] = !held;
        held = 0;
        whole = 0
    }
}

/* Two steps for who looks, but nobody else changes the name while it is that of a file that I have all locks of. */
#define USER_OF(k, f) (k != me && using[k] && file[k] == f)
inline unlink_name()
{
    atomic {
        removed_under_a_user = (name != NONE && (USER_OF(0, name) || USER_OF(1, name) || USER_OF(PROCS - 1, name)));
        assert(!removed_under_a_user);
        name = NONE
    }
}
inline remove_name(check)
{
    if
    :: !check || name == file[me] -> unlink_name()
    :: else
    fi
}

/* All who are here have one file. */
inline begin_to_use()
{
    d_step {
        using[me] = 1;
        two_files = (USER_OF(0, file[0]) && file[0] != file[me]) || (USER_OF(1, file[1]) && file[1] != file[me]) ||
                    (USER_OF(PROCS - 1, file[PROCS - 1]) && file[PROCS - 1] != file[me]);
        assert(!two_files)
    }
}
#ifdef WEAK_COMER_REMOVES_UNSEEN
#define COMER_CHECKS 0
#else
#define COMER_CHECKS 1
#endif
#ifdef WEAK_LAST_REMOVES_UNSEEN
#define LAST_CHECKS 0
#else
#define LAST_CHECKS 1
#endif

proctype process(byte me)
{
    bit held, whole, made;
again:
    {
        do
        :: true;
            /* open, or make one without a name */
            if
            :: atomic { name != NONE -> file[me] = name }
                lock_all();
                if
                :: all[me] -> /* what a crash left */
                    remove_name(COMER_CHECKS);
                    close_file()
                :: else ->
                    atomic {
                        see_others();
                        locked[me] = !whole; /* else no place is free: start anew */
                        held = 0;
                        whole = 0
                    }
                    if
#ifdef WEAK_NAME_NOT_CHECKED_AFTER_LOCK
                    :: locked[me] -> begin_to_use()
#else
                    :: locked[me] ->
                        if
                        :: atomic { name == file[me] -> begin_to_use() }
                        :: else -> close_file()
                        fi
#endif
                    :: else -> close_file()
                    fi
                fi
            :: atomic { name == NONE; find_free_file(file[me]) }
#ifndef WEAK_NAMED_BEFORE_LOCKED
                locked[me] = 1;
#endif
                atomic { /* linkat */
                    made = (name == NONE);
                    if
                    :: made ->
                        name = file[me];
                        begin_to_use()
                    :: else
                    fi
                }
#ifdef WEAK_NAMED_BEFORE_LOCKED
                locked[me] = 1;
#endif
                if
                :: made -> made = 0
                :: else -> close_file()
                fi
            fi;
            if
            :: using[me] -> break
            :: else
            fi
        od;

        /* go */
        using[me] = 0;
#ifdef WEAK_REMOVED_WITHOUT_LOCK
        atomic {
            see_others();
            made = !held;
            held = 0;
            whole = 0
        }
        if
        :: made ->
            made = 0;
            remove_name(LAST_CHECKS)
        :: else
        fi;
#else
#ifdef WEAK_LOCK_KEPT_UNTIL_LAST
        lock_all();
#else
        locked[me] = 0;
        lock_all();
#endif
        if
        :: all[me] -> remove_name(LAST_CHECKS)
        :: else
        fi;
#endif
        close_file();
        if
        :: true /* comes again */
        :: away[me] = 1; !away[me] /* does not */
        fi;
        goto again
    } unless { dead[me] };
    atomic {
        held = 0;
        whole = 0;
        made = 0;
        dead[me] = 0;
        goto again
    }
}

#define KILL(k)                       \
    atomic {                          \
        kills > 0 && !dead[k];        \
        kills--;                      \
        locked[k] = 0;                \
        all[k] = 0;                   \
        using[k] = 0;                 \
        file[k] = NONE;               \
        dead[k] = 1                   \
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
    timeout; /* all went for good */
    MUST(kills < KILLS || name == NONE, litter)
}

init
{
    atomic {
        run process(0);
        run process(1);
#if PROCS > 2
        run process(2)
#endif
    }
}
