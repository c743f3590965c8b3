/* socket/activation.h - descriptors that a service manager passed to this process.  sd_listen_fds(3).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_ACTIVATION_H
#define WHERRY_SOCKET_ACTIVATION_H

/* The descriptor that `which` names: a number counts from 0 on in those that were passed, anything else is a name out
 * of LISTEN_FDNAMES that one of them alone has.  Those of a process whose LISTEN_PID is not ours are not for us.  All
 * that were passed are made close-on-exec; the variables stay as they are.  `name` is what sentences begin
 * with.  Returns the descriptor, or -ENOENT (none was passed, or none of that name), -ENOTUNIQ (several have the
 * name), -EINVAL (the variables make no sense). */
int wherry__activation_find(const char *which, const char *name);

#endif
