/* base/wait.c - owns ppoll, epoll and eventfd.
 *
 * SPDX-License-Identifier: MIT */
#include "base/wait.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"

/* poll(2) and epoll(7) number their events alike. */
_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR && EPOLLHUP == POLLHUP &&
                   EPOLLRDHUP == POLLRDHUP,
               "events of poll and epoll differ");

/* The limit of the process is its user's to raise; that of the system is not. */
static int no_descriptor(int code)
{
    return wherry__fail_errno(code, "no descriptor to wait on%s", code == EMFILE ? " (ulimit -n)" : "");
}

int wherry__wait_init(struct wherry__wait *wait)
{
    *wait = WHERRY__WAIT_CLOSED;
    pthread_mutex_init(&wait->lock, NULL);
    wherry__fd_guard();
    wait->bell = wherry__fd_note(wherry__sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    int failure = errno;
    wherry__fd_unguard();
    return wait->bell >= 0 ? 0 : no_descriptor(failure);
}

void wherry__wait_fini(struct wherry__wait *wait, uint64_t born)
{
    wherry__fd_close_from(born, false, &wait->epoll);
    wherry__fd_close_from(born, false, &wait->bell);
    wait->member_count = wait->count = wait->next = 0;
}

/* ---- members ---- */

static int control(const struct wherry__wait *wait, int epoll, int operation, int fd, uint32_t events, uint64_t key)
{
    struct epoll_event event = {.events = events, .data.u64 = key};
    if (wherry__sys.epoll_ctl(epoll, operation, fd, &event) == 0)
        return 0;
    int code = errno;
    if (code == EPERM) { /* a regular file: epoll does not take what is always ready */
        wherry__wait_ring(wait);
        return 0;
    }
    return wherry__fail_errno(code, "descriptor %d cannot be waited on", fd);
}

/* From ppoll to epoll, for good.  Under the lock. */
static int step_to_epoll(struct wherry__wait *wait)
{
    if (wait->epoll >= 0)
        return 0;
    wherry__fd_guard();
    int epoll = wherry__fd_note(wherry__sys.epoll_create1(EPOLL_CLOEXEC));
    int code = errno;
    wherry__fd_unguard();
    if (epoll < 0)
        return no_descriptor(code);
    int result = control(wait, epoll, EPOLL_CTL_ADD, wait->bell, EPOLLIN, WHERRY__WAIT_BELL);
    for (int i = 0; i < wait->member_count && result == 0; i++)
        result =
            control(wait, epoll, EPOLL_CTL_ADD, wait->members[i].fd, wait->members[i].events, wait->members[i].key);
    if (result < 0) {
        wherry__fd_close(&epoll);
        return result;
    }
    wait->member_count = 0;
    wait->epoll = epoll;
    return 0;
}

static struct wherry__wait_member *find_member(struct wherry__wait *wait, int fd)
{
    for (int i = 0; i < wait->member_count; i++)
        if (wait->members[i].fd == fd)
            return &wait->members[i];
    return NULL;
}

static int make_room(struct wherry__wait *wait)
{
    return wait->epoll < 0 && wait->member_count == WHERRY__WAIT_FEW ? step_to_epoll(wait) : 0;
}

int wherry__wait_make_room(struct wherry__wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    int result = make_room(wait);
    pthread_mutex_unlock(&wait->lock);
    return result;
}

int wherry__wait_add(struct wherry__wait *wait, int fd, uint32_t events, uint64_t key)
{
    pthread_mutex_lock(&wait->lock);
    int result = make_room(wait);
    if (result == 0 && wait->epoll >= 0)
        result = control(wait, wait->epoll, EPOLL_CTL_ADD, fd, events, key);
    else if (result == 0)
        wait->members[wait->member_count++] = (struct wherry__wait_member){.fd = fd, .events = events, .key = key};
    pthread_mutex_unlock(&wait->lock);
    return result;
}

int wherry__wait_change(struct wherry__wait *wait, int fd, uint32_t events, uint64_t key)
{
    int result = 0;
    pthread_mutex_lock(&wait->lock);
    struct wherry__wait_member *member = find_member(wait, fd);
    if (wait->epoll >= 0)
        result = control(wait, wait->epoll, EPOLL_CTL_MOD, fd, events, key);
    else if (member)
        *member = (struct wherry__wait_member){.fd = fd, .events = events, .key = key};
    pthread_mutex_unlock(&wait->lock);
    return result;
}

void wherry__wait_remove(struct wherry__wait *wait, int fd)
{
    if (wait->bell < 0 || fd < 0)
        return;
    pthread_mutex_lock(&wait->lock);
    struct wherry__wait_member *member = find_member(wait, fd);
    if (wait->epoll >= 0)
        wherry__sys.epoll_ctl(wait->epoll, EPOLL_CTL_DEL, fd, NULL);
    else if (member)
        *member = wait->members[--wait->member_count];
    pthread_mutex_unlock(&wait->lock);
}

int wherry__wait_descriptor(struct wherry__wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    int result = step_to_epoll(wait);
    pthread_mutex_unlock(&wait->lock);
    return result < 0 ? result : wait->epoll;
}

/* ---- waiting ---- */

/* Linux 5.10 has epoll_wait with milliseconds alone; rounded up, so that no wait ends before its deadline. */
static int wait_in_milliseconds(struct wherry__wait *wait, wherry_time deadline)
{
    int timeout = -1;
    if (deadline != WHERRY_FOREVER) {
        wherry_time left = deadline <= 0 ? 0 : deadline - wherry_now();
        if (left < 0)
            left = 0;
        left = (left + WHERRY_MILLISECOND - 1) / WHERRY_MILLISECOND;
        timeout = left > 86400000 ? 86400000 : (int)left; /* a day, then the caller comes again */
    }
    return wherry__sys.epoll_wait(wait->epoll, wait->events, WHERRY__WAIT_EVENTS, timeout);
}

/* Wait with epoll_pwait2, where the kernel has it. */
static int wait_with_epoll(struct wherry__wait *wait, wherry_time deadline)
{
    static _Atomic bool no_pwait2;
    struct timespec left;
    if (atomic_load_explicit(&no_pwait2, memory_order_relaxed))
        return wait_in_milliseconds(wait, deadline);
    int count = wherry__sys.epoll_pwait2(wait->epoll, wait->events, WHERRY__WAIT_EVENTS,
                                         wherry__deadline_left(deadline, &left));
    if (count >= 0 || errno != ENOSYS)
        return count;
    atomic_store_explicit(&no_pwait2, true, memory_order_relaxed);
    return wait_in_milliseconds(wait, deadline);
}

static int wait_with_poll(struct wherry__wait *wait, wherry_time deadline)
{
    struct pollfd fds[1 + WHERRY__WAIT_FEW];
    uint64_t keys[1 + WHERRY__WAIT_FEW];
    struct timespec left;
    int members = wait->member_count;
    fds[0] = (struct pollfd){.fd = wait->bell, .events = POLLIN};
    keys[0] = WHERRY__WAIT_BELL;
    for (int i = 0; i < members; i++) {
        fds[1 + i] = (struct pollfd){.fd = wait->members[i].fd, .events = (short)wait->members[i].events};
        keys[1 + i] = wait->members[i].key;
    }
    pthread_mutex_unlock(&wait->lock);
    int ready = wherry__sys.ppoll(fds, (nfds_t)(1 + members), wherry__deadline_left(deadline, &left));
    int count = 0;
    for (int i = 0; i <= members && ready > 0; i++)
        if (fds[i].revents)
            wait->events[count++] =
                (struct epoll_event){.events = (uint32_t)(unsigned short)fds[i].revents, .data.u64 = keys[i]};
    return ready < 0 ? ready : count;
}

int wherry__wait_for(struct wherry__wait *wait, wherry_time deadline)
{
    wait->count = wait->next = 0;
    pthread_mutex_lock(&wait->lock);
    int count;
    if (wait->epoll < 0) {
        count = wait_with_poll(wait, deadline); /* gives the lock up before it waits */
    } else {
        pthread_mutex_unlock(&wait->lock);
        count = wait_with_epoll(wait, deadline);
    }
    if (count < 0)
        return errno == EINTR ? 0 : wherry__fail_errno(errno, "the wait failed");
    wait->count = count;
    return count == 0 && wherry__deadline_passed(deadline) ? -ETIMEDOUT : 0;
}

bool wherry__wait_next(struct wherry__wait *wait, struct epoll_event *ret_event)
{
    while (wait->next < wait->count) {
        struct epoll_event event = wait->events[wait->next++];
        if (event.events == 0 || event.data.u64 == WHERRY__WAIT_BELL)
            continue;
        *ret_event = event;
        return true;
    }
    return false;
}

bool wherry__wait_reported(const struct wherry__wait *wait)
{
    for (int i = wait->next; i < wait->count; i++)
        if (wait->events[i].events && wait->events[i].data.u64 != WHERRY__WAIT_BELL)
            return true;
    return false;
}

uint32_t wherry__wait_take(struct wherry__wait *wait, uint64_t key)
{
    uint32_t events = 0;
    for (int i = wait->next; i < wait->count; i++)
        if (wait->events[i].data.u64 == key) {
            events |= wait->events[i].events;
            wait->events[i].events = 0;
        }
    return events;
}

void wherry__wait_drop(struct wherry__wait *wait, uint64_t key)
{
    wherry__wait_take(wait, key);
}

void wherry__wait_ring(const struct wherry__wait *wait)
{
    uint64_t one = 1;
    if (wait->bell >= 0)
        (void)!wherry__sys.write(wait->bell, &one, sizeof one);
}

void wherry__wait_silence(const struct wherry__wait *wait)
{
    uint64_t sum;
    if (wait->bell >= 0)
        (void)!wherry__sys.read(wait->bell, &sum, sizeof sum);
}

int wherry__wait_one(const struct wherry__wait *wait, int fd, short events, wherry_time deadline)
{
    return wherry__wait_any(wait, &fd, 1, events, deadline);
}

int wherry__wait_any(const struct wherry__wait *wait, const int *which, int many, short events, wherry_time deadline)
{
    struct pollfd fds[1 + WHERRY__WAIT_ANY] = {{.fd = wait->bell, .events = POLLIN}};
    struct timespec left;
    many = many < WHERRY__WAIT_ANY ? many : WHERRY__WAIT_ANY;
    for (int i = 0; i < many; i++)
        fds[1 + i] = (struct pollfd){.fd = which[i], .events = events};
    int count = wherry__sys.ppoll(fds, (nfds_t)(1 + many), wherry__deadline_left(deadline, &left));
    if (count < 0)
        return errno == EINTR ? 0 : wherry__fail_errno(errno, "the wait failed");
    return count == 0 && wherry__deadline_passed(deadline) ? -ETIMEDOUT : 0;
}
