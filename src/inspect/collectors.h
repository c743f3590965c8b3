/* inspect/collectors.h - the collectors, each in the file of its kind; snapshot.h says what one is.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_COLLECTORS_H
#define WHERRY_INSPECT_COLLECTORS_H

#include "inspect/snapshot.h"

extern const struct collector wherry__collector_posix_shm, wherry__collector_posix_sem, wherry__collector_ring;
extern const struct collector wherry__collector_posix_mq;
extern const struct collector wherry__collector_sysv_shm, wherry__collector_sysv_sem, wherry__collector_sysv_msg;
extern const struct collector wherry__collector_memfd, wherry__collector_anonymous, wherry__collector_file;
extern const struct collector wherry__collector_pipe, wherry__collector_fifo;
extern const struct collector wherry__collector_unix, wherry__collector_tcp, wherry__collector_udp;
extern const struct collector wherry__collector_socket;
extern const struct collector wherry__collector_eventfd, wherry__collector_signalfd, wherry__collector_timerfd;
extern const struct collector wherry__collector_pidfd, wherry__collector_epoll;

#endif
