/* queue/queue.c - owns the calls on a queue that is open: sending, receiving, waiting, asking.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "queue/handle.h"

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

enum { SMALL = 8192 }; /* bytes of a message that is put together on the stack: all that a kernel takes by default */

/* ---- waiting ---- */

static __attribute__((cold)) int refuse_child(const struct wherry_queue *queue)
{
    return wherry__fail(ECHILD, "%s: was opened before fork(); open it inheritable to use it in the child",
                        queue->name);
}

static inline bool is_childs(const struct wherry_queue *queue)
{
    return __builtin_expect(queue->born != wherry__generation(), 0) && !queue->inheritable;
}

static __attribute__((cold)) int refuse_way(const struct wherry_queue *queue, bool sends)
{
    return wherry__fail(EOPNOTSUPP, "%s: the queue was opened to %s only", queue->name, sends ? "receive" : "send");
}

/* One call's patience. */
struct patience {
    wherry_time deadline;
    struct wherry__steps steps;
    unsigned yields;
};

/* A System V queue is often being emptied, or filled, at this moment, and what the shortest sleep costs would do so
 * several times over: a call that waits gives the processor up so many times first. */
enum { YIELDS = 64 };

static int no_more_patience(const struct wherry_queue *queue, const struct patience *patience, bool sends)
{
    if (wherry__deadline_code(patience->deadline) == EAGAIN)
        return wherry__fail_quietly(EAGAIN, sends ? "the queue is full" : "there is no message in the queue");
    if (!sends)
        return wherry__fail_quietly(ETIMEDOUT, "the deadline passed before a message came");
    return queue->posix ? wherry__mq_say_full(&queue->mq) : wherry__msg_say_full(&queue->msg);
}

/* A try said -EAGAIN: 0, it is worth another; or why the call must end. */
static int be_patient(struct wherry_queue *queue, struct patience *patience, bool sends)
{
    if (wherry__deadline_passed(patience->deadline))
        return no_more_patience(queue, patience, sends);
    if (!queue->posix && patience->yields < YIELDS) {
        patience->yields++;
        sched_yield();
        return 0;
    }
    if (!queue->posix) {
        wherry__steps_sleep(&patience->steps, patience->deadline);
        return 0;
    }
    struct timespec left;
    struct pollfd entry = {.fd = queue->mq.fd, .events = sends ? POLLOUT : POLLIN};
    if (wherry__sys.ppoll(&entry, 1, wherry__deadline_left(patience->deadline, &left)) < 0 && errno != EINTR)
        return wherry__fail_errno(errno, "%s: the wait failed", queue->name);
    return 0;
}

/* What System V calls are told: to come back at once, or to wait in the kernel. */
static int flags_for(const struct wherry_queue *queue, wherry_time deadline)
{
    return queue->block && deadline == WHERRY_FOREVER ? 0 : IPC_NOWAIT;
}

static int finish_sysv(const struct wherry_queue *queue, int result)
{
    if (result == -EIDRM)
        return wherry__msg_say_removed(queue->name);
    return result == -EINTR ? wherry__fail_quietly(EINTR, "a signal ended the wait") : result;
}

/* ---- sending ---- */

static __attribute__((noinline, cold)) int send_patiently(struct wherry_queue *queue, int64_t type, const void *data,
                                                          const struct wherry__msg_buffer *buffer, size_t size,
                                                          wherry_time deadline)
{
    struct patience patience = {.deadline = deadline};
    int result = -EAGAIN;
    while (result == -EAGAIN && (result = be_patient(queue, &patience, true)) == 0)
        result = queue->posix ? wherry__mq_try_send(&queue->mq, type, data, size)
                              : wherry__msg_try_send(&queue->msg, buffer, size, IPC_NOWAIT);
    return result;
}

/* A message with its type before it. */
static inline int send_room(struct wherry_queue *queue, const struct wherry__msg_buffer *room, size_t size,
                            wherry_time deadline)
{
    int result = wherry__msg_try_send(&queue->msg, room, size, flags_for(queue, deadline));
    if (__builtin_expect(result == 0, 1))
        return 0;
    if (result == -EAGAIN)
        result = send_patiently(queue, 0, NULL, room, size, deadline);
    return finish_sysv(queue, result);
}

/* `room` has space for the message behind its type. */
static inline int send_sysv(struct wherry_queue *queue, int64_t type, const void *data, size_t size,
                            struct wherry__msg_buffer *room, wherry_time deadline)
{
    room->type = (long)(type ? type : 1);
    if (size)
        memcpy(room->data, data, size);
    return send_room(queue, room, size, deadline);
}

static __attribute__((noinline)) int send_small(struct wherry_queue *queue, int64_t type, const void *data, size_t size,
                                                wherry_time deadline)
{
    _Alignas(struct wherry__msg_buffer) char room[sizeof(struct wherry__msg_buffer) + SMALL];
    return send_sysv(queue, type, data, size, (struct wherry__msg_buffer *)(void *)room, deadline);
}

static int send_large(struct wherry_queue *queue, int64_t type, const void *data, size_t size, wherry_time deadline)
{
    size_t total;
    struct wherry__msg_buffer *room = NULL;
    int result = wherry__msg_check_size(&queue->msg, size);
    if (result < 0)
        return result;
    if (wherry__size_add(size, sizeof *room, &total))
        room = malloc(total);
    if (!room)
        return wherry__fail(ENOMEM, "%s: no memory for a message of %zu bytes", queue->name, size);
    result = send_sysv(queue, type, data, size, room, deadline);
    free(room);
    return result;
}

static inline int send_posix(struct wherry_queue *queue, int64_t type, const void *data, size_t size,
                             wherry_time deadline)
{
    int result = wherry__mq_try_send(&queue->mq, type, data, size);
    return result == -EAGAIN ? send_patiently(queue, type, data, NULL, size, deadline) : result;
}

static inline int check_send(const struct wherry_queue *queue, int64_t type, const void *data, size_t size)
{
    if (is_childs(queue))
        return refuse_child(queue);
    if (__builtin_expect(!queue->sends, 0))
        return refuse_way(queue, true);
    if (__builtin_expect(!data && size, 0))
        return wherry__fail(EINVAL, "%s: a message of %zu bytes without data", queue->name, size);
    if (__builtin_expect(!queue->posix && (type < 0 || type > LONG_MAX), 0))
        return wherry__fail(EINVAL, "%s: %lld is no type: from 1 to %ld", queue->name, (long long)type, LONG_MAX);
    return 0;
}

int wherry_queue_send(struct wherry_queue *queue, int64_t type, const void *data, size_t size, wherry_time deadline)
{
    int result = check_send(queue, type, data, size);
    if (result < 0)
        return result;
    if (queue->posix)
        return send_posix(queue, type, data, size, deadline);
    return size <= SMALL ? send_small(queue, type, data, size, deadline)
                         : send_large(queue, type, data, size, deadline);
}

/* A letter as the kernel sees it: a long right before the payload, which is the whole of the type or the half of it. */
static inline struct wherry__msg_buffer *room_of(struct wherry_queue_letter *letter)
{
    return (struct wherry__msg_buffer *)(void *)((char *)(letter + 1) - sizeof(long));
}

int wherry_queue_send_letter(struct wherry_queue *queue, struct wherry_queue_letter *letter, size_t size,
                             wherry_time deadline)
{
    int result = check_send(queue, letter->type, letter, size);
    if (result < 0)
        return result;
    if (queue->posix)
        return send_posix(queue, letter->type, letter + 1, size, deadline);
    int64_t type = letter->type ? letter->type : 1;
    long front = (long)type;
    memcpy(room_of(letter), &front, sizeof front);
    result = send_room(queue, room_of(letter), size, deadline);
    letter->type = type;
    return result;
}

/* ---- receiving ---- */

static int too_small(struct wherry_queue_message *ret_message, size_t suffices)
{
    if (ret_message)
        ret_message->size = suffices;
    return wherry__fail_quietly(EMSGSIZE, "the buffer is too small; a size that suffices is given");
}

static int receive_posix(struct wherry_queue *queue, void *buffer, size_t capacity,
                         struct wherry_queue_message *ret_message, wherry_time deadline)
{
    struct patience patience = {.deadline = deadline};
    struct wherry_queue_message message = {.size = 0};
    if (__builtin_expect(capacity < queue->mq.message_size, 0))
        return too_small(ret_message, queue->mq.message_size);
    int result;
    while ((result = wherry__mq_try_receive(&queue->mq, buffer, capacity, &message)) == -EAGAIN)
        if ((result = be_patient(queue, &patience, false)) < 0)
            return result;
    if (result == 0 && ret_message)
        *ret_message = message;
    return result;
}

/* What a System V call is to receive, and where it goes. */
struct order {
    struct wherry__msg_which which;
    void *buffer;
    size_t capacity;
    struct wherry_queue_message *ret_message;
    wherry_time deadline;
};

static __attribute__((noinline, cold)) int receive_patiently(struct wherry_queue *queue, const struct order *order,
                                                             struct wherry__msg_buffer *room, int result,
                                                             size_t *ret_size)
{
    struct patience patience = {.deadline = order->deadline};
    while (result == -EAGAIN && (result = be_patient(queue, &patience, false)) == 0)
        result = wherry__msg_try_receive(&queue->msg, &order->which, flags_for(queue, order->deadline), room,
                                         order->capacity, ret_size);
    return result == -EMSGSIZE
               ? wherry__fail_quietly(EMSGSIZE, "the buffer is too small; a size that suffices is given")
               : finish_sysv(queue, result);
}

/* A message with its type before it; the size also with -EMSGSIZE. */
static inline int receive_room(struct wherry_queue *queue, const struct order *order, struct wherry__msg_buffer *room,
                               size_t *ret_size)
{
    int result = wherry__msg_try_receive(&queue->msg, &order->which, flags_for(queue, order->deadline), room,
                                         order->capacity, ret_size);
    return __builtin_expect(result == 0, 1) ? 0 : receive_patiently(queue, order, room, result, ret_size);
}

static inline int receive_sysv(struct wherry_queue *queue, const struct order *order, struct wherry__msg_buffer *room)
{
    size_t size = 0;
    int result = receive_room(queue, order, room, &size);
    if (result == -EMSGSIZE && order->ret_message)
        order->ret_message->size = size;
    if (__builtin_expect(result < 0, 0))
        return result;
    if (size)
        memcpy(order->buffer, room->data, size);
    if (order->ret_message)
        *order->ret_message = (struct wherry_queue_message){.size = size, .type = room->type};
    return 0;
}

static __attribute__((noinline)) int receive_small(struct wherry_queue *queue, const struct order *order)
{
    _Alignas(struct wherry__msg_buffer) char room[sizeof(struct wherry__msg_buffer) + SMALL];
    return receive_sysv(queue, order, (struct wherry__msg_buffer *)(void *)room);
}

/* No message is larger than all that a queue holds; where it held more once, all of the buffer's room is used. */
static int receive_large(struct wherry_queue *queue, const struct order *order)
{
    struct order bounded = *order;
    for (;;) {
        size_t most = wherry__size_max(SMALL, (size_t)queue->msg.bytes);
        bounded.capacity = bounded.capacity == order->capacity ? wherry__size_min(order->capacity, most)
                                                               : order->capacity;
        struct wherry__msg_buffer *room = malloc(sizeof *room + bounded.capacity);
        if (!room)
            return wherry__fail(ENOMEM, "%s: no memory to receive into", queue->name);
        int result = receive_sysv(queue, &bounded, room);
        free(room);
        if (result != -EMSGSIZE || bounded.capacity == order->capacity)
            return result;
    }
}

static inline int check_receive(const struct wherry_queue *queue, const void *buffer, size_t capacity)
{
    if (is_childs(queue))
        return refuse_child(queue);
    if (__builtin_expect(!queue->receives, 0))
        return refuse_way(queue, false);
    if (__builtin_expect(!buffer && capacity, 0))
        return wherry__fail(EINVAL, "%s: a buffer of %zu bytes that is NULL", queue->name, capacity);
    return 0;
}

int wherry_queue_receive(struct wherry_queue *queue, enum wherry_queue_which which, int64_t type, void *buffer,
                         size_t capacity, struct wherry_queue_message *ret_message, wherry_time deadline)
{
    int result = check_receive(queue, buffer, capacity);
    if (result < 0)
        return result;
    if (queue->posix)
        return which == WHERRY_QUEUE_ANY
                   ? receive_posix(queue, buffer, capacity, ret_message, deadline)
                   : wherry__fail(EOPNOTSUPP, "%s: a POSIX queue gives the highest priority first, and has no choice",
                                  queue->name);
    struct order order = {
        .buffer = buffer, .capacity = capacity, .ret_message = ret_message, .deadline = deadline};
    result = wherry__msg_which(&order.which, which, type, queue->name);
    if (result < 0)
        return result;
    return capacity <= SMALL ? receive_small(queue, &order) : receive_large(queue, &order);
}

int wherry_queue_receive_letter(struct wherry_queue *queue, enum wherry_queue_which which, int64_t type,
                                struct wherry_queue_letter *letter, size_t capacity, size_t *ret_size,
                                wherry_time deadline)
{
    struct wherry_queue_message message = {.size = 0};
    struct order order = {.capacity = capacity, .deadline = deadline};
    int result;
    if (queue->posix) {
        result = wherry_queue_receive(queue, which, type, letter + 1, capacity, &message, deadline);
        if (result == 0)
            letter->type = message.type;
    } else {
        result = check_receive(queue, letter, capacity);
        if (result == 0)
            result = wherry__msg_which(&order.which, which, type, queue->name);
        if (result < 0)
            return result;
        long front = 0;
        result = receive_room(queue, &order, room_of(letter), &message.size);
        if (result == 0) {
            memcpy(&front, room_of(letter), sizeof front);
            letter->type = front;
        }
    }
    if ((result == 0 || result == -EMSGSIZE) && ret_size)
        *ret_size = message.size;
    return result;
}

int wherry_queue_copy(struct wherry_queue *queue, uint64_t index, void *buffer, size_t capacity,
                      struct wherry_queue_message *ret_message)
{
    int result = check_receive(queue, buffer, capacity);
    if (result < 0)
        return result;
    if (queue->posix)
        return wherry__fail(EOPNOTSUPP, "%s: a POSIX queue does not show what it holds", queue->name);
    struct order order = {.which = {.type = (long)index, .flags = MSG_COPY | IPC_NOWAIT},
                          .buffer = buffer,
                          .capacity = capacity,
                          .ret_message = ret_message,
                          .deadline = WHERRY_NOW};
    result = index > LONG_MAX     ? -EAGAIN
             : capacity <= SMALL ? receive_small(queue, &order)
                                 : receive_large(queue, &order);
    return result == -EAGAIN
               ? wherry__fail(ENOENT, "%s: there is no message number %llu", queue->name, (unsigned long long)index)
               : result;
}

/* ---- asking ---- */

int wherry_queue_fd(struct wherry_queue *queue)
{
    if (is_childs(queue))
        return refuse_child(queue);
    return queue->posix ? queue->mq.fd
                        : wherry__fail(EOPNOTSUPP, "%s: a System V queue has nothing to poll", queue->name);
}

int wherry_queue_stat(struct wherry_queue *queue, struct wherry_queue_stat *ret_stat, size_t size)
{
    struct wherry_queue_stat stat;
    if (is_childs(queue))
        return refuse_child(queue);
    int result = queue->posix ? wherry__mq_stat(&queue->mq, &stat) : wherry__msg_stat(&queue->msg, &stat);
    if (result < 0)
        return result;
    if (size > sizeof stat)
        memset((char *)ret_stat + sizeof stat, 0, size - sizeof stat);
    memcpy(ret_stat, &stat, wherry__size_min(size, sizeof stat));
    return 0;
}

int wherry_queue_set_limit(struct wherry_queue *queue, uint64_t bytes)
{
    if (is_childs(queue))
        return refuse_child(queue);
    if (queue->posix)
        return wherry__fail(EOPNOTSUPP, "%s: a POSIX queue holds what it was made for; make another", queue->name);
    if (bytes == 0)
        return wherry__fail(EINVAL, "%s: a queue that holds 0 bytes takes no message; say how many it may hold",
                            queue->name);
    return wherry__msg_set_limit(&queue->msg, bytes);
}
