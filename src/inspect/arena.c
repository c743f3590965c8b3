/* inspect/arena.c - owns the memory of a snapshot, which is given back as one.
 *
 * SPDX-License-Identifier: MIT */
#include "inspect/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/snapshot.h"

enum { BLOCK = 256 * 1024, ALIGN = 16 };

struct arena_block {
    struct arena_block *before;
    size_t size, used;
    _Alignas(ALIGN) unsigned char data[];
};

static struct arena_block *grow(struct snapshot *snapshot, size_t size)
{
    size_t room = size > BLOCK / 8 ? size : BLOCK; /* what is large has a block of its own */
    struct arena_block *block = calloc(1, sizeof *block + room);
    if (!block) {
        snapshot->failed = true;
        return NULL;
    }
    block->size = room;
    if (room != BLOCK && snapshot->arena) { /* behind the one that still has room */
        block->before = snapshot->arena->before;
        snapshot->arena->before = block;
    } else {
        block->before = snapshot->arena;
        snapshot->arena = block;
    }
    return block;
}

void *wherry__inspect_memory(struct snapshot *snapshot, size_t size)
{
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    struct arena_block *block = snapshot->arena;
    if (!block || block->size - block->used < size)
        block = grow(snapshot, size);
    if (!block)
        return NULL;
    void *memory = block->data + block->used;
    block->used += size;
    return memory;
}

const char *wherry__inspect_text(struct snapshot *snapshot, const char *format, ...)
{
    char small[256];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(small, sizeof small, format, list);
    va_end(list);
    if (length <= 0)
        return "";
    char *text = wherry__inspect_memory(snapshot, (size_t)length + 1);
    if (!text)
        return "";
    if ((size_t)length < sizeof small)
        return memcpy(text, small, (size_t)length + 1);
    va_start(list, format);
    vsnprintf(text, (size_t)length + 1, format, list);
    va_end(list);
    return text;
}

void wherry__inspect_arena_free(struct arena_block *arena)
{
    while (arena) {
        struct arena_block *before = arena->before;
        free(arena);
        arena = before;
    }
}
