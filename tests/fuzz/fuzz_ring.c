/* tests/fuzz/fuzz_ring.c - a peer that writes anything anywhere into a ring: no call crashes, reads beyond the ring, or
 * outlives its deadline.
 *
 * SPDX-License-Identifier: MIT
 *
 * The input is a list of steps: a call on one of a few endpoints of one ring, or bytes written to a place in the ring's
 * file, most often to a field that means something.  The writing goes on in a thread during the calls when the input
 * says so. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/ring.h>
#include <wherry/wherry.h>

#include "base/sys.h"
#include "fuzz/fuzz.h"
#include "ring/layout.h"

enum { CAPACITY = 4096, ENDS = 4, GUARDS = 512, PAGE = 4096, LANES = 4 };

/* ---- memory around the mappings that traps --------------------------------------------------------------------- */

static struct wherry__sys real;
static struct {
    void *at;
    size_t size; /* of what lies between two guards */
} guards[GUARDS];
static unsigned guard_count;

static void *guarded_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (at || guard_count == GUARDS)
        return real.mmap(at, size, protection, flags, fd, offset);
    uint8_t *room = real.mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return MAP_FAILED;
    guards[guard_count].at = room;
    guards[guard_count++].size = size;
    return flags & MAP_ANONYMOUS ? room + PAGE
                                 : real.mmap(room + PAGE, size, protection, flags | MAP_FIXED, fd, offset);
}

static void remove_guards(void)
{
    for (; guard_count; guard_count--) {
        uint8_t *room = guards[guard_count - 1].at;
        munmap(room, PAGE);
        munmap(room + PAGE + guards[guard_count - 1].size, PAGE);
    }
}

/* ---- the hostile peer ------------------------------------------------------------------------------------------ */

static struct {
    uint8_t *bytes; /* the ring's file: what it really is, whatever the endpoints were told */
    size_t size;
    int fd;
} ring;

/* Values that are near something. */
static uint64_t value_of(struct fuzz_input *input)
{
    unsigned what = fuzz_byte(input), more = fuzz_word(input);
    switch (what % 12) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return UINT64_C(1) << (more % 64);
    case 3:
        return more;
    case 4:
        return CAPACITY + (uint64_t)(int64_t)(int16_t)more;
    case 5:
        return ring_word(more, what);
    case 6:
        return (uint64_t)more << 48 | more;
    case 7:
        return ring_mark(more % 66, more >> 8);
    case 8:
        return ring_mark(more % 66, more >> 8) | RING_REVOKED;
    case 9:
        return UINT64_MAX - more;
    case 10:
        return (uint64_t)more * 8;
    default:
        return ring_word(CAPACITY / 2 + more % 32 - 16, 0);
    }
}

static size_t place_of(struct fuzz_input *input)
{
    unsigned what = fuzz_byte(input), more = fuzz_word(input);
    unsigned end = more % 4 < 2 ? more % 4 : 66 - more % 4; /* senders sit below, receivers above */
    size_t lane = offsetof(struct ring_control, lanes) + end % LANES * sizeof(struct ring_lane);
    size_t place = offsetof(struct ring_control, places) + end * sizeof(struct ring_place);
    switch (what % 16) {
    case 0:
        return more % sizeof(struct ring_head);
    case 1:
    case 2:
        return offsetof(struct ring_control, shared) + more / 4 % 6 * 8;
    case 3:
        return place + more / 4 % 24 * 8;
    case 4:
        return place + (more & 64 ? offsetof(struct ring_place, inside) : offsetof(struct ring_place, epoch));
    case 5:
        return lane + offsetof(struct ring_lane, receiver.owner);
    case 6:
        return lane + offsetof(struct ring_lane, receiver.position);
    case 7:
        return lane + offsetof(struct ring_lane, sender.position);
    case 8:
        return lane + offsetof(struct ring_lane, receiver.lent);
    case 9:
        return lane + offsetof(struct ring_lane, room.freed);
    case 10:
        return lane + offsetof(struct ring_lane, sleep.wake_at) + more / 4 % 2 * 8;
    case 11:
        return more % RING_CONTROL;
    case 12: /* the word that is next */
    case 13: {
        uint64_t position;
        memcpy(&position, ring.bytes + lane + offsetof(struct ring_lane, receiver.position), 8);
        return RING_CONTROL + end % LANES * CAPACITY + (position & (CAPACITY - 8));
    }
    default:
        return RING_CONTROL + more % (LANES * CAPACITY);
    }
}

static void meddle(struct fuzz_input *input)
{
    size_t at = place_of(input);
    uint64_t value = value_of(input);
    size_t size = (value ^ at) % 5 == 0 ? 1 : at % 8 ? 4 : 8;
    if (at + 8 <= ring.size)
        memcpy(ring.bytes + at, &value, size);
}

/* The same during the calls, over and over. */
static struct {
    pthread_t thread;
    struct fuzz_input input;
    _Atomic bool over;
    bool runs;
} meddler;

static void *meddle_on(void *unused)
{
    (void)unused;
    while (!atomic_load_explicit(&meddler.over, memory_order_relaxed)) {
        struct fuzz_input input = meddler.input;
        while (input.left)
            meddle(&input);
        sched_yield();
    }
    return NULL;
}

static void start_meddler(struct fuzz_input *input)
{
    size_t share = input->left < 24 ? input->left : 24;
    if (meddler.runs || share == 0)
        return;
    meddler.input = (struct fuzz_input){input->data, share};
    input->data += share;
    input->left -= share;
    atomic_store(&meddler.over, false);
    meddler.runs = pthread_create(&meddler.thread, NULL, meddle_on, NULL) == 0;
}

static void stop_meddler(void)
{
    if (!meddler.runs)
        return;
    atomic_store(&meddler.over, true);
    pthread_join(meddler.thread, NULL);
    meddler.runs = false;
}

/* ---- the calls ------------------------------------------------------------------------------------------------- */

static struct wherry_channel *ends[ENDS]; /* the first two receive, the others send */
static struct wherry_loan loans[ENDS];
static bool lent[ENDS];
static char url[80], path[80];
static wherry_time latest;

static wherry_time soon(struct fuzz_input *input)
{
    unsigned what = fuzz_byte(input);
    wherry_time deadline = what % 8 ? WHERRY_NOW : wherry_after((wherry_time)(what >> 3) * 100 * WHERRY_MICROSECOND);
    latest = (deadline == WHERRY_NOW ? wherry_now() : deadline) + 10 * WHERRY_SECOND; /* and for a busy machine */
    return deadline;
}

/* An answer, in time, and with a sentence if it is none of every day. */
static void check_answer(long long result)
{
    fuzz_must(wherry_now() < latest, "every call returns by its deadline");
    fuzz_must(result >= -4095, "an error is an errno");
    fuzz_must(result >= 0 || wherry_why()[0], "a sentence");
}

static void touch(const void *data, size_t size)
{
    volatile uint8_t sum = 0;
    fuzz_must(size <= CAPACITY / 2, "no message over half the capacity");
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum ^ ((const uint8_t *)data)[i]);
}

static void open_end(unsigned i, struct fuzz_input *input)
{
    static const char *const options[] = {"", "?redeliver=no", "?max_message=100", "?single_thread=1"};
    char full[120];
    unsigned what = fuzz_byte(input);
    if (ends[i])
        return;
    snprintf(full, sizeof full, "%s%s", url, options[what % 4]);
    wherry_time deadline = soon(input);
    check_answer(wherry_channel_open(full, i < 2 ? WHERRY_RECEIVE : WHERRY_SEND, NULL, deadline, &ends[i]));
}

static void close_end(unsigned i)
{
    if (lent[i])
        wherry_channel_return(ends[i], &loans[i]);
    lent[i] = false;
    latest = wherry_now() + 10 * WHERRY_SECOND;
    wherry_channel_close(ends[i], WHERRY_NOW);
    ends[i] = NULL;
    fuzz_must(wherry_now() < latest, "close returns");
}

static void receive_with(unsigned i, unsigned how, struct fuzz_input *input)
{
    size_t capacity = how & 8 ? CAPACITY / 2 : fuzz_byte(input), size = 0;
    struct wherry_info info;
    if (lent[i]) {
        touch(loans[i].data, loans[i].info.size);
        wherry_channel_return(ends[i], &loans[i]);
        lent[i] = false;
        return;
    }
    wherry_time deadline = soon(input);
    if (how % 4 == 0) {
        int result = wherry_channel_borrow(ends[i], &loans[i], deadline);
        check_answer(result);
        lent[i] = result == 1;
        if (lent[i])
            touch(loans[i].data, loans[i].info.size);
        return;
    }
    uint8_t *buffer = malloc(capacity); /* of just that size, so that one byte more is seen */
    int result = how % 4 == 1 ? wherry_channel_receive_info(ends[i], buffer, capacity, &info, deadline)
                              : wherry_channel_receive(ends[i], buffer, capacity, &size, deadline);
    check_answer(result);
    fuzz_must(result <= 1, "a receive is 1, 0 or an error");
    if (result == 1)
        fuzz_must((how % 4 == 1 ? info.size : size) <= capacity, "no message over the buffer");
    free(buffer);
}

static void send_with(unsigned i, unsigned how, struct fuzz_input *input)
{
    static const uint8_t data[CAPACITY];
    size_t size = how & 8 ? CAPACITY / 2 - fuzz_byte(input) % 16 : fuzz_byte(input);
    void *place;
    wherry_time deadline = soon(input);
    if (how % 4 == 0) {
        int result = wherry_channel_reserve(ends[i], size, &place, deadline);
        check_answer(result);
        if (result < 0)
            return;
        memset(place, 0x77, size);
        struct wherry_message message = {.data = place, .size = size, .type = fuzz_byte(input)};
        if (how & 16)
            wherry_channel_abandon(ends[i]);
        else
            check_answer(wherry_channel_commit(ends[i], &message, 0, deadline));
        return;
    }
    if (how % 4 == 1) {
        struct wherry_message messages[5];
        for (unsigned m = 0; m < 5; m++)
            messages[m] = (struct wherry_message){.data = data, .size = size / (m + 1), .type = m};
        check_answer(wherry_channel_send_many(ends[i], messages, 5, deadline));
        return;
    }
    check_answer(wherry_channel_send(ends[i], data, size, deadline));
}

static void call(unsigned what, struct fuzz_input *input)
{
    struct wherry_channel_stats stats;
    struct wherry_ring_stat stat;
    unsigned i = what % ENDS, how = what / ENDS;
    latest = wherry_now() + 10 * WHERRY_SECOND;
    if (how == 57)
        check_answer(wherry_ring_stat(url, &stat, sizeof stat));
    else if (how == 63)
        stop_meddler();
    else if (how == 62)
        start_meddler(input);
    else if (!ends[i])
        open_end(i, input);
    else if (how == 61)
        close_end(i);
    else if (how == 60)
        check_answer(i < 2 ? wherry_channel_receive_fd(ends[i]) : wherry_channel_send_fd(ends[i]));
    else if (how == 59)
        wherry_channel_interrupt(ends[i]);
    else if (how == 58)
        wherry_channel_stats(ends[i], &stats, sizeof stats);
    else if (i < 2)
        receive_with(i, how, input);
    else
        send_with(i, how, input);
}

/* ---- one run --------------------------------------------------------------------------------------------------- */

static void start_once(void)
{
    if (real.mmap)
        return;
    real = wherry__sys;
    wherry__sys.mmap = guarded_mmap;
    snprintf(url, sizeof url, "shm://fuzz-%d", (int)getpid());
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/fuzz-%d", (unsigned)geteuid(), (int)getpid());
}

static void remove_all(void)
{
    char bell[120];
    for (unsigned i = 0; i < RING_PLACES; i++) {
        snprintf(bell, sizeof bell, "/dev/shm/wherry-%u/.fuzz-%d.bell-%u", (unsigned)geteuid(), (int)getpid(), i);
        unlink(bell);
    }
    unlink(path);
}

/* The file is mapped here by itself, and stays open until the endpoints are closed: a close would drop their locks. */
static void map_file(void)
{
    struct stat status;
    ring.fd = open(path, O_RDWR | O_CLOEXEC);
    fuzz_must(ring.fd >= 0 && fstat(ring.fd, &status) == 0, "the ring's file");
    ring.size = RING_CONTROL + LANES * CAPACITY;
    fuzz_must((size_t)status.st_size >= ring.size, "a whole ring");
    ring.bytes = mmap(NULL, ring.size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, 0);
    fuzz_must(ring.bytes != MAP_FAILED, "a mapping");
}

void fuzz_ring(const uint8_t *data, size_t size)
{
    char first[120];
    struct fuzz_input input = {data, size};
    start_once();
    unsigned flags = fuzz_byte(&input);
    snprintf(first, sizeof first, "%s?capacity=4k%s", url, flags & 1 ? "&keep=1" : "");
    fuzz_must(wherry_channel_open(first, WHERRY_RECEIVE, NULL, WHERRY_NOW, &ends[0]) == 0, "a receiver");
    fuzz_must(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &ends[2]) == 0, "a sender");
    map_file();
    if (flags & 2)
        open_end(1, &input);
    while (input.left) {
        unsigned what = fuzz_byte(&input);
        if (flags & 4 ? what & 1 : what & 128)
            meddle(&input);
        else
            call(fuzz_byte(&input), &input);
    }
    for (unsigned i = 0; i < ENDS; i++)
        if (ends[i])
            close_end(i);
    stop_meddler(); /* it goes on during the closing */
    remove_guards();
    munmap(ring.bytes, ring.size);
    close(ring.fd);
    remove_all();
}
