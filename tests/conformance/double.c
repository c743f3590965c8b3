/* tests/conformance/double.c - owns the wrapper that every breakage starts from: a queue between transport and channel.
 *
 * SPDX-License-Identifier: MIT */
#include "double.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIDES = 256 };

const struct wherry__transport *double_real;
struct double_shared *double_shared;
unsigned (*double_on_message)(struct side *side, struct held *held);
bool (*double_on_order)(struct side *side);

static struct side sides[SIDES];
static pthread_mutex_t sides_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- sides ----------------------------------------------------------------------------------------------------- */

struct side *double_side(struct wherry__endpoint *endpoint)
{
    struct side *found = NULL;
    pthread_mutex_lock(&sides_lock);
    for (size_t i = 0; i < SIDES && !found; i++)
        if (sides[i].endpoint == endpoint)
            found = &sides[i];
    for (size_t i = 0; i < SIDES && !found; i++)
        if (!sides[i].endpoint) {
            found = &sides[i];
            *found = (struct side){.endpoint = endpoint, .extra_fd = -1};
            found->last = &found->first;
        }
    pthread_mutex_unlock(&sides_lock);
    if (!found) {
        fprintf(stderr, "double.c: more endpoints than its table has room for\n");
        abort();
    }
    return found;
}

static void let_go(struct held *held)
{
    while (held && held->fd_count > 0)
        close(held->fds[--held->fd_count]);
    free(held);
}

static void drop_all(struct side *side)
{
    while (side->first) {
        struct held *held = side->first;
        side->first = held->next;
        let_go(held);
    }
    side->last = &side->first;
    let_go(side->spent);
    side->spent = NULL;
}

static void side_fini(struct side *side)
{
    drop_all(side);
    pthread_mutex_lock(&sides_lock);
    side->endpoint = NULL;
    pthread_mutex_unlock(&sides_lock);
}

/* ---- the queue ------------------------------------------------------------------------------------------------- */

static struct held *copy(const struct wherry_loan *loan)
{
    struct held *held = malloc(sizeof *held + loan->info.size + 1);
    if (!held)
        abort();
    held->next = NULL;
    held->fd_count = 0;
    held->loan = *loan;
    held->loan.data = held + 1;
    if (loan->info.size)
        memcpy(held + 1, loan->data, loan->info.size);
    return held;
}

static void append(struct side *side, struct held *held)
{
    *side->last = held;
    side->last = &held->next;
}

/* Take a message out of the transport.  As try_borrow. */
static int pull(struct side *side)
{
    struct wherry_loan loan = {0};
    int result = double_real->try_borrow(side->endpoint, NULL, 0, &loan);
    if (result != 1)
        return result;
    struct held *held = copy(&loan);
    if (loan.info.fd_count) {
        ssize_t taken = double_real->take_fds(side->endpoint, held->fds, sizeof held->fds / sizeof *held->fds);
        held->fd_count = taken > 0 ? (size_t)taken : 0;
    }
    double_real->give_back(side->endpoint);
    side->pulled++;
    unsigned count = double_on_message ? double_on_message(side, held) : 1;
    for (unsigned i = 1; i < count; i++)
        append(side, copy(&held->loan));
    if (count == 0)
        let_go(held);
    else
        append(side, held);
    return 1;
}

/* The last message of the queue before the one in front of it. */
static void swap_last_two(struct side *side)
{
    struct held *a = side->first, *b = a ? a->next : NULL;
    if (!b || b->next)
        return;
    b->next = a;
    a->next = NULL;
    side->first = b;
    side->last = &a->next;
}

int double_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    struct side *side = double_side(endpoint);
    (void)buffer; /* what lies in the queue is copied by the channel */
    (void)capacity;
    while (!side->first) {
        int result = pull(side);
        if (result != 1)
            return result;
        if (side->first && double_on_order && double_on_order(side) && pull(side) == 1)
            swap_last_two(side);
    }
    *ret_loan = side->first->loan;
    return 1;
}

void double_give_back(struct wherry__endpoint *endpoint)
{
    struct side *side = double_side(endpoint);
    struct held *held = side->first;
    if (!held)
        return;
    side->first = held->next;
    if (!side->first)
        side->last = &side->first;
    let_go(side->spent); /* the channel may still copy from what it gave back a moment ago */
    side->spent = held;
}

static ssize_t double_take_fds(struct wherry__endpoint *endpoint, int *fds, size_t capacity)
{
    struct held *held = double_side(endpoint)->first;
    size_t count = held ? held->fd_count : 0;
    if (count > capacity)
        return -EMSGSIZE;
    for (size_t i = 0; i < count; i++)
        fds[i] = held->fds[i];
    if (held)
        held->fd_count = 0;
    return (ssize_t)count;
}

bool double_ready(struct wherry__endpoint *endpoint)
{
    return double_side(endpoint)->first || (double_real->ready && double_real->ready(endpoint));
}

/* ---- the other slots ------------------------------------------------------------------------------------------- */

int double_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct side *side = double_side(endpoint);
    side->closes_seen = atomic_load(&double_shared->closes);
    return double_real->open(endpoint, deadline);
}

void double_close(struct wherry__endpoint *endpoint, bool own)
{
    if (own && (endpoint->config->role & WHERRY_SEND))
        atomic_fetch_add(&double_shared->closes, 1);
    double_real->close(endpoint, own);
    side_fini(double_side(endpoint));
}

int double_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to, wherry_time deadline)
{
    if (double_real->wait)
        return double_real->wait(endpoint, direction, to, deadline);
    return wherry__wait_for(direction == WHERRY__SENDING ? &endpoint->sending : &endpoint->receiving, deadline);
}

/* What the parent took is the parent's to receive. */
static int double_adopt(struct wherry__endpoint *endpoint)
{
    drop_all(double_side(endpoint));
    return double_real->adopt(endpoint);
}

/* ---- standing in ----------------------------------------------------------------------------------------------- */

static void install(const char *scheme, void (*apply)(struct wherry__transport *transport))
{
    static struct wherry__transport transport;
    double_real = wherry__transport_find(scheme);
    double_shared = mmap(NULL, sizeof *double_shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!double_real || double_shared == MAP_FAILED) {
        fprintf(stderr, "double.c: no transport %s to stand in for\n", scheme);
        exit(2);
    }
    transport = *double_real;
    transport.open = double_real->open ? double_open : NULL;
    transport.try_borrow = double_try_borrow;
    transport.give_back = double_give_back;
    transport.take_fds = double_real->take_fds ? double_take_fds : NULL;
    transport.rescue = NULL; /* the caller's buffer is never given to the transport */
    transport.ready = double_ready;
    transport.close = double_close;
    transport.adopt = double_real->adopt ? double_adopt : NULL;
    if (apply)
        apply(&transport);
    wherry__transport_double = &transport;
}

void double_install(void)
{
    const char *name = getenv("WHERRY_DOUBLE");
    if (!name || wherry__transport_double)
        return;
    if (strncmp(name, "unbroken:", 9) == 0) {
        install(name + 9, NULL);
        return;
    }
    for (const struct breakage *breakage = breakages; breakage->name; breakage++)
        if (strcmp(breakage->name, name) == 0) {
            install(breakage->scheme, breakage->apply);
            return;
        }
    fprintf(stderr, "double.c: WHERRY_DOUBLE=%s names no breakage\n", name);
    exit(2);
}
