/* ring/poll.c - owns what stands behind the descriptor of those who poll: a bell that is rung when we sleep (a FIFO; in
 * a ring between two uids a socket), the peers' pidfds, and the door.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "ring/name.h"
#include "ring/receive.h"
#include "ring/ring.h"

int wherry__ring_open_bell(const struct wherry__ring *ring, unsigned place)
{
    char bell[256];
    struct stat status;
    if (ring->door) {
        const struct ring_place *at = &ring->control->places[place];
        uid_t uid = atomic_load_explicit(&at->uid, memory_order_relaxed);
        return wherry__door_find_bell(ring->door, ring->secret, uid, place,
                                      atomic_load_explicit(&at->epoch, memory_order_acquire));
    }
    wherry__ring_bell_name(bell, ring->wish.name, place);
    wherry__fd_guard();
    /* for reading too: then it never says that nobody reads, and never raises SIGPIPE (fifo(7)) */
    int fd =
        wherry__fd_note(wherry__sys.openat(ring->directory, bell, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0));
    wherry__fd_unguard();
    if (fd >= 0 && (wherry__sys.fstat(fd, &status) != 0 || !S_ISFIFO(status.st_mode)))
        wherry__fd_close(&fd);
    return fd;
}

static int make_fifo(struct wherry__ring *ring)
{
    char bell[256];
    wherry__ring_bell_name(bell, ring->wish.name, ring->place);
    if (!wherry__life_named(ring->life, ring->directory, ring->wish.name))
        return -ESTALE; /* removed by hand: the names beside it are another ring's */
    wherry__sys.unlinkat(ring->directory, bell, 0); /* a dead one's */
    /* first: rule 16 */
    atomic_fetch_or_explicit(&ring->control->shared.bells, UINT64_C(1) << ring->place, memory_order_seq_cst);
    if (wherry__sys.mkfifoat(ring->directory, bell, 0600) != 0 ||
        wherry__sys.fchmodat(ring->directory, bell, 0600, 0) != 0) /* whatever the umask took away */
        return -errno;
    int fd = wherry__ring_open_bell(ring, ring->place);
    return fd < 0 ? -errno : fd;
}

static int make_bell(struct wherry__ring *ring, struct wherry__wait *set)
{
    int fd = ring->door ? wherry__door_make_bell(ring->door, ring->secret, ring->place, ring_mark_epoch(ring->mark))
                        : make_fifo(ring);
    if (fd < 0)
        return fd;
    ring->bell_fd = fd;
    return wherry__wait_add(set, fd, EPOLLIN, RING_PLACES);
}

void wherry__ring_forget_bell(struct wherry__ring *ring)
{
    char bell[256];
    struct stat ours, there;
    if (ring->bell_fd < 0)
        return;
    if (ring->door) {
        wherry__door_forget_bell(ring->door, ring->secret, ring->place, ring_mark_epoch(ring->mark));
    } else {
        wherry__ring_bell_name(bell, ring->wish.name, ring->place);
        /* when the ring's file was removed by hand another ring may have its name, and its bells these names */
        if (wherry__sys.fstat(ring->bell_fd, &ours) == 0 &&
            wherry__sys.fstatat(ring->directory, bell, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
            ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
            wherry__sys.unlinkat(ring->directory, bell, 0);
    }
    wherry__fd_close(&ring->bell_fd);
}

/* A socket gives one datagram a read; what others add meanwhile is left for the next time. */
static bool drain_bell(const struct wherry__ring *ring)
{
    enum { MOST = 64 };
    char bytes[256];
    bool any = false;
    for (int i = 0; i < MOST; i++) {
        ssize_t size = wherry__sys.read(ring->bell_fd, bytes, sizeof bytes);
        if (size < 0)
            break;
        any = true;
        if (!ring->door && size < (ssize_t)sizeof bytes)
            break;
    }
    return any;
}

static void unwatch(struct ring_watched *watched, struct wherry__wait *set)
{
    wherry__wait_remove(set, watched->fd);
    wherry__fd_close(&watched->fd);
}

/* A pidfd of whoever holds the place.  The lock says which process that is; asked again behind the pidfd, it is still
 * that one. */
static void watch_place(struct wherry__ring *ring, unsigned i, uint32_t epoch, struct wherry__wait *set)
{
    struct ring_watched *watched = &ring->watched[i];
    pid_t pid = wherry__life_pid(ring->life, i);
    if (pid == getpid())
        return;
    if (pid == 0) { /* of a PID namespace that is not ours to see: look every now and then */
        ring->needs_timer = true;
        return;
    }
    wherry__fd_guard();
    watched->fd = wherry__fd_note(wherry__sys.pidfd_open(pid, 0));
    wherry__fd_unguard();
    if (watched->fd >= 0 && wherry__life_pid(ring->life, i) != pid)
        wherry__fd_close(&watched->fd);
    if (watched->fd < 0) {
        ring->needs_timer = true;
        return;
    }
    watched->epoch = epoch;
    if (wherry__wait_add(set, watched->fd, EPOLLIN, i) < 0)
        wherry__fd_close(&watched->fd);
}

/* True: somebody who was watched is dead. */
static bool watch_places(struct wherry__ring *ring, struct wherry__wait *set)
{
    bool died = false;
    ring->needs_timer = false;
    for (unsigned i = 0; i < ring->places; i++) {
        struct ring_watched *watched = &ring->watched[i];
        struct ring_place *place = &ring->control->places[i];
        uint32_t epoch = atomic_load_explicit(&place->epoch, memory_order_acquire);
        bool here = i != ring->place && atomic_load_explicit(&place->state, memory_order_acquire) != RING_FREE;
        if (!here && watched->fd < 0)
            continue;
        bool alive = here && wherry__life_alive(ring->life, i);
        if (watched->fd >= 0 && (!alive || watched->epoch != epoch)) {
            unwatch(watched, set);
            died = true;
        }
        if (alive && watched->fd < 0)
            watch_place(ring, i, epoch, set);
    }
    return died;
}

/* Made when somebody begins to poll, while there are descriptors, and set only when it is needed. */
static int make_timer(struct wherry__ring *ring, struct wherry__wait *set)
{
    wherry__fd_guard();
    ring->timer_fd = wherry__fd_note(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    wherry__fd_unguard();
    return ring->timer_fd < 0 ? -errno : wherry__wait_add(set, ring->timer_fd, EPOLLIN, RING_PLACES + 1);
}

/* Where a peer's death shows in no descriptor, for it is of another PID namespace or none was left, the timer ticks. */
static void watch_timer(struct wherry__ring *ring, bool needed)
{
    const struct itimerspec never = {0},
                            every = {.it_interval.tv_nsec = RING_TICK, .it_value.tv_nsec = RING_TICK};
    uint64_t expired;
    if (ring->ticks && wherry__sys.read(ring->timer_fd, &expired, sizeof expired) == sizeof expired)
        ring->tick = true;
    if (needed == ring->ticks)
        return;
    timerfd_settime(ring->timer_fd, 0, needed ? &every : &never, NULL);
    ring->ticks = needed;
}

/* The removal of a kept ring's file is its end, and no peer's doing.  inotify(7): a name less is IN_ATTRIB. */
static void make_notify(struct wherry__ring *ring, struct wherry__wait *set)
{
    char path[300];
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), ring->wish.name);
    wherry__fd_guard();
    ring->notify_fd = wherry__fd_note(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    wherry__fd_unguard();
    if (ring->notify_fd >= 0 && (inotify_add_watch(ring->notify_fd, path, IN_ATTRIB | IN_DELETE_SELF) < 0 ||
                                 wherry__wait_add(set, ring->notify_fd, EPOLLIN, RING_PLACES + 3) < 0))
        wherry__fd_close(&ring->notify_fd); /* then the timer ticks */
}

static void watch_file(struct wherry__ring *ring)
{
    char events[4096];
    if (ring->notify_fd >= 0 && wherry__sys.read(ring->notify_fd, events, sizeof events) > 0)
        ring->tick = true;
}

static int begin_to_watch(struct wherry__ring *ring, struct wherry__wait *set)
{
    int result = ring->bell_fd < 0 ? make_bell(ring, set) : 0; /* there when the timer failed before */
    if (result < 0 && ring->bell_fd < 0 && ring->door)
        return result; /* with a sentence */
    if (result == 0)
        result = make_timer(ring, set);
    if (result < 0)
        return wherry__fail_errno(-result, "%s: no bell for those who poll", ring->wish.url);
    if (ring->keep)
        make_notify(ring, set);
    return 0;
}

/* Also when it was taken over since. */
static int watch_door(struct wherry__ring *ring, struct wherry__wait *set)
{
    wherry__ring_mind_door(ring);
    if (!ring->serves || ring->door_fd >= 0)
        return wherry__door_orphaned(ring->door) ? -EAGAIN : 0; /* no event tells when to try again */
    ring->door_fd = wherry__door_fd(ring->door);
    return wherry__wait_add(set, ring->door_fd, EPOLLIN, RING_PLACES + 2);
}

int wherry__ring_watch(struct wherry__ring *ring, struct wherry__wait *set)
{
    bool sends = ring->wish.sends, first = ring->timer_fd < 0;
    int result = first ? begin_to_watch(ring, set) : 0;
    if (result < 0)
        return result;
    bool door = !ring->door || watch_door(ring, set) == 0; /* else the tick looks at it */
    if (sends ? wherry__ring_has_room(ring) : wherry__ring_has_message(ring))
        return 1;
    uint32_t changes = atomic_load_explicit(&ring->control->shared.changes, memory_order_acquire);
    bool rung = drain_bell(ring), died = false;
    wherry__ring_say_wakes_by(ring, RING_BY_FIFO); /* before the look at the places: who comes later rings (join.c) */
    if (!rung || first || changes != ring->watched_changes)
        died = watch_places(ring, set);
    ring->watched_changes = changes;
    ring->tick |= died;
    watch_file(ring);
    watch_timer(ring, ring->needs_timer || !door || (ring->keep && ring->notify_fd < 0));
    if (sends && ring->tick && wherry__ring_look_round(ring) == 0 && !ring->keep)
        atomic_store_explicit(&ring->control->shared.deserted, 1, memory_order_release);
    if (sends)
        wherry__ring_arm_sender(ring, RING_BY_FIFO);
    else
        wherry__ring_arm(ring, RING_BY_FIFO);
    return died || (sends ? wherry__ring_has_room(ring) : wherry__ring_has_message(ring)) ||
           atomic_load_explicit(&ring->control->shared.changes, memory_order_acquire) != changes ||
           (!sends && (changes != ring->changes || ring->tick));
}
