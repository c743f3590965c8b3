/* inspect/memory.c - owns shared memory without a name in a file system: memfds, and MAP_SHARED | MAP_ANONYMOUS.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "inspect/collectors.h"
#include "inspect/describe.h"

static void memfd_descriptor(struct visit *visit)
{
    bool is_new;
    if (!wherry__visit_status(visit))
        return;
    dev_t device = wherry__device(visit->status.stx_dev_major, visit->status.stx_dev_minor);
    struct object *object = wherry__inspect_object(visit->snapshot, WHERRY_INSPECT_MEMFD, SPACE_FILE, device,
                                                   visit->status.stx_ino, &is_new);
    if (!object)
        return;
    if (is_new || object->public.since == 0) { /* a mapping may say less of it */
        wherry__cut_deleted(visit->link);
        object->public.name = wherry__inspect_text(visit->snapshot, "memfd:%s", visit->link + strlen("/memfd:"));
        wherry__describe_status(object, &visit->status);
        object->public.flags = WHERRY_INSPECT_TRACKED; /* its name never was one */
    }
    wherry__visit_hold(visit, object);
}

/* What a mapping says of an object that was not known: as root all, else what /proc/PID/maps has of it. */
static void describe(struct mapping *mapping, struct object *object)
{
    struct statx status;
    object->public.device = mapping->device;
    object->public.inode = mapping->inode;
    object->public.uid = mapping->process->public.uid;
    if (wherry__mapping_status(mapping, &status))
        wherry__describe_status(object, &status);
    object->public.flags = WHERRY_INSPECT_TRACKED; /* its name never was one */
}

/* A shared mapping of memory: what it is called is `name`, which is no text yet that would be kept. */
static bool mapped(struct mapping *mapping, enum wherry_inspect_kind kind, const char *prefix, const char *name)
{
    bool is_new;
    if (!mapping->shared)
        return false;
    struct object *object = wherry__inspect_object(mapping->snapshot, kind, SPACE_FILE, mapping->device,
                                                   mapping->inode, &is_new);
    if (!object)
        return true;
    if (is_new) {
        object->public.name = wherry__inspect_text(mapping->snapshot, "%s%s", prefix, name);
        describe(mapping, object);
    }
    struct wherry_inspect_hold *hold = wherry__mapping_hold(mapping, object, WHERRY_INSPECT_MAPPED);
    if (hold && kind == WHERRY_INSPECT_ANONYMOUS && (int64_t)hold->length > object->public.size)
        object->public.size = (int64_t)hold->length;
    return true;
}

static bool memfd_mapped(struct mapping *mapping)
{
    return wherry__begins(mapping->path, "/memfd:") &&
           mapped(mapping, WHERRY_INSPECT_MEMFD, "memfd:", mapping->path + strlen("/memfd:"));
}

/* "[anon_shmem:NAME]" is prctl(2)'s PR_SET_VMA_ANON_NAME. */
static bool anonymous_mapped(struct mapping *mapping)
{
    char name[32];
    if (!(mapping->deleted &&
          (strcmp(mapping->path, "/dev/zero") == 0 || strcmp(mapping->path, "/anon_hugepage") == 0)) &&
        !wherry__begins(mapping->path, "[anon_shmem:"))
        return false;
    snprintf(name, sizeof name, "[%llu]", (unsigned long long)mapping->inode);
    return mapped(mapping, WHERRY_INSPECT_ANONYMOUS, "anonymous:", name);
}

const struct collector wherry__collector_memfd = {
    .name = "memfd",
    .summary = "memory behind a descriptor, memfd_create(2)",
    .link = "/memfd:",
    .descriptor = memfd_descriptor,
    .mapped = memfd_mapped,
};

const struct collector wherry__collector_anonymous = {
    .name = "anonymous",
    .summary = "memory that a process and its children share, MAP_SHARED | MAP_ANONYMOUS",
    .mapped = anonymous_mapped,
};
