/* supervise/child.h - a child in the making: the descriptors and the environment that it gets beside what its options
 * say.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SUPERVISE_CHILD_H
#define WHERRY_SUPERVISE_CHILD_H

#include <stddef.h>
#include <wherry/channel.h>
#include <wherry/process.h>

enum { WHERRY__CHILD_FDS = 8, WHERRY__CHILD_VARIABLES = 4 };

struct wherry__child {
    struct wherry_process_options options;
    struct wherry_process_fd *fds; /* the options' and those given */
    size_t fd_count;
    int given[WHERRY__CHILD_FDS];  /* ours to close once it runs */
    size_t given_count;
    char *variables[WHERRY__CHILD_VARIABLES];
    size_t variable_count;
    const char **environment;
    struct wherry_channel *peer;   /* its end of a pair, to be closed here */
};

/* All of these: 0, or -errno with the sentence set.  A zeroed struct may be given to fini. */
int wherry__child_init(struct wherry__child *child, const struct wherry_process_options *options);
/* Its descriptor `number` is to be this one, which is the child's from now on: closed by fini. */
void wherry__child_give(struct wherry__child *child, int number, int fd);
/* A number that none of its descriptors has, from 3 on. */
int wherry__child_number(const struct wherry__child *child);
int wherry__child_set(struct wherry__child *child, const char *name, const char *value);
/* The channel's end of ours, and the other one, or its address, for the child (WHERRY_URL). */
int wherry__child_connect(struct wherry__child *child, const char *url, enum wherry_role role,
                          const struct wherry_channel_options *options, struct wherry_channel **ret_channel);
int wherry__child_spawn(struct wherry__child *child, const char *program, const char *const *arguments,
                        struct wherry_process **ret_process);
void wherry__child_fini(struct wherry__child *child);

#endif
