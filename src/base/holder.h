/* base/holder.h - who holds a lock, for sentences that name a process.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_HOLDER_H
#define WHERRY_BASE_HOLDER_H

#include <sys/socket.h>
#include <sys/types.h>

/* The process that took a flock(2) on the file behind `fd`, from /proc/locks; 0 when it cannot be known (another PID
 * namespace, no /proc, just released).  A hint for people: never decide by it. */
pid_t wherry__holder_of_flock(int fd);

/* A process that has a Unix socket bound to the abstract name "@..." (as /proc/net/unix prints it), found among the
 * descriptors of those that we may look at; 0 when it cannot be known.  Slow; a hint likewise. */
pid_t wherry__holder_of_abstract(const char *name);

/* A process that listens at that TCP address, or at all addresses and that port; as above. */
pid_t wherry__holder_of_tcp(const struct sockaddr *address);

/* The same of one that receives UDP datagrams from anybody. */
pid_t wherry__holder_of_udp(const struct sockaddr *address);

#endif
