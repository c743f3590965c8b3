/* wherry/channel.h - channels: whole messages between processes, over any transport, under one contract.
 *
 * SPDX-License-Identifier: MIT
 *
 * A channel is named by a URL; a process holds an endpoint of it.  Each message reaches one receiver, whole, in the
 * order its sender sent it, once.  wherry-semantics(7) has the contract, clause by clause, and the table of what each
 * kernel object cannot keep; wherry_channel(3) has this page with examples.
 *
 * Threads: calls on one endpoint are safe together, unless it was opened with single_thread.  Two endpoints never
 * share a lock.
 * Fork: in a forked child every call that sends, receives or asks the kernel gives -ECHILD; wherry_channel_close() then
 * frees memory and touches nothing that the parent uses.  Endpoints opened `inheritable` go on working in the child.
 * Signals: no call is async-signal-safe save wherry_channel_interrupt(), wherry_now() and wherry_after().  SIGPIPE is
 * never raised and no signal disposition is ever changed.
 * Outputs (`ret_...`) are untouched on failure, save the size that comes with -EMSGSIZE. */
#ifndef WHERRY_CHANNEL_H
#define WHERRY_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct wherry_channel;

enum wherry_role {
    WHERRY_SEND = 1,
    WHERRY_RECEIVE = 2,
    WHERRY_BOTH = 3, /* where the kernel object is duplex; the URL or the options must name the side */
};

enum wherry_side {
    WHERRY_SIDE_DEFAULT = 0, /* whoever receives listens, whoever sends connects */
    WHERRY_LISTEN = 1,       /* URL key: listen.  Creates the address, removes it at close. */
    WHERRY_CONNECT = 2,      /* URL key: connect.  Waits for the address to appear. */
};

/* Whether one read may take in more bytes than the message asked for. */
enum wherry_read_ahead {
    WHERRY_READ_AHEAD_DEFAULT = 0, /* no where other processes may share the descriptor (fd:, inheritable endpoints) */
    WHERRY_READ_AHEAD_YES = 1,
    WHERRY_READ_AHEAD_NO = 2,
};

/* Whether a message that a receiver had on loan when it died is given to another one, marked WHERRY_REDELIVERED. */
enum wherry_redeliver {
    WHERRY_REDELIVER_DEFAULT = 0, /* yes */
    WHERRY_REDELIVER_YES = 1,
    WHERRY_REDELIVER_NO = 2, /* it is dropped, and counted */
};

/* Whether what is sent to a multicast group also reaches this host. */
enum wherry_loop {
    WHERRY_LOOP_DEFAULT = 0, /* yes */
    WHERRY_LOOP_YES = 1,
    WHERRY_LOOP_NO = 2,
};

/* How to open an endpoint.  Start from WHERRY_CHANNEL_OPTIONS; zero means the default.  Each field but `size` and
 * `side` has a URL key of its name; the URL and the struct saying different things is -EINVAL.  Fields that a transport
 * has no use for are -EINVAL too, so that nothing asked for is silently ignored; one that only its other side uses,
 * such as mode, is allowed on both. */
struct wherry_channel_options {
    size_t size; /* sizeof of the struct that the caller was compiled with */
    enum wherry_side side;
    const char *frame;     /* byte streams: "length" (default), "line", "nul", "fixed:N" (1 to max_message), "raw" */
    uint64_t max_message;  /* bytes; larger ones are refused in both directions; default 16 MiB */
    uint64_t max_memory;   /* bytes held for unfinished messages of all peers together, read buffers of up to 4 MiB
                            * aside; default 16 x max_message */
    uint64_t capacity;     /* bytes in flight before a send waits; default: what the kernel gives; shm: bytes of each
                            * sender's lane, a power of two from 4096 to 1 GiB, 1 MiB unless said, the maker's word; mq:
                            * of its largest messages as many as go into that, the maker's word; sysv: set by the
                            * queue's owner */
    uint32_t mode;         /* permissions of what is created; default 0600; set exactly, whatever the umask */
    uint32_t backlog;      /* listening sockets: connections that wait to be accepted; default 128 */
    uint32_t writers;      /* processes that send through one pipe, FIFO or shared socket; 1 promises a single one,
                            * whose big messages need not be split; default: several, on socketpair: one */
    const char *uid;       /* Unix sockets, also inherited ones, and FIFOs (their owner): uids the peer may have besides
                            * one's own and root: "1000,33" or "any" */
    wherry_time spin;      /* ns a receive tries again and again before it sleeps; 0: 10 us where it pays */
    bool single_thread;    /* one thread at a time uses the endpoint: no locks */
    bool inheritable;      /* forked children may go on using it */
    bool report_ends;      /* listening endpoints: each peer's own end comes as a message of 0 bytes marked
                            * WHERRY_ENDED, and the peer can be answered until wherry_channel_disconnect(); else it is
                            * let go by itself once it has ended and was sent as many messages as came from it */
    enum wherry_read_ahead read_ahead; /* byte streams; URL key: read_ahead=yes|no */
    bool keep;             /* shm: the ring and what is in it outlive all processes */
    uint32_t places;       /* shm: how many endpoints there can be at a time; default and most 64; the maker's word */
    enum wherry_redeliver redeliver; /* shm: what becomes of a message whose borrower died; URL key: redeliver=yes|no */
    const char *share;     /* shm: the ring is for processes of this uid as well as one's own, handed over by whoever
                            * made it and is in a call on it or polls it; "1000" */
    bool delay;            /* tcp: small messages may wait for others to go with (Nagle's algorithm) */
    wherry_time keepalive; /* tcp: ns without traffic after which the peer's host is asked for life, rounded up to whole
                            * seconds, at most 32,767 of them; the connection ends when it does not answer for half as
                            * long again; 0: never */
    wherry_time user_timeout; /* tcp: ns that sent bytes may go unacknowledged before the connection ends; 0: the
                               * kernel's (net.ipv4.tcp_retries2, some 15 minutes) */
    uint32_t fds;          /* Unix sockets, also inherited ones: open descriptors that may come with one message, at
                            * most 253; 0: none, those that come are closed */
    bool seq;              /* udp, ip: number the messages, so that the receiver can count those missing; both ends */
    bool broadcast;        /* udp, ip: send to all hosts of a network; who listens shares its port with others
                            * likewise */
    const char *interface; /* udp, ip: the network interface for a group or, without one, for all that comes and goes */
    uint32_t ttl;          /* udp, ip: routers that a message may pass, 1 to 255; default: 64, to groups 1 */
    enum wherry_loop loop; /* udp, ip: whether what is sent to a group reaches this host, too; URL key: loop=yes|no */
    uint32_t proto;        /* ip: the number of the protocol, 1 to 254; 253 and 254 are for experiments (RFC 3692) */
    const char *id;        /* sysv: ftok(3)'s id, which makes the key with the path: one character, 0xNN or a decimal */
    const char *type;      /* sysv: which messages to receive: "N" of this type, "-N" the lowest of at most N first,
                            * "!N" of any other */
    const char *from;      /* file, receiving: where to begin: "beginning" (default without a group), "end", or "saved"
                            * (default with one: where the group was, the beginning for a new one); the first two move a
                            * group */
    const char *group;     /* file, receiving: the name, at most 47 bytes, under which the place is saved in the log;
                            * each message reaches one of those who give the same; without one it reaches every
                            * reader */
    const char *fsync;     /* file: when a message is on the disk: "none" (default: when the kernel sees fit), "each"
                            * (before it is accepted; of a group's reader: its place), or a time such as "50ms" (no
                            * later than the first send that long after it, and at close) */
    uint64_t retain_bytes; /* file, sending: drop the oldest messages when all take more; 0: never */
    wherry_time retain_age; /* file, sending: drop messages that are older, in ns, when a message is sent; 0: never */
};

#ifdef __cplusplus
static inline struct wherry_channel_options wherry__channel_options(void)
{
    struct wherry_channel_options options = wherry_channel_options();
    options.size = sizeof options;
    return options;
}
#define WHERRY_CHANNEL_OPTIONS wherry__channel_options()
#else
#define WHERRY_CHANNEL_OPTIONS {.size = sizeof(struct wherry_channel_options)}
#endif

/* Who is at the other end, as far as the kernel vouches for it. */
struct wherry_peer {
    uint64_t id; /* of the connection or address within this endpoint; never used again for another; 0: not known */
    bool has_credentials; /* pid, uid, gid below are the kernel's word */
    pid_t pid;            /* as seen from the receiver's PID namespace; 0: of another namespace */
    uid_t uid;
    gid_t gid;
};

/* A message to send. */
struct wherry_message {
    const void *data; /* may be NULL when size is 0 */
    size_t size;
    int64_t type;     /* 0: the transport's default; another on a transport without types is -EOPNOTSUPP */
    uint64_t to;      /* a peer's id: answer exactly that peer; 0: whoever is connected, in turn */
    const int *fds;   /* open descriptors that the receiver gets copies of; the sender keeps its own */
    size_t fd_count;  /* at most 253; on a transport without the trait carries-fds any is -EOPNOTSUPP */
};

/* Flags of a send. */
#define WHERRY_MORE 1u /* more follows: may wait in memory, and is accepted only when a flush (or a send without MORE)
                        * returns */

/* What came with a received message. */
struct wherry_info {
    size_t size;
    int64_t type;
    uint32_t flags; /* WHERRY_INCOMPLETE, WHERRY_REDELIVERED, WHERRY_ENDED */
    struct wherry_peer peer;
    size_t fd_count; /* descriptors that came with it: wherry_channel_receive_with_fds(), wherry_channel_take_fds() */
};
#define WHERRY_INCOMPLETE 1u  /* the last record of a line or nul stream had no delimiter */
#define WHERRY_REDELIVERED 2u /* given before to a receiver that died holding it */
#define WHERRY_ENDED 4u       /* no message: the peer sends no more (only with report_ends); type is 0 when it ended in
                               * order, else the negative errno for which its connection was lost: -ECONNRESET */

/* A message on loan, readable in place until it is returned. */
struct wherry_loan {
    const void *data; /* no particular alignment */
    struct wherry_info info;
};

struct wherry_channel_stats {
    uint64_t sent_messages, sent_bytes; /* payload bytes */
    uint64_t send_waits;                /* times a send slept */
    uint64_t received_messages, received_bytes;
    uint64_t receive_waits;
    uint64_t ends;     /* times receive said 0 */
    uint64_t dropped;  /* messages or parts thrown away: torn by a death, foreign bytes, too long, come twice (udp,
                        * ip) */
    uint64_t refused;  /* connections or datagrams turned away: wrong uid, foreign bytes */
    uint64_t accepted; /* connections taken in; listening endpoints alone */
    uint64_t peers;    /* connected now that may still send; listening endpoints alone */
    uint64_t dropped_fds; /* times that descriptors came and were closed: not asked for, too many, or not taken */
    uint64_t lost;      /* never received: udp, ip: missing by seq=1, else for want of room; file: dropped, or cut
                         * off */
    uint64_t reordered; /* udp, ip, seq=1: received after one that was sent later */
};

/* What went to and from one peer, and where it is. */
struct wherry_peer_stats {
    uint64_t sent_messages, sent_bytes;         /* accepted for it */
    uint64_t received_messages, received_bytes; /* from it */
    uint64_t kept_bytes;  /* accepted for it and still in this endpoint's memory: it reads too slowly */
    uint64_t memory;      /* bytes that this endpoint has for it: the peer itself, what it reads ahead, what it keeps */
    bool ended;           /* it sends no more */
    char address[80];     /* tcp, udp: "127.0.0.1:4711", "[::1]:4711"; ip: "127.0.0.1", "::1"; "" elsewhere */
};

/* ---- opening and closing ------------------------------------------------------------------------------------ */

/* Open an endpoint of the channel named by `url`.  A connecting side waits until `deadline` for the address to appear;
 * a listening side never waits for a peer.
 * Returns 0 and the endpoint, which the caller closes; -EINVAL (the URL or an option: wherry_why() names the place),
 * -EPROTONOSUPPORT (unknown scheme), -EOPNOTSUPP (a role that the object cannot play), -ETIMEDOUT or -EAGAIN (nobody
 * there), -EADDRINUSE or -EBUSY (somebody else is the receiver; named with its pid), -EPERM (a peer of another uid; ip:
 * no CAP_NET_RAW), -ENAMETOOLONG, -ENOTSOCK, -EISDIR, -ELOOP, -EEXIST (not a FIFO), -EPROTOTYPE (a socket of another
 * type), -ENOENT (no such directory; fd:@NAME: nothing of that name was passed on), -ENOTUNIQ (fd:@NAME: several were),
 * -EBADF (fd:), -ENOBUFS (capacity), -EACCES, -E2BIG, -ENOMEM, -EMFILE and whatever else the kernel says. */
WHERRY_API int wherry_channel_open(const char *url, enum wherry_role role, const struct wherry_channel_options *options,
                                   wherry_time deadline, struct wherry_channel **ret_channel);

/* Make a connected pair for a family of processes: "pipe:" gives [0] to receive and [1] to send, as pipe(2) does;
 * "socketpair:" gives two duplex ends.  After fork() each process closes the end that it does not use; that needs
 * `inheritable`.  Returns as wherry_channel_open(). */
WHERRY_API int wherry_channel_pair(const char *url, const struct wherry_channel_options *options,
                                   struct wherry_channel *ret_pair[2]);

/* Write what is still kept for this endpoint until `deadline`, dropping what comes meanwhile, then close it, remove
 * what it created if the name still leads to it, and free it.  NULL is fine.  Returns 0; -ETIMEDOUT, -EAGAIN or -EPIPE
 * when kept bytes could not be delivered, closed and freed all the same.  No other call on the endpoint may be under
 * way or follow. */
WHERRY_API int wherry_channel_close(struct wherry_channel *channel, wherry_time deadline);

/* Say that this endpoint sends no more: what is kept is written until `deadline`, then the peers get their end, while
 * this side may go on receiving.  Later sends are -EPIPE; a second finish does nothing.  Returns 0; -EAGAIN, -ETIMEDOUT
 * or -ECANCELED (nothing was ended); -EPIPE (what was kept had nobody to go to); -EOPNOTSUPP. */
WHERRY_API int wherry_channel_finish(struct wherry_channel *channel, wherry_time deadline);

/* For a child between fork() and exec(): let the endpoint's descriptors survive exec and write the fd: URL by which the
 * new program can open them, with frame, max_message, writers and fds, into `url`.  Only for pipe:, fd: and socketpair:
 * endpoints.  Does not allocate; async-signal-safe.  Returns 0, -EOPNOTSUPP, -ECHILD (in a forked child, of an endpoint
 * that is not inheritable; whoever opened one may export it, for a program that it becomes itself), or -EMSGSIZE when
 * `capacity` is too small (128 suffices). */
WHERRY_API int wherry_channel_export(struct wherry_channel *channel, char *url, size_t capacity);

/* ---- sending ------------------------------------------------------------------------------------------------ */

/* Send one whole message or nothing, waiting until `deadline`.
 * Returns 0: accepted; -EAGAIN (deadline WHERRY_NOW) or -ETIMEDOUT: nothing taken; -EMSGSIZE: larger than the
 * transport or max_message takes; -EPIPE: nobody is left to receive; -EINVAL: a payload that the framing cannot carry;
 * -ECANCELED: interrupted; -ECHILD: forked; -EOPNOTSUPP: not opened to send; -EDESTADDRREQ: a datagram from the
 * listening side needs an addressee; -EMFILE, -ENFILE: as a receive, where no peer that is connected has room;
 * -ENOMEM. */
WHERRY_API int wherry_channel_send(struct wherry_channel *channel, const void *data, size_t size, wherry_time deadline);

/* The same with a type, an addressee, descriptors and flags (WHERRY_MORE).  -EOPNOTSUPP: no types, no addressees, or no
 * descriptors, here; -ENOTCONN: the peer `to` is gone.  A message with descriptors leaves at once, also with
 * WHERRY_MORE.  -EBADF: one of them is not open; -ETOOMANYREFS: too many of this user's are under way in sockets. */
WHERRY_API int wherry_channel_send_message(struct wherry_channel *channel, const struct wherry_message *message,
                                           unsigned flags, wherry_time deadline);

/* Send `count` messages in order with as few system calls as the object allows.  Returns how many were accepted: all,
 * or fewer when the deadline or a failure came first; when none was, the failure. */
WHERRY_API ssize_t wherry_channel_send_many(struct wherry_channel *channel, const struct wherry_message *messages,
                                            size_t count, wherry_time deadline);

/* Hand everything kept in this endpoint (WHERRY_MORE, half-written messages) to the kernel.
 * Returns 0; -EAGAIN or -ETIMEDOUT: the rest is still kept; -EPIPE: the rest had nobody to go to and is dropped, save
 * on a FIFO, whose next reader would find the front of a message without it. */
WHERRY_API int wherry_channel_flush(struct wherry_channel *channel, wherry_time deadline);

/* Get `size` bytes of memory to write a message into; then commit or abandon it, in the same thread.  One reservation
 * an endpoint at a time: -EBUSY.  Where it is the object's own memory (trait in-place) it is aligned to 8 bytes, other
 * sends of the thread are -EBUSY until then, and those of other threads wait; elsewhere to 16.  Returns 0, -EMSGSIZE,
 * -ENOMEM, or as a send. */
WHERRY_API int wherry_channel_reserve(struct wherry_channel *channel, size_t size, void **ret_data,
                                      wherry_time deadline);

/* Send what was written: message->data is what reserve gave, message->size at most what was reserved.  Returns as
 * wherry_channel_send_message(); on failure the reservation stands and may be committed again or abandoned. */
WHERRY_API int wherry_channel_commit(struct wherry_channel *channel, const struct wherry_message *message,
                                     unsigned flags, wherry_time deadline);

/* Give a reservation up; nothing is sent.  Without one: nothing happens. */
WHERRY_API void wherry_channel_abandon(struct wherry_channel *channel);

/* ---- receiving ---------------------------------------------------------------------------------------------- */

/* Receive one message into `buffer`, waiting until `deadline`.
 * Returns 1: a message, its size in *ret_size (may be 0 bytes); 0: the end, the live senders fell to none (an event:
 * the next receive waits for the next sender, save where there can be none); -EAGAIN or -ETIMEDOUT: nothing came;
 * -EMSGSIZE: `capacity` is too small, *ret_size suffices, and the message is the next one received; -EBADMSG: a peer
 * sent bytes that are no message (its connection is closed, or the bytes are skipped; the endpoint goes on); -EPERM: a
 * process of a uid that may not wrote to a connection, which is closed; -EBUSY: another process of the family receives
 * from the pipe, or a message is on loan; -EMFILE, -ENFILE: no descriptor is left to accept a connection, which waits
 * on, and takes the end back; the endpoint goes on, and says so again after a rest of up to a second; -EOPNOTSUPP: not
 * opened to receive; -ECANCELED; -ECHILD; -ENOMEM. */
WHERRY_API int wherry_channel_receive(struct wherry_channel *channel, void *buffer, size_t capacity, size_t *ret_size,
                                      wherry_time deadline);

/* The same, with type, flags and peer.  Descriptors that came with the message are closed. */
WHERRY_API int wherry_channel_receive_info(struct wherry_channel *channel, void *buffer, size_t capacity,
                                           struct wherry_info *ret_info, wherry_time deadline);

/* The same, with the descriptors that came with the message, info->fd_count of them, in `fds`: close-on-exec, and the
 * caller's to close.  `fd_capacity` is at least what the option fds says, else -EINVAL; without that option
 * -EOPNOTSUPP.  -EBADMSG also: more came than fds= allows, or than this process may open: that message is dropped, all
 * that came are closed, and the endpoint and the connection go on. */
WHERRY_API int wherry_channel_receive_with_fds(struct wherry_channel *channel, void *buffer, size_t capacity, int *fds,
                                               size_t fd_capacity, struct wherry_info *ret_info, wherry_time deadline);

/* Read one message in place.  Returns 1 and the loan, which ends with wherry_channel_return(); else as a receive.  One
 * loan an endpoint at a time: a second receive in the same thread is -EBUSY, in another it waits. */
WHERRY_API int wherry_channel_borrow(struct wherry_channel *channel, struct wherry_loan *ret_loan,
                                     wherry_time deadline);

/* Take the descriptors of the message on loan, in the borrowing thread: close-on-exec, and the caller's to close.
 * Returns how many: info.fd_count of the loan, 0 the second time; -EMSGSIZE: `capacity` is less, and none was taken;
 * -EINVAL: nothing is on loan in this thread; -ECHILD.  Those not taken are closed when the loan ends. */
WHERRY_API ssize_t wherry_channel_take_fds(struct wherry_channel *channel, const struct wherry_loan *loan, int *fds,
                                           size_t capacity);

/* End the loan: the message is received and its memory may be reused.  In the borrowing thread. */
WHERRY_API void wherry_channel_return(struct wherry_channel *channel, const struct wherry_loan *loan);

/* ---- waiting elsewhere, asking ------------------------------------------------------------------------------ */

/* A descriptor for poll(2), epoll(7) or libuv, owned by the endpoint: readable whenever a message, the end or a death
 * can be had, read-ahead included; it may be spurious.  Watch it for reading only, and do not read it.  -EOPNOTSUPP. */
WHERRY_API int wherry_channel_receive_fd(struct wherry_channel *channel);

/* The same for sending: readable (POLLIN) when a send would not wait. */
WHERRY_API int wherry_channel_send_fd(struct wherry_channel *channel);

/* End all waits of this endpoint with -ECANCELED; where none is under way in a direction, the next call in it that
 * cannot be done at once.  What can be done at once still is.  Async-signal-safe, any thread; preserves errno.  The
 * endpoint must not be closed meanwhile. */
WHERRY_API void wherry_channel_interrupt(struct wherry_channel *channel);

/* Who is at the other end: of the peer with this id, or with id 0 of the only one.  -ENOTCONN: gone or none;
 * -EDESTADDRREQ: more than one; -EOPNOTSUPP: the kernel does not say. */
WHERRY_API int wherry_channel_peer(struct wherry_channel *channel, uint64_t id, struct wherry_peer *ret_peer);

/* A pidfd (pidfd_open(2)) of the process that made the connection to the peer with this id, or with id 0 to the only
 * one: the one that connected, that listens, or that made the pair; not of another to which it handed the socket on.
 * Close-on-exec, and the caller's to close; it becomes readable when that process ends.  Before Linux 6.5 it is found
 * by its number, which is another's if it handed the socket on, died, and its number was given again.  -ENOTCONN,
 * -EDESTADDRREQ: as wherry_channel_peer(); -ESRCH: that process is gone, or of another PID namespace; -EOPNOTSUPP: no
 * Unix socket, or one without connections; -EMFILE. */
WHERRY_API int wherry_channel_peer_pidfd(struct wherry_channel *channel, uint64_t id);

/* What went to and from the peer with this id, or with id 0 the only one: of an endpoint with connections, or on udp:
 * and ip: of one that listens, sends and receives, while it remembers the peer's address.  `size` is
 * sizeof(*ret_stats): a newer library writes no more than that.  -ENOTCONN: gone or none; -EDESTADDRREQ: more than one;
 * -EOPNOTSUPP: no connections here, and no such endpoint. */
WHERRY_API int wherry_channel_peer_stats(struct wherry_channel *channel, uint64_t id,
                                         struct wherry_peer_stats *ret_stats, size_t size);

/* Let one peer of a listening endpoint go: what is kept for it is written until `deadline`, and on tcp: has until then
 * to arrive; then its connection is closed.  What it sent and nobody received is dropped.  Returns 0; -ENOTCONN: there
 * is none of that id; -EAGAIN (another thread was sending until the deadline; or WHERRY_NOW: something is kept) or
 * -ECANCELED: nothing happened; -EAGAIN with WHERRY_NOW, on tcp:, also: not all has arrived; the peer was told the end,
 * what it sends is dropped, and it goes when it ends itself or a later disconnect finds that all has; -ETIMEDOUT: what
 * was kept could not be written, and the peer is gone all the same; -EOPNOTSUPP: not a listening endpoint. */
WHERRY_API int wherry_channel_disconnect(struct wherry_channel *channel, uint64_t peer, wherry_time deadline);

/* What went through so far.  Each number is exact; together they may be from slightly different moments.
 * `size` is sizeof(*ret_stats): a newer library writes no more than that. */
WHERRY_API int wherry_channel_stats(struct wherry_channel *channel, struct wherry_channel_stats *ret_stats,
                                    size_t size);

/* The URL that the endpoint was opened with; where it asked for port 0, with the port that it got.  Belongs to the
 * endpoint. */
WHERRY_API const char *wherry_channel_url(const struct wherry_channel *channel);

/* The traits of its transport; at an fd: that listens, of one that listens. */
struct wherry_traits;
WHERRY_API const struct wherry_traits *wherry_channel_traits(const struct wherry_channel *channel);

#ifdef __cplusplus
}
#endif
#endif
