/* inspect/collectors.c - owns the table of collectors, one a kind of object.
 *
 * SPDX-License-Identifier: MIT */
#include "inspect/collectors.h"

const struct collector *const wherry__collectors[WHERRY_INSPECT_KINDS] = {
    [WHERRY_INSPECT_POSIX_SHM] = &wherry__collector_posix_shm,
    [WHERRY_INSPECT_POSIX_SEM] = &wherry__collector_posix_sem,
    [WHERRY_INSPECT_RING] = &wherry__collector_ring,
    [WHERRY_INSPECT_POSIX_MQ] = &wherry__collector_posix_mq,
    [WHERRY_INSPECT_SYSV_SHM] = &wherry__collector_sysv_shm,
    [WHERRY_INSPECT_SYSV_SEM] = &wherry__collector_sysv_sem,
    [WHERRY_INSPECT_SYSV_MSG] = &wherry__collector_sysv_msg,
    [WHERRY_INSPECT_MEMFD] = &wherry__collector_memfd,
    [WHERRY_INSPECT_ANONYMOUS] = &wherry__collector_anonymous,
    [WHERRY_INSPECT_FILE] = &wherry__collector_file,
    [WHERRY_INSPECT_PIPE] = &wherry__collector_pipe,
    [WHERRY_INSPECT_FIFO] = &wherry__collector_fifo,
    [WHERRY_INSPECT_UNIX] = &wherry__collector_unix,
    [WHERRY_INSPECT_TCP] = &wherry__collector_tcp,
    [WHERRY_INSPECT_UDP] = &wherry__collector_udp,
    [WHERRY_INSPECT_SOCKET] = &wherry__collector_socket,
    [WHERRY_INSPECT_EVENTFD] = &wherry__collector_eventfd,
    [WHERRY_INSPECT_SIGNALFD] = &wherry__collector_signalfd,
    [WHERRY_INSPECT_TIMERFD] = &wherry__collector_timerfd,
    [WHERRY_INSPECT_PIDFD] = &wherry__collector_pidfd,
    [WHERRY_INSPECT_EPOLL] = &wherry__collector_epoll,
};

const char *wherry_inspect_kind_name(enum wherry_inspect_kind kind)
{
    return (unsigned)kind < WHERRY_INSPECT_KINDS ? wherry__collectors[kind]->name : NULL;
}

const char *wherry_inspect_kind_summary(enum wherry_inspect_kind kind)
{
    return (unsigned)kind < WHERRY_INSPECT_KINDS ? wherry__collectors[kind]->summary : NULL;
}
