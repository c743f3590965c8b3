/* tso.pml - memory as x86 has it: each process has a line of stores that only it sees until they drain, oldest first.
 *
 * SPDX-License-Identifier: MIT
 *
 * Needs PROCS and CELLS.  Who dies takes no store back: the kernel frees its locks after they have drained. */
#ifndef DEPTH
#define DEPTH 2
#endif

typedef line {
    byte n;
    byte cell[DEPTH];
    byte value[DEPTH]
};
line stores[PROCS];
byte mem[CELLS];

/* Inside a d_step: the oldest store of `by` arrives. */
inline drain(by)
{
    mem[stores[by].cell[0]] = stores[by].value[0];
    stores[by].n--;
#if DEPTH > 1
    stores[by].cell[0] = stores[by].cell[1];
    stores[by].value[0] = stores[by].value[1];
#endif
    stores[by].cell[DEPTH - 1] = 0;
    stores[by].value[DEPTH - 1] = 0
}
inline drain_all(by)
{
    do
    :: stores[by].n > 0 -> drain(by)
    :: else -> break
    od
}

inline STORE(by, at_cell, the_value)
{
    atomic {
        stores[by].n < DEPTH;
        stores[by].value[stores[by].n] = the_value;
        stores[by].cell[stores[by].n] = at_cell;
        stores[by].n++
    }
}
inline LOAD(by, at_cell, the_value)
{
    d_step {
        the_value = mem[at_cell];
        if
        :: stores[by].n > 0 && stores[by].cell[0] == (at_cell) -> the_value = stores[by].value[0]
        :: else
        fi
#if DEPTH > 1
        ;
        if
        :: stores[by].n > 1 && stores[by].cell[1] == (at_cell) -> the_value = stores[by].value[1]
        :: else
        fi
#endif
    }
}

/* What has a LOCK prefix is a full barrier. */
inline CAS(by, at_cell, the_old, the_new, ret_ok)
{
    d_step {
        drain_all(by);
        ret_ok = (mem[at_cell] == (the_old));
        if
        :: ret_ok -> mem[at_cell] = the_new
        :: else
        fi
    }
}
inline SET_BIT(by, at_cell, the_bit)
{
    d_step {
        drain_all(by);
        mem[at_cell] = mem[at_cell] | (the_bit)
    }
}
inline CLEAR_BIT(by, at_cell, the_bit, ret_was)
{
    d_step {
        drain_all(by);
        ret_was = ((mem[at_cell] & (the_bit)) != 0);
        mem[at_cell] = mem[at_cell] & (255 - (the_bit))
    }
}
inline ADD(by, at_cell)
{
    d_step {
        drain_all(by);
        mem[at_cell] = (mem[at_cell] + 1) % 16
    }
}
inline BARRIER(by)
{
    d_step { drain_all(by) }
}

/* membarrier(2): each process has a barrier at some time within the call, not all at the same. */
inline MEMBARRIER(by)
{
    d_step { drain_all(by) }
    d_step { drain_all(0) }
    d_step { drain_all(1) }
#if PROCS > 2
    d_step { drain_all(2) }
#endif
#if PROCS > 3
    d_step { drain_all(3) }
#endif
}

/* Rule 14: whose the barrier is. */
#ifdef FENCED
#define RARE_BARRIER(p) BARRIER(p)
#define OFTEN_BARRIER(p) BARRIER(p)
#else
#define RARE_BARRIER(p) MEMBARRIER(p)
#define OFTEN_BARRIER(p) skip
#endif

active proctype memory()
{
end:
    do
    :: d_step { stores[0].n > 0; drain(0) }
    :: d_step { stores[1].n > 0; drain(1) }
#if PROCS > 2
    :: d_step { stores[2].n > 0; drain(2) }
#endif
#if PROCS > 3
    :: d_step { stores[3].n > 0; drain(3) }
#endif
    od
}
