/* inspect/doctor.h - findings while they are made, and what reads files for them.
 *
 * SPDX-License-Identifier: MIT
 *
 * What a file beside this one looks at is data where it can be: rows of a table with a name, the values that bite, what
 * they cause and what mends it. */
#ifndef WHERRY_INSPECT_DOCTOR_H
#define WHERRY_INSPECT_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/inspect.h>

enum { DOCTOR_MOST = 64, DOCTOR_PATH = 4600 };

struct finding {
    struct wherry_inspect_finding public; /* first; its texts are the arrays below */
    char value[160], effect[320], remedy[320];
};

struct wherry_inspect_findings {
    size_t count;
    struct finding list[DOCTOR_MOST];
};

/* Where the file system that is read begins: "", or a directory of a test's. */
extern const char *wherry__doctor_root;

/* One more, with empty texts for the caller to fill in. */
struct finding *wherry__doctor_add(struct wherry_inspect_findings *findings, const char *name,
                                   enum wherry_inspect_level level);

/* A finding on what is used up, of what there is: "31000 of 32000", fine, from 80 % on a note, from 95 % a warning. */
struct finding *wherry__doctor_add_use(struct wherry_inspect_findings *findings, const char *name, uint64_t used,
                                       uint64_t most);

/* A path below the root; false: it is too long. */
bool wherry__doctor_path(const char *path, char full[static DOCTOR_PATH]);

/* The beginning of a file, as much as fits, ended by a NUL.  False: it cannot be read. */
bool wherry__doctor_read(const char *path, char *text, size_t size);

/* The `count` numbers of "/proc/sys/kernel/sem" for "kernel.sem"; "max" is UINT64_MAX.  False: they are not there. */
bool wherry__doctor_sysctl(const char *name, uint64_t *ret_numbers, size_t count);

/* Call `row` for each line of a file, cut off at 1,000 bytes. */
void wherry__doctor_lines(const char *path, void (*row)(void *context, char *line), void *context);

/* The least that the process's control group and those above it have in `file`, and what that group has in `now` (NULL:
 * nobody asks); `before_2` is what version 1 of groups calls the file.  UINT64_MAX: there is no limit. */
uint64_t wherry__doctor_group_limit(const char *controller, const char *file, const char *before_2, const char *now,
                                    uint64_t *ret_now);

/* The parts of the look: one a file. */
void wherry__doctor_limits(struct wherry_inspect_findings *findings);
void wherry__doctor_use(struct wherry_inspect_findings *findings);
void wherry__doctor_memory(struct wherry_inspect_findings *findings);
void wherry__doctor_sight(struct wherry_inspect_findings *findings);
void wherry__doctor_logind(struct wherry_inspect_findings *findings);

#endif
