/* ring.pml - the protocol of src/ring/LAYOUT.md, a part at a time: -DPART_LANE and so on.
 *
 * SPDX-License-Identifier: MIT
 *
 * -DWEAK_... makes one mistake; README.md has the table.  run.py runs all. */

/* A property with a name, so that the one that fails can be told. */
#define MUST(what, name)   \
    atomic {               \
        name = !(what);    \
        assert(!name)      \
    }

#if defined(PART_LANE)
#include "lane.pml"
#elif defined(PART_OWNER)
#include "owner.pml"
#elif defined(PART_WAKE)
#include "wake.pml"
#elif defined(PART_ROOM)
#include "room.pml"
#elif defined(PART_NAME)
#include "name.pml"
#endif
