/* base/wait.c - owns epoll and eventfd.
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

int wherry__wait_init(struct wherry__wait *wait)
{
    *wait = WHERRY__WAIT_CLOSED;
    wherry__fd_guard();
    wait->epoll = wherry__fd_note(wherry__sys.epoll_create1(EPOLL_CLOEXEC));
    int failure = errno;
    if (wait->epoll >= 0) {
        wait->bell = wherry__fd_note(wherry__sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        failure = errno;
    }
    wherry__fd_unguard();
    if (wait->bell < 0) {
        wherry__fd_close(&wait->epoll);
        return wherry__fail_errno(failure, "no descriptor to wait on");
    }
    int result = wherry__wait_add(wait, wait->bell, EPOLLIN, WHERRY__WAIT_BELL);
    if (result < 0) {
        wherry__fd_close(&wait->epoll);
        wherry__fd_close(&wait->bell);
    }
    return result;
}

void wherry__wait_fini(struct wherry__wait *wait, uint64_t born)
{
    wherry__fd_close_from(born, false, &wait->epoll);
    wherry__fd_close_from(born, false, &wait->bell);
    wait->count = wait->next = 0;
}

static int control(struct wherry__wait *wait, int operation, int fd, uint32_t events, uint64_t key)
{
    struct epoll_event event = {.events = events, .data.u64 = key};
    if (wherry__sys.epoll_ctl(wait->epoll, operation, fd, &event) == 0)
        return 0;
    int code = errno;
    if (code == EPERM)
        return -EPERM;
    return wherry__fail_errno(code, "descriptor %d cannot be waited on", fd);
}

int wherry__wait_add(struct wherry__wait *wait, int fd, uint32_t events, uint64_t key)
{
    return control(wait, EPOLL_CTL_ADD, fd, events, key);
}

int wherry__wait_change(struct wherry__wait *wait, int fd, uint32_t events, uint64_t key)
{
    return control(wait, EPOLL_CTL_MOD, fd, events, key);
}

void wherry__wait_remove(struct wherry__wait *wait, int fd)
{
    if (wait->epoll >= 0 && fd >= 0)
        wherry__sys.epoll_ctl(wait->epoll, EPOLL_CTL_DEL, fd, NULL);
}

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

int wherry__wait_for(struct wherry__wait *wait, wherry_time deadline)
{
    static _Atomic bool no_pwait2;
    struct timespec left;
    int count;
    wait->count = wait->next = 0;
    if (atomic_load_explicit(&no_pwait2, memory_order_relaxed)) {
        count = wait_in_milliseconds(wait, deadline);
    } else {
        count = wherry__sys.epoll_pwait2(wait->epoll, wait->events, WHERRY__WAIT_EVENTS,
                                         wherry__deadline_left(deadline, &left));
        if (count < 0 && errno == ENOSYS) {
            atomic_store_explicit(&no_pwait2, true, memory_order_relaxed);
            return 0;
        }
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

void wherry__wait_drop(struct wherry__wait *wait, uint64_t key)
{
    for (int i = wait->next; i < wait->count; i++)
        if (wait->events[i].data.u64 == key)
            wait->events[i].events = 0;
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
    struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = wait->bell, .events = POLLIN}};
    struct timespec left;
    int count = wherry__sys.ppoll(fds, 2, wherry__deadline_left(deadline, &left));
    if (count < 0)
        return errno == EINTR ? 0 : wherry__fail_errno(errno, "the wait failed");
    return count == 0 && wherry__deadline_passed(deadline) ? -ETIMEDOUT : 0;
}
