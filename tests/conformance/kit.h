/* tests/conformance/kit.h - what the clauses are written in: subjects, sites, numbered messages, actors.
 *
 * SPDX-License-Identifier: MIT
 *
 * A *subject* is one way to run a case: a transport of the table and, for byte streams, a framing.  A *site* is one
 * channel of a subject, to be opened from its two *seats*: HOST, who receives (and listens), and GUEST, who sends (and
 * connects).  The kit knows kinds of transports only by their traits, so that a new line in the table is tested without
 * a change here. */
#ifndef WHERRY_TESTS_KIT_H
#define WHERRY_TESTS_KIT_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "channel/transport.h"
#include "harness.h"

/* ---- subjects and cases ---------------------------------------------------------------------------------------- */

enum frame { NONE = 1, LENGTH = 2, LINE = 4, NUL = 8, FIXED = 16, RAW = 32 };
#define RECORDS (NONE | LENGTH | LINE | NUL | FIXED) /* where messages keep their boundaries */

struct subject {
    const struct wherry_traits *traits;
    uint64_t bits;      /* the traits' bits, less what this kind of descriptor cannot do */
    const char *sample; /* as in the traits */
    enum frame frame;   /* NONE: not a byte stream */
    bool sockets;       /* {fds} are sockets rather than pipes */
    char name[64];
};

struct clause_case {
    const char *name; /* "06_too_small_keeps_the_message": the clause, then what holds */
    void (*run)(const struct subject *subject);
    unsigned frames; /* enum frame, or-ed: where it is run; 0: NONE and LENGTH */
    uint64_t needs;  /* traits that must be there, all ... */
    uint64_t lacks;  /* ... and that must not, any, or the case is another's */
    unsigned option; /* WHERRY__OPTION_... that the transport must have a use for */
    /* what no trait says, if not NULL: where it is false there is no case, rather than one that passes quietly */
    bool (*when)(const struct subject *subject);
    struct clause_case *next;
};

/* CASE(06, name) or CASE(06, name, .frames = ..., ...) { a body that sees `subject` } */
#define CASE(clause_, ...) CASE_WITH(clause_, __VA_ARGS__, .next = NULL)
#define CASE_WITH(clause_, name_, ...)                                                                                 \
    static void run_##clause_##_##name_(const struct subject *subject);                                                \
    static struct clause_case case_##clause_##_##name_ = {                                                             \
        .name = #clause_ "_" #name_, .run = run_##clause_##_##name_, __VA_ARGS__};                                     \
    __attribute__((constructor)) static void add_##clause_##_##name_(void)                                             \
    {                                                                                                                  \
        case_add(&case_##clause_##_##name_);                                                                           \
    }                                                                                                                  \
    static void run_##clause_##_##name_(const struct subject *subject)

void case_add(struct clause_case *new_case);

/* Short for subject->bits & WHERRY_TRAIT_... */
#define HAS(trait_) ((subject->bits & WHERRY_TRAIT_##trait_) != 0)
bool has_option(const struct subject *subject, unsigned option); /* WHERRY__OPTION_... */

/* Several processes write into one byte stream, where the kernel keeps only PIPE_BUF bytes together. */
bool shares_stream(const struct subject *subject);

/* Bytes that the sender's kernel holds go on to the receiver's by themselves: full a moment ago is not full. */
bool moves_on(const struct subject *subject);

/* The other side is there before a message is sent to it: who connects waits for it.  Without connections nobody
 * knows. */
bool waits_for_the_other(const struct subject *subject);

/* That nobody is left to receive is known before the first send, not by what it leads to (H52). */
bool knows_at_once(const struct subject *subject);

/* Messages of this subject carry a type. */
bool has_types(const struct subject *subject);

/* ---- time ------------------------------------------------------------------------------------------------------ */

wherry_time soon(void);  /* a deadline for what the contract promises at once */
wherry_time quiet(void); /* a deadline for "nothing comes" */

/* ---- sites ----------------------------------------------------------------------------------------------------- */

enum seat { HOST, GUEST };

struct site {
    const struct subject *subject;
    struct wherry_channel_options options; /* for both seats; to be set before the first use */
    bool duplex;                           /* open both seats in both directions */
    bool reversed;                         /* the guest, who sends, listens, and the host connects */
    size_t record;                         /* N of frame=fixed:N */
    char url[640];
    char path[256]; /* of the object, or "" */
    char frame[32];
    bool litter;                    /* a host was killed: what it left goes at the end */
    struct wherry_channel *made[2]; /* of a pair, until opened */
    int fds[2];                     /* until opened */
    bool ready;
};

void site_init(struct site *site, const struct subject *subject);
void site_fini(struct site *site);

/* Open a seat; as wherry_channel_open(). */
int site_try(struct site *site, enum seat seat, wherry_time deadline, struct wherry_channel **ret_channel);
struct wherry_channel *site_open(struct site *site, enum seat seat);

/* Both, the host first. */
void open_two(struct site *site, struct wherry_channel **ret_sender, struct wherry_channel **ret_receiver);
void close_two(struct wherry_channel *sender, struct wherry_channel *receiver);
void close_now(struct wherry_channel *channel); /* what is kept may be lost */

/* The site is for several processes: a pair of it is opened to be inherited. */
void site_for_all(struct site *site);

/* Make what is inherited rather than addressed, before a fork; then each process gives up the seat it does not take, or
 * a seat that it has passed on. */
void site_share(struct site *site);
void site_leave(struct site *site, enum seat seat);

/* Another guest of the site, whose bytes go out as they are: for streams. */
struct wherry_channel *site_open_raw(struct site *site);

/* The largest message that the site takes, and what one of `size` bytes is to be answered: 0 or -errno. */
size_t site_limit(const struct site *site);
int site_verdict(const struct site *site, size_t size);

/* Whether a second receiver at the same place is refused.  (Of several receivers at one sender the sender listens.) */
bool one_place(const struct subject *subject);

/* Whether another process gets in while the host is in no call.  Not where the host hands the object over: shm with
 * share=, whose own tests are in unit/test_ring_door.c and test_ring_keeper.c. */
bool comes_in_alone(const struct subject *subject);

/* Whether seats are opened by an address that any process can use at any time. */
bool addressed(const struct subject *subject);

/* ---- messages -------------------------------------------------------------------------------------------------- */

enum {
    SMALL = 64, /* bytes of the usual message, and the record of frame=fixed */
    FEW = 8,    /* as many fit into any channel: a datagram socket holds about ten */
};

/* A message is known by its tag: 16 hexadecimal digits of it lead, when there is room, and the rest follows from them.
 * No byte of it is a delimiter of the subject. */
void compose(const struct subject *subject, void *data, size_t size, uint64_t tag);
bool is_message(const struct subject *subject, const void *data, size_t size, uint64_t tag);
uint64_t tag_of(unsigned sender, unsigned number);
unsigned sender_of(uint64_t tag);
unsigned number_of(uint64_t tag);

/* Compose and send. */
int post(const struct subject *subject, struct wherry_channel *sender, size_t size, uint64_t tag, wherry_time deadline);

/* Room for a received message and what came with it. */
struct crate {
    const struct subject *subject;
    uint8_t *data;
    size_t capacity;
    struct wherry_info info;
    uint64_t tag; /* of messages of 16 bytes and more, which are checked to be whole */
    bool any;     /* unless anything may come */
};
void crate_init(struct crate *crate, const struct subject *subject, size_t capacity);
void crate_fini(struct crate *crate);
int take(struct wherry_channel *receiver, struct crate *crate, wherry_time deadline);

/* The next message of its sender came, *next: where some may be lost, or a later one. */
bool in_turn(const struct crate *crate, unsigned *next);

/* What sends come to when nobody receives: soon -EPIPE, or a full channel where the object cannot know. */
int post_until_refused(const struct subject *subject, struct wherry_channel *sender);

/* A site with both seats taken, and a crate for messages of up to `capacity` bytes. */
struct two {
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
};
void two_init(struct two *two, const struct subject *subject, size_t capacity);
void two_fini(struct two *two);

/* Take exactly this message, soon. */
void expect(struct wherry_channel *receiver, struct crate *crate, size_t size, uint64_t tag);
/* Take nothing: the channel says -EAGAIN. */
void expect_nothing(struct wherry_channel *receiver, struct crate *crate);
/* Take the end, soon, or -EAGAIN when the object has none; and once only. */
void expect_end(struct wherry_channel *receiver, struct crate *crate);

/* Post messages numbered from `first` until one is refused with -EAGAIN at once; returns how many were accepted. */
unsigned fill(const struct subject *subject, struct wherry_channel *sender, size_t size, unsigned first);
/* Take `count` messages numbered from `first`, helping the sender to flush; then there is nothing more. */
void drain(struct wherry_channel *sender, struct wherry_channel *receiver, struct crate *crate, size_t size,
           unsigned first, unsigned count);

/* ---- actors ---------------------------------------------------------------------------------------------------- */

/* A thread of the test. */
struct worker {
    pthread_t thread;
    _Atomic pid_t tid;
    void (*run)(void *argument);
    void *argument;
};
void worker_start(struct worker *worker, void (*run)(void *argument), void *argument);
void worker_until_asleep(struct worker *worker);
void worker_join(struct worker *worker);

/* What a worker calls, and what came of it. */
struct errand {
    const struct subject *subject;
    struct wherry_channel *channel;
    wherry_time deadline;
    size_t size;
    uint64_t tag;
    int result;
    wherry_time ended;
    struct crate crate; /* here, so that a child forked meanwhile can still reach its memory */
};
struct errand to_send(const struct subject *subject, struct wherry_channel *channel, size_t size, uint64_t tag,
                      wherry_time deadline);
struct errand to_receive(const struct subject *subject, struct wherry_channel *channel, wherry_time deadline);
struct errand to_finish(struct wherry_channel *channel, wherry_time deadline); /* for flush and close */
void errand_send(void *errand);
void errand_receive(void *errand);
void errand_flush(void *errand);
void errand_close(void *errand);

/* A process that sends a signal, SIGKILL for example, as soon as another sleeps.  `when` is written before. */
struct blow {
    pid_t sleeper, target;
    int signal;
    wherry_time *when; /* test_shared() */
};
pid_t strike(struct blow *blow);

/* End a process that is no child of this one. */
void end_stranger(pid_t pid);

/* poll(2) for reading. */
bool readable(int fd, wherry_time deadline);
/* Receive until -EAGAIN, then see the descriptor quiet, allowing for a few false alarms. */
bool falls_quiet(struct wherry_channel *receiver, struct crate *crate, int fd);

/* As ck_assert_msg, without telling Check each time that all is well: threads come by here a thousand times. */
#define must(condition_, ...) ((condition_) ? (void)0 : ck_abort_msg(__VA_ARGS__))

#endif
