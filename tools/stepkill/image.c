/* image.c - owns /proc/PID/maps and the names of what is in memory.
 *
 * SPDX-License-Identifier: MIT */
#include "image.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* ---- what is mapped ---------------------------------------------------------------------------------------------- */

static const struct elf_file *file_of(struct image *image, pid_t pid, const char *path, dev_t device, ino_t inode)
{
    char exe[64], target[4096];
    for (size_t i = 0; i < image->file_count; i++)
        if (image->files[i]->device == device && image->files[i]->inode == inode &&
            strcmp(image->files[i]->path, path) == 0)
            return image->files[i];
    struct elf_file **files = realloc(image->files, (image->file_count + 1) * sizeof *files);
    if (!files)
        return NULL;
    image->files = files;
    struct elf_file *file = calloc(1, sizeof *file);
    if (!file)
        return NULL;
    elf_open(file, path);
    if (!file->bytes) { /* removed, or under another root: as the process sees it */
        free(file->path);
        snprintf(exe, sizeof exe, "/proc/%d/root", pid);
        snprintf(target, sizeof target, "%s%s", exe, path);
        elf_open(file, target);
        free(file->path);
        file->path = strdup(path);
    }
    file->device = device;
    file->inode = inode;
    files[image->file_count++] = file;
    return file;
}

static int add_module(struct image *image, const struct module *module)
{
    if (image->module_count == image->module_room) {
        size_t room = image->module_room ? 2 * image->module_room : 16;
        struct module *modules = realloc(image->modules, room * sizeof *modules);
        if (!modules)
            return -ENOMEM;
        image->modules = modules;
        image->module_room = room;
    }
    image->modules[image->module_count++] = *module;
    return 0;
}

/* The executable's code comes first, wherever it was mapped: its functions go before those of libraries. */
static void executable_first(struct image *image, pid_t pid)
{
    char path[64], target[4096];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    char *found = realpath(path, target);
    for (size_t i = 1; found && i < image->module_count; i++)
        if (strcmp(image->modules[i].file->path, found) == 0) {
            struct module module = image->modules[i];
            memmove(image->modules + 1, image->modules, i * sizeof module);
            image->modules[0] = module;
            return;
        }
}

int image_look(struct image *image, pid_t pid)
{
    char path[64], *line = NULL;
    size_t room = 0;
    int result = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        return -errno;
    image->module_count = 0;
    while (result == 0 && getline(&line, &room, maps) > 0) {
        uintptr_t start, end;
        uint64_t offset, inode;
        unsigned major_, minor_;
        char rights[8];
        int at = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s %" SCNx64 " %x:%x %" SCNu64 " %n", &start, &end, rights,
                   &offset, &major_, &minor_, &inode, &at) != 7 ||
            at == 0 || line[at] != '/' || rights[2] != 'x')
            continue;
        struct module module = {.start = start, .end = end};
        module.file = file_of(image, pid, line + at, makedev(major_, minor_), (ino_t)inode);
        if (module.file && elf_bias(module.file, offset, start, &module.bias))
            result = add_module(image, &module);
    }
    free(line);
    fclose(maps);
    executable_first(image, pid);
    return result;
}

enum image_found image_find(const struct image *image, const char *name, uintptr_t *ret_address, const char **ret_path)
{
    for (size_t i = 0; i < image->module_count; i++) {
        struct elf_function function;
        size_t count = elf_find(image->modules[i].file, name, &function);
        if (count == 0)
            continue;
        *ret_path = image->modules[i].file->path;
        *ret_address = function.address + image->modules[i].bias;
        return function.chosen_late ? IMAGE_CHOSEN_LATE : count > 1 ? IMAGE_MANY : IMAGE_FOUND;
    }
    return IMAGE_NONE;
}

static uintptr_t loader_base(pid_t pid)
{
    char path[64];
    Elf64_auxv_t entry;
    uintptr_t base = 0;
    snprintf(path, sizeof path, "/proc/%d/auxv", pid);
    FILE *vector = fopen(path, "re");
    while (vector && fread(&entry, sizeof entry, 1, vector) == 1 && entry.a_type != AT_NULL)
        if (entry.a_type == AT_BASE)
            base = entry.a_un.a_val;
    if (vector)
        fclose(vector);
    return base;
}

uintptr_t image_loader_call(const struct image *image, pid_t pid)
{
    uintptr_t base = loader_base(pid);
    struct elf_function function;
    for (size_t i = 0; base != 0 && i < image->module_count; i++)
        /* for debuggers; glibc and musl have it under the same name */
        if (image->modules[i].bias == base && elf_find(image->modules[i].file, "_dl_debug_state", &function) > 0)
            return function.address + base;
    return 0;
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

void image_describe(const struct image *image, uintptr_t pc, char *text, size_t capacity)
{
    for (size_t i = 0; i < image->module_count; i++) {
        const struct module *module = &image->modules[i];
        struct elf_function function;
        if (pc < module->start || pc >= module->end)
            continue;
        uint64_t linked = pc - module->bias;
        const char *slash = strrchr(module->file->path, '/');
        if (elf_at(module->file, linked, &function))
            snprintf(text, capacity, "%s+0x%" PRIx64, function.name, linked - function.address);
        else
            snprintf(text, capacity, "%s+0x%" PRIx64, slash ? slash + 1 : module->file->path, linked);
        return;
    }
    snprintf(text, capacity, "0x%" PRIxPTR, pc);
}

enum { NEAR = 3, LONGEST = 128 };

struct nearest {
    const char *wanted;
    struct {
        const char *name;
        size_t distance;
    } found[NEAR];
    size_t count;
};

/* Letters to change, insert or leave out; a swap of two neighbours is two. */
static size_t distance(const char *a, const char *b)
{
    size_t row[LONGEST + 1], size_a = strlen(a), size_b = strlen(b);
    if (size_a > LONGEST || size_b > LONGEST)
        return SIZE_MAX;
    for (size_t j = 0; j <= size_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= size_a; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= size_b; j++) {
            size_t best = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row[size_b];
}

static bool compare(void *context, const struct elf_function *function)
{
    struct nearest *nearest = context;
    size_t wanted = strlen(nearest->wanted);
    /* the compiler's save.part.0 and save.constprop.0 are very near to save */
    size_t away = strncmp(function->name, nearest->wanted, wanted) == 0 && function->name[wanted] == '.'
                      ? 1
                      : distance(nearest->wanted, function->name);
    if (away > wanted / 3 + 1)
        return true;
    for (size_t i = 0; i < nearest->count; i++)
        if (strcmp(nearest->found[i].name, function->name) == 0)
            return true;
    size_t at = nearest->count < NEAR ? nearest->count++ : NEAR;
    if (at == NEAR && nearest->found[--at].distance <= away)
        return true;
    for (; at > 0 && nearest->found[at - 1].distance > away; at--)
        nearest->found[at] = nearest->found[at - 1];
    nearest->found[at].name = function->name;
    nearest->found[at].distance = away;
    return true;
}

void image_suggest(const struct image *image, const char *name, char *text, size_t capacity)
{
    struct nearest nearest = {.wanted = name};
    text[0] = '\0';
    for (size_t i = 0; i < image->file_count; i++)
        elf_each(image->files[i], compare, &nearest);
    for (size_t i = 0, used = 0; i < nearest.count && used < capacity; i++)
        used += (size_t)snprintf(text + used, capacity - used, "%s%s", i ? ", " : "", nearest.found[i].name);
}

void image_close(struct image *image)
{
    for (size_t i = 0; i < image->file_count; i++) {
        elf_close(image->files[i]);
        free(image->files[i]);
    }
    free(image->files);
    free(image->modules);
    *image = (struct image){.file_count = 0};
}
