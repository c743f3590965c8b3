/* base/fd.c - owns the set of the library's descriptors and the page that tells a child from its parent.
 *
 * SPDX-License-Identifier: MIT */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/why.h"

/* The set: bits by descriptor number, in chunks made when first needed and never freed.  The child's handler only reads
 * and clears bits and calls close(2), all of which are async-signal-safe. */
enum { CHUNK_BITS = 4096, CHUNKS = 1024 };
struct chunk {
    _Atomic uint64_t words[CHUNK_BITS / 64];
};
static struct chunk first_chunk;
static struct chunk *_Atomic chunks[CHUNKS] = {&first_chunk};

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t handlers_once = PTHREAD_ONCE_INIT;

static const volatile uint64_t no_generation[2];
const volatile uint64_t *wherry__generation_page = no_generation;
static uint64_t last_generation;      /* written under the guard; a child inherits the count, so numbers never repeat */
static uint64_t handled_generation;   /* the newest generation whose descriptors the fork handler closed */

static void before_fork(void)
{
    pthread_mutex_lock(&guard);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&guard);
}

static void after_fork_in_child(void)
{
    for (int c = 0; c < CHUNKS; c++) {
        struct chunk *chunk = atomic_load_explicit(&chunks[c], memory_order_relaxed);
        for (int w = 0; chunk && w < CHUNK_BITS / 64; w++) {
            uint64_t word = atomic_exchange_explicit(&chunk->words[w], 0, memory_order_relaxed);
            for (; word; word &= word - 1)
                close(c * CHUNK_BITS + w * 64 + __builtin_ctzll(word));
        }
    }
    handled_generation = last_generation;
    if (wherry__generation_page != no_generation) /* an emulator may say that it wipes pages, and not do it */
        *(volatile uint64_t *)(uintptr_t)wherry__generation_page = 0;
    pthread_mutex_unlock(&guard);
}

static void install_handlers(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

int wherry__process_start(void)
{
    if (*wherry__generation_page)
        return 0;
    pthread_once(&handlers_once, install_handlers);
    pthread_mutex_lock(&guard);
    int result = 0;
    if (wherry__generation_page == no_generation) {
        void *page =
            mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
            result = wherry__fail(ENOMEM, "no memory for the page that tells a forked child from its parent");
        else if (madvise(page, (size_t)sysconf(_SC_PAGESIZE), MADV_WIPEONFORK) != 0)
            result = wherry__fail_errno(errno, "MADV_WIPEONFORK, which needs Linux 4.14");
        else
            wherry__generation_page = page;
    }
    if (result == 0 && *wherry__generation_page == 0)
        *(volatile uint64_t *)(uintptr_t)wherry__generation_page = ++last_generation;
    pthread_mutex_unlock(&guard);
    return result;
}

int wherry__pid_namespace_find(uint64_t *ret_namespace)
{
    struct stat status;
    int result = wherry__process_start();
    if (result < 0)
        return result;
    if (wherry__sys.fstatat(AT_FDCWD, "/proc/self/ns/pid", &status, 0) < 0)
        return wherry__fail_errno(errno, "/proc/self/ns/pid, which tells PID namespaces apart (is /proc mounted?)");
    /* it does not change while the process lives; threads that find it together write the same */
    __atomic_store_n((uint64_t *)(uintptr_t)&wherry__generation_page[1], (uint64_t)status.st_ino, __ATOMIC_RELAXED);
    *ret_namespace = (uint64_t)status.st_ino;
    return 0;
}

pid_t wherry__thread_id(void)
{
    static _Thread_local struct {
        uint64_t generation; /* a child's only thread has another number than the one that forked */
        pid_t id;
    } known;
    uint64_t generation = wherry__generation();
    if (known.generation == generation && generation)
        return known.id;
    known.generation = generation;
    return known.id = gettid();
}

void wherry__fd_guard(void)
{
    pthread_mutex_lock(&guard);
}

void wherry__fd_unguard(void)
{
    pthread_mutex_unlock(&guard);
}

static _Atomic uint64_t *word_of(int fd, bool make)
{
    int c = fd / CHUNK_BITS;
    if (fd < 0 || c >= CHUNKS)
        return NULL;
    struct chunk *chunk = atomic_load_explicit(&chunks[c], memory_order_acquire);
    if (!chunk && make) {
        chunk = calloc(1, sizeof *chunk); /* without memory the descriptor is merely not noted: fork() then keeps it */
        atomic_store_explicit(&chunks[c], chunk, memory_order_release);
    }
    return chunk ? &chunk->words[fd % CHUNK_BITS / 64] : NULL;
}

/* A child's 0, 1 and 2 are the caller's, or /dev/null where the caller has closed them: never something of ours that
 * came to lie there. */
static int off_the_standard(int fd)
{
    if (__builtin_expect(fd < 0 || fd > STDERR_FILENO, 1))
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (moved < 0)
        return fd;
    wherry__sys.close(fd);
    return moved;
}

int wherry__fd_note(int fd)
{
    fd = off_the_standard(fd);
    _Atomic uint64_t *word = word_of(fd, true);
    if (word)
        atomic_fetch_or_explicit(word, UINT64_C(1) << (fd % 64), memory_order_relaxed);
    return fd;
}

void wherry__fd_forget(int fd)
{
    _Atomic uint64_t *word = word_of(fd, false);
    if (word)
        atomic_fetch_and_explicit(word, ~(UINT64_C(1) << (fd % 64)), memory_order_relaxed);
}

void wherry__fd_close(int *fd)
{
    if (*fd < 0)
        return;
    wherry__fd_forget(*fd); /* before the number can be given to another thread */
    wherry__sys.close(*fd);
    *fd = -1;
}

void wherry__fd_close_from(uint64_t born, bool inheritable, int *fd)
{
    bool closed_at_fork = !inheritable && born != wherry__generation() && born <= handled_generation;
    if (closed_at_fork)
        *fd = -1;
    else
        wherry__fd_close(fd);
}
