/* elf_file.h - the functions that an executable or a shared library names.
 *
 * SPDX-License-Identifier: MIT
 *
 * Read from .symtab and .dynsym of a file of this machine's kind, once. */
#ifndef STEPKILL_ELF_FILE_H
#define STEPKILL_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct elf_file {
    char *path;
    dev_t device;
    ino_t inode;
    const unsigned char *bytes; /* mapped; NULL when it is not readable, or no ELF file of this machine */
    size_t size;
};

struct elf_function {
    const char *name; /* within the file */
    uint64_t address; /* as linked */
    uint64_t size;    /* 0: not known */
    bool local;
    bool chosen_late; /* an IFUNC: the address is that of its resolver */
};

void elf_open(struct elf_file *file, const char *path);
void elf_close(struct elf_file *file);

/* Ask about each function; ends early when the visitor returns false. */
void elf_each(const struct elf_file *file, bool (*visit)(void *context, const struct elf_function *function),
              void *context);

/* The functions of this name: how many at different addresses, and the first; one that is seen from outside hides local
 * ones. */
size_t elf_find(const struct elf_file *file, const char *name, struct elf_function *ret_function);

/* The function that this linked address lies in. */
bool elf_at(const struct elf_file *file, uint64_t address, struct elf_function *ret_function);

/* What to add to linked addresses, when the part of the file at this offset is mapped executable at this address. */
bool elf_bias(const struct elf_file *file, uint64_t offset, uintptr_t mapped, uintptr_t *ret_bias);

#endif
