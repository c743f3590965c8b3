/* inspect/sysv_msg.c - owns System V message queues as a snapshot has them; msgget(2), proc_sysvipc(5).
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>

#include "base/sys.h"
#include "inspect/collectors.h"
#include "inspect/sysv.h"

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif

/* How many bytes it takes is not in the list; the kernel takes a number where it asks for an index, too. */
static void ask_size(struct object *object)
{
    struct msqid_ds data;
    if (!(object->public.flags & WHERRY_INSPECT_ELSEWHERE) &&
        wherry__sys.msgctl((int)object->public.id, MSG_STAT_ANY, &data) == (int)object->public.id)
        object->public.size = (int64_t)data.msg_qbytes;
}

/* "key msqid perms cbytes qnum lspid lrpid uid gid cuid cgid stime rtime ctime" */
static int list_space(struct snapshot *snapshot, const struct ipc_space *space)
{
    char *rest;
    for (char *line = space->text[IPC_LIST_MSG] ? strtok_r(space->text[IPC_LIST_MSG], "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        int key, id, sender, receiver;
        unsigned mode, uid, gid;
        unsigned long long bytes, messages;
        long long sent, received, changed;
        if (sscanf(line, "%d %d %o %llu %llu %d %d %u %u %*u %*u %lld %lld %lld", &key, &id, &mode, &bytes, &messages,
                   &sender, &receiver, &uid, &gid, &sent, &received, &changed) != 12)
            continue;
        long long last = sent > received ? sent : received;
        struct object *object = wherry__sysv_object(snapshot, space, WHERRY_INSPECT_SYSV_MSG, id, key, mode, uid, gid,
                                                    changed > last ? changed : last);
        if (!object)
            return -ENOMEM;
        object->public.used = (int64_t)bytes;
        object->public.messages = (int64_t)messages;
        ask_size(object);
        wherry__sysv_user(object, sender, sent, "sent the last message to it");
        wherry__sysv_user(object, receiver, received, "received the last message from it");
        if (sender || receiver)
            object->public.detail = wherry__inspect_text(
                snapshot, "%s%s%s%s%s", sender ? "sent to by " : "",
                sender ? wherry__sysv_process(snapshot, sender) : "", sender && receiver ? "; " : "",
                receiver ? "received from by " : "", receiver ? wherry__sysv_process(snapshot, receiver) : "");
    }
    return 0;
}

static int join(struct snapshot *snapshot)
{
    struct ipc_space *spaces;
    if (!wherry__inspect_wants(snapshot, WHERRY_INSPECT_SYSV_MSG))
        return 0;
    int result = wherry__ipc_spaces(snapshot, &spaces);
    for (const struct ipc_space *space = spaces; space && result == 0; space = space->next)
        result = list_space(snapshot, space);
    if (result == 0)
        wherry__sysv_join(snapshot, WHERRY_INSPECT_SYSV_MSG);
    return result;
}

const struct collector wherry__collector_sysv_msg = {
    .name = "sysv-msg",
    .summary = "a System V message queue, msgget(2)",
    .join = join,
    .state = wherry__sysv_state,
};
