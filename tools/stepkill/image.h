/* image.h - which files a process has mapped as code, and what functions there are in it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef STEPKILL_IMAGE_H
#define STEPKILL_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "elf_file.h"

struct module {
    const struct elf_file *file;
    uintptr_t start, end; /* of its code */
    uintptr_t bias;
};

struct image {
    struct elf_file **files; /* all that were ever seen: read once */
    size_t file_count;
    struct module *modules; /* of the last look */
    size_t module_count, module_room;
};

enum image_found {
    IMAGE_NONE,
    IMAGE_FOUND,
    IMAGE_MANY,        /* several functions of this name in one file: static ones, or versions */
    IMAGE_CHOSEN_LATE, /* an IFUNC */
};

/* Look at what the process has mapped now.  0 or -errno. */
int image_look(struct image *image, pid_t pid);

/* A function of the executable or, if it has none of this name, of what it loaded, in the order of addresses. */
enum image_found image_find(const struct image *image, const char *name, uintptr_t *ret_address, const char **ret_path);

/* Where the dynamic loader calls whenever it has mapped something; 0 when there is no loader, or not such a one. */
uintptr_t image_loader_call(const struct image *image, pid_t pid);

/* "function+0x12", "library.so+0x1234" or the number. */
void image_describe(const struct image *image, uintptr_t pc, char *text, size_t capacity);

/* Up to three names of functions near this one, ", " between them; "" when nothing is near. */
void image_suggest(const struct image *image, const char *name, char *text, size_t capacity);

void image_close(struct image *image);

#endif
