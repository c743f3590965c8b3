/* tests/harness_needs.c - owns finding out what the kernel, or what stands in for it, cannot do.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each question is put to the facility itself, by system calls as bare as they can be: never to the name of a machine
 * or of an emulator.  Where the answer is no the case is skipped, with a sentence that names the call. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "harness_internal.h"

/* ---- memory and processes ---- */

static bool robust_list(void)
{
    void *head;
    size_t size;
    return syscall(SYS_get_robust_list, 0, &head, &size) == 0;
}

static bool succeeds(pid_t child)
{
    int status;
    while (waitpid(child, &status, (int)__WALL) < 0 && errno == EINTR)
        ;
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool wipe_on_fork(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    volatile char *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *page = 1;
    bool works = madvise((void *)(uintptr_t)page, size, MADV_WIPEONFORK) == 0;
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0L);
    if (child == 0)
        syscall(SYS_exit_group, *page);
    works = succeeds(child) && works;
    munmap((void *)(uintptr_t)page, size);
    return works;
}

static int write_one(void *argument)
{
    *(volatile int *)argument = 1;
    syscall(SYS_exit_group, 0);
    return 0;
}

static bool shared_vfork(void)
{
    static char stack[16384] __attribute__((aligned(16)));
    volatile int word = 0;
    return succeeds(clone(write_one, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)&word)) && word;
}

/* EPERM is another matter: the caller's. */
static bool clone_in_namespace(void)
{
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0)
        syscall(SYS_exit_group, 0);
    int code = errno;
    return child > 0 ? succeeds(child) : code != EINVAL;
}

static bool subreaper(void)
{
    int is;
    return prctl(PR_GET_CHILD_SUBREAPER, &is) == 0;
}

static bool seccomp(void)
{
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) != 0 && errno == EFAULT;
}

static bool address_space_limit(void)
{
    struct rlimit before, less, now;
    getrlimit(RLIMIT_AS, &before);
    less = before;
    less.rlim_cur = (rlim_t)1 << 46;
    if (setrlimit(RLIMIT_AS, &less) != 0 || getrlimit(RLIMIT_AS, &now) != 0)
        return false;
    setrlimit(RLIMIT_AS, &before);
    return now.rlim_cur == less.rlim_cur;
}

/* A read(2) of nothing, the quickest of twenty. */
static bool quick_calls(void)
{
    struct timespec begin, end;
    long best = 1000000;
    for (int i = 0; i < 20; i++) {
        clock_gettime(CLOCK_MONOTONIC, &begin);
        syscall(SYS_read, -1, NULL, 0);
        clock_gettime(CLOCK_MONOTONIC, &end);
        long took = (end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec;
        best = took < best ? took : best;
    }
    return best < 300;
}

static void *wait_for_end(void *fd)
{
    char byte;
    while (read(*(int *)fd, &byte, 1) < 0 && errno == EINTR)
        ;
    return NULL;
}

/* A thread in a child of a process that has one, too.  Who dies of that has its last words to itself. */
static bool threads_in_child(void)
{
    int fds[2];
    pthread_t thread;
    if (pipe2(fds, O_CLOEXEC) != 0 || pthread_create(&thread, NULL, wait_for_end, &fds[0]) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(nowhere, STDOUT_FILENO);
        dup2(nowhere, STDERR_FILENO);
        close(fds[1]);
        fds[0] = nowhere; /* to be read of at once, in vain */
        _exit(pthread_create(&thread, NULL, wait_for_end, &fds[0]) != 0 || pthread_join(thread, NULL) != 0);
    }
    bool works = succeeds(child);
    close(fds[1]);
    pthread_join(thread, NULL);
    close(fds[0]);
    return works;
}

/* ---- /proc ---- */

static size_t read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

static bool own_name(void)
{
    char name[32], path[64];
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)getpid());
    read_file(path, name, sizeof name);
    name[strcspn(name, "\n")] = '\0';
    return strncmp(name, program_invocation_short_name, 15) == 0;
}

/* The number of a system call that a process waits in: of the one that reads this very file. */
static bool own_calls(void)
{
    char text[256], path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld/syscall", (long)gettid());
    return read_file(path, text, sizeof text) && strtol(text, NULL, 10) == SYS_read;
}

/* When it began: "pid (name) S 1 ... 22nd". */
static unsigned long long beginning(pid_t pid)
{
    char text[1024], path[64];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    read_file(path, text, sizeof text);
    char *at = strrchr(text, ')');
    for (int i = 0; at && i < 20; i++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

static bool own_beginning(void)
{
    pid_t self = getpid();
    unsigned long long began = beginning(self);
    pid_t child = fork();
    if (child == 0)
        _exit(beginning(self) != began);
    return succeeds(child) && began != 0;
}

static size_t lines_of_maps(pid_t pid)
{
    char text[4096], path[64];
    size_t lines = 0;
    snprintf(path, sizeof path, "/proc/%ld/maps", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t got; fd >= 0 && (got = read(fd, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < got; i++)
            lines += text[i] == '\n';
    if (fd >= 0)
        close(fd);
    return lines;
}

static bool own_mappings(void)
{
    pid_t self = getpid();
    size_t lines = lines_of_maps(self);
    pid_t child = fork();
    if (child == 0)
        _exit(lines_of_maps(self) != lines);
    return succeeds(child) && lines != 0;
}

/* Whether a file of /proc is opened, and not one with a copy. */
static bool own_files(void)
{
    struct statfs status;
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    bool is = fd >= 0 && fstatfs(fd, &status) == 0 && status.f_type == PROC_SUPER_MAGIC;
    if (fd >= 0)
        close(fd);
    return is;
}

/* A handler that nobody has set, of SIGUSR2 in a process that has set none. */
static bool own_dispositions(void)
{
    char text[4096];
    read_file("/proc/self/status", text, sizeof text);
    const char *at = strstr(text, "\nSigCgt:\t");
    struct sigaction action;
    sigaction(SIGUSR2, NULL, &action);
    bool caught = at && strtoull(at + 9, NULL, 16) >> (SIGUSR2 - 1) & 1;
    return caught == (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

static bool own_threads(void)
{
    struct stat status;
    return stat("/proc/self/task", &status) == 0 && status.st_nlink == 3;
}

/* ---- signals ---- */

static bool last_signal(void)
{
    sigset_t set, before;
    struct timespec none = {0};
    sigemptyset(&set);
    sigaddset(&set, SIGRTMAX);
    sigprocmask(SIG_BLOCK, &set, &before);
    bool came = sigqueue(getpid(), SIGRTMAX, (union sigval){.sival_int = 1}) == 0 &&
                sigtimedwait(&set, NULL, &none) == SIGRTMAX;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return came;
}

static bool pidfd_values(void)
{
    siginfo_t info = {.si_signo = SIGRTMIN, .si_code = SI_QUEUE, .si_pid = getpid(), .si_uid = getuid()};
    sigset_t set, before;
    struct timespec none = {0};
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, &before);
    bool came =
        syscall(SYS_pidfd_send_signal, fd, SIGRTMIN, &info, 0) == 0 && sigtimedwait(&set, NULL, &none) == SIGRTMIN;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(fd);
    return came;
}

static volatile sig_atomic_t over; /* never: the child ends */

static void plain_handler(__attribute__((unused)) int number)
{
}

static void info_handler(int number, siginfo_t *info, __attribute__((unused)) void *context)
{
    if (!info || info->si_signo != number || info->si_code != SI_QUEUE)
        _exit(1);
}

static void *signal_on_and_on(__attribute__((unused)) void *argument)
{
    while (!over)
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1});
    return NULL;
}

/* While a handler of the one kind becomes one of the other again and again, in a child: it either sees or not. */
static bool handler_whole(void)
{
    struct sigaction plain = {.sa_handler = plain_handler, .sa_flags = SA_RESTART};
    struct sigaction info = {.sa_sigaction = info_handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    pid_t child = fork();
    if (child != 0)
        return succeeds(child);
    pthread_t threads[2];
    sigaction(SIGRTMIN, &plain, NULL);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, signal_on_and_on, NULL);
    for (int i = 0; i < 100000; i++) {
        sigaction(SIGRTMIN, &info, NULL);
        sigaction(SIGRTMIN, &plain, NULL);
    }
    _exit(0);
}

/* ---- sockets ---- */

static bool socket_lists(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool takes(int family, int level, int name)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), value = 1;
    bool result = fd < 0 || setsockopt(fd, level, name, &value, sizeof value) == 0;
    if (fd >= 0)
        close(fd);
    return result;
}

static bool multicast_all(void)
{
    return takes(AF_INET, IPPROTO_IP, IP_MULTICAST_ALL) && takes(AF_INET6, IPPROTO_IPV6, IPV6_MULTICAST_ALL);
}

static bool overflow_count(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), value = 1;
    socklen_t size = sizeof value;
    bool result = setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &value, sizeof value) == 0 &&
                  getsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &value, &size) == 0 && value == 1;
    close(fd);
    return result;
}

/* Three descriptors for one who has no room for any: none may be left. */
static bool cut_rights(void)
{
    int pair[2], sent[3];
    char byte = 'x';
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof sent)];
    } control = {.space = {0}};
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    size_t before = test_descriptors();
    sent[0] = sent[1] = sent[2] = pair[0];
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof sent);
    memcpy(CMSG_DATA(rights), sent, sizeof sent);
    sendmsg(pair[0], &message, 0);
    message.msg_controllen = CMSG_LEN(0);
    recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC);
    bool none = test_descriptors() == before;
    close(pair[0]);
    close(pair[1]);
    return none;
}

/* ---- others ---- */

static bool stat_any(void)
{
    struct shmid_ds data;
    int id = shmget(IPC_PRIVATE, 1, 0600);
    bool result = id < 0 || syscall(SYS_shmctl, id, 15 /* SHM_STAT_ANY */, &data) >= 0;
    shmctl(id, IPC_RMID, NULL);
    return result;
}

static bool open_file_systems(void)
{
    int fd = (int)syscall(SYS_fsopen, "no such file system", 0);
    return fd < 0 && errno != ENOSYS;
}

static bool writes_with_flags(void)
{
    int fds[2];
    struct iovec part = {.iov_base = (char[]){'x'}, .iov_len = 1};
    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    bool result = syscall(SYS_pwritev2, fds[1], &part, 1L, -1L, -1L, 0L) == 1;
    close(fds[0]);
    close(fds[1]);
    return result;
}

/* The build says where a program is; an emulated one is started by a script. */
static bool own_programs(void)
{
    char begin[8];
    const char *path = getenv("WHERRY_PROGRAM_process_child");
    return !path || (read_file(path, begin, 3) == 2 && strcmp(begin, "#!") != 0);
}

/* ---- the table ---- */

static const struct {
    bool (*there)(void);
    const char *reason;
} needs[] = {
    [TEST_ROBUST_LIST] = {robust_list, "get_robust_list(2) fails: the death of who holds a mutex is not told here"},
    [TEST_WIPE_ON_FORK] = {wipe_on_fork, "madvise(2) with MADV_WIPEONFORK does not wipe the page in a child here"},
    [TEST_SHARED_VFORK] = {shared_vfork, "clone(2) with CLONE_VM and CLONE_VFORK gives a copy of the memory here"},
    [TEST_CLONE_NEWPID] = {clone_in_namespace, "clone(2) knows no CLONE_NEWPID here"},
    [TEST_THREADS_IN_CHILD] = {threads_in_child, "clone(2) makes no thread in a child of a process with threads here"},
    [TEST_SUBREAPER] = {subreaper, "prctl(2) knows no PR_SET_CHILD_SUBREAPER here"},
    [TEST_SECCOMP] = {seccomp, "prctl(2) knows no PR_SET_SECCOMP here"},
    [TEST_RLIMIT_AS] = {address_space_limit, "setrlimit(2) does not take RLIMIT_AS here"},
    [TEST_QUICK_CALLS] = {quick_calls, "a system call that does nothing takes more than 300 ns here"},
    [TEST_OWN_NAME] = {own_name, "/proc/PID/comm has another program's name for this process here"},
    [TEST_OWN_CALLS] = {own_calls, "/proc/PID/syscall has not this process's numbers of system calls here"},
    [TEST_OWN_BEGINNING] = {own_beginning, "/proc/PID/stat says another beginning to the process than to others here"},
    [TEST_OWN_MAPPINGS] = {own_mappings, "/proc/PID/maps says other mappings to the process than to others here"},
    [TEST_OWN_FILES] = {own_files, "open(2) of /proc/self/stat opens another file here"},
    [TEST_OWN_DISPOSITIONS] = {own_dispositions, "/proc/PID/status has other handlers than this process set here"},
    [TEST_OWN_THREADS] = {own_threads, "/proc/PID/task lists threads that this process did not start here"},
    [TEST_OWN_PROGRAMS] = {own_programs, "execve(2) does not take the programs of this build by themselves here"},
    [TEST_LAST_SIGNAL] = {last_signal, "rt_sigqueueinfo(2) does not deliver SIGRTMAX here"},
    [TEST_PIDFD_VALUES] = {pidfd_values, "pidfd_send_signal(2) takes no real-time signal with a value here"},
    [TEST_HANDLER_WHOLE] = {handler_whole, "rt_sigaction(2): a handler and its flags do not change at once here"},
    [TEST_SOCKET_LISTS] = {socket_lists, "socket(2) makes no NETLINK_SOCK_DIAG here"},
    [TEST_MULTICAST_ALL] = {multicast_all, "setsockopt(2) knows no IP_MULTICAST_ALL or IPV6_MULTICAST_ALL here"},
    [TEST_OVERFLOW_COUNT] = {overflow_count, "setsockopt(2) knows no SO_RXQ_OVFL here"},
    [TEST_CUT_RIGHTS] = {cut_rights, "recvmsg(2) leaves descriptors open that there was no room to tell of here"},
    [TEST_STAT_ANY] = {stat_any, "shmctl(2) knows no SHM_STAT_ANY here"},
    [TEST_FSOPEN] = {open_file_systems, "fsopen(2) is not there (ENOSYS)"},
    [TEST_PWRITEV2] = {writes_with_flags, "pwritev2(2) is not there"},
};

bool test_has(enum test_need need)
{
    return needs[need].there();
}

void test_needs(enum test_need need)
{
    if (!test_has(need))
        test_skip("%s", needs[need].reason);
}
