/* cmd_pipe.c - `wherry pipe 'CMD' =SCHEME= 'CMD'...`: a pipeline of shell commands across any transport.
 *
 * SPDX-License-Identifier: MIT
 *
 * Here is the command line, and the front: pipe.h has who else there is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/signal.h>

#include "endpoint.h"
#include "pipe.h"
#include "proc.h"

enum { OPTION_PIPEFAIL = OPTION_FIRST };

/* Where nothing else holds a sender back: a socket's buffer, and a part of what a log keeps. */
enum { WINDOW_LOSSY = 64 * 1024, WINDOW_LOG = 4 * 1024 * 1024 };

/* ---- the command line ---- */

static bool is_link(const char *word)
{
    size_t length = strlen(word);
    return length > 1 && word[0] == '=' && word[length - 1] == '=';
}

static int check_url(const struct verb *verb, const struct pipe_link *link, const char *url)
{
    const char *frame = endpoint_value(url, "frame");
    if (!link->traits)
        return misuse(verb, "%s: no transport has this scheme; wherry transports lists them", link->word);
    if (link->traits->bits & WHERRY_TRAIT_DESCRIPTOR)
        return misuse(verb, "%s: two processes cannot meet at a descriptor; =socketpair= makes one for them",
                      link->word);
    if (endpoint_says(url, "listen") || endpoint_says(url, "connect"))
        return misuse(verb, "%s: the receiving half listens, the sending half connects", link->word);
    if (frame && strncmp(frame, "=length", 7) != 0 && strncmp(frame, "=raw", 4) != 0)
        return misuse(verb, "%s: bytes as they are go with frame=length, the default, or frame=raw", link->word);
    return TOOL_OK;
}

/* Others may come to the same object: a type of our own tells our messages from theirs that are there, and a secret
 * tells our sender from them where anybody can connect whom the kernel does not name. */
static int tell_apart(struct pipe_link *link)
{
    uint16_t random;
    uint64_t bits = link->traits->bits;
    const char *frame = link->url[0] ? endpoint_value(link->url, "frame") : NULL;
    bool typed =
        (bits & WHERRY_TRAIT_TYPES) && !((bits & WHERRY_TRAIT_STREAM) && frame && strncmp(frame, "=raw", 4) == 0);
    if (getrandom(&random, sizeof random, 0) != sizeof random ||
        getrandom(link->secret, sizeof link->secret, 0) != sizeof link->secret)
        return complain(TOOL_CANNOT, "pipe: no random numbers: %s", strerror(errno));
    link->type = typed ? random % 32000 + 100 : 0; /* a POSIX priority is at most 32767 */
    link->guarded = (bits & (WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_PEER)) == WHERRY_TRAIT_LISTENS;
    return TOOL_OK;
}

static uint64_t window_of(const struct wherry_traits *traits)
{
    return traits->bits & WHERRY_TRAIT_LOSSY ? WINDOW_LOSSY : traits->bits & WHERRY_TRAIT_NEVER_FULL ? WINDOW_LOG : 0;
}

/* "=SCHEME=" and "=SCHEME?OPTIONS=" are an address of our own making, "=URL=" is one. */
static int read_link(struct pipe_job *job, struct pipe_link *link, const char *word, size_t index)
{
    const struct verb *verb = job->options.verb;
    char text[PIPE_URL], scheme[32];
    size_t length = strlen(word) - 2;
    if (length == 0 || length >= sizeof text)
        return misuse(verb, "%s: between the signs goes a scheme, as in =shm=, or a URL", word);
    memcpy(text, word + 1, length);
    text[length] = '\0';
    link->word = word;
    bool given = text[strcspn(text, ":?")] == ':';
    snprintf(scheme, sizeof scheme, "%.*s", (int)strcspn(text, ":?"), text);
    char as_url[64];
    snprintf(as_url, sizeof as_url, "%s:", scheme);
    link->traits = endpoint_traits(as_url);
    int code = check_url(verb, link, text);
    if (code != TOOL_OK)
        return code;
    if (given) {
        if (link->traits->bits & WHERRY_TRAIT_PAIR)
            return misuse(verb, "%s: it has no address: write =%s=", word, scheme);
        memcpy(link->url, text, length + 1);
    } else if (!(link->traits->bits & WHERRY_TRAIT_PAIR)) {
        code = pipe_place_url(&job->place, scheme, text + strlen(scheme), index, link->url);
        if (code < 0)
            return misuse(verb, "%s: %s has no address that nobody else has: give one, as in =%s=", word, scheme,
                          link->traits->sample);
    } else if (text[strlen(scheme)]) {
        return misuse(verb, "%s: it takes no options", word);
    }
    link->window = window_of(link->traits);
    return code == TOOL_OK ? tell_apart(link) : code;
}

static int read_words(struct pipe_job *job, size_t count, char **words)
{
    const struct verb *verb = job->options.verb;
    const char *link = NULL;
    job->commands = calloc(count, sizeof *job->commands);
    job->links = calloc(count, sizeof *job->links);
    if (!job->commands || !job->links)
        return complain(TOOL_CANNOT, "pipe: no memory");
    for (size_t i = 0; i < count; i++) {
        if (is_link(words[i]) && (link || job->count == 0 || i + 1 == count))
            return misuse(verb, "%s stands between two commands", words[i]);
        if (is_link(words[i])) {
            link = words[i];
            continue;
        }
        if (words[i][0] == '\0')
            return misuse(verb, "a command is empty");
        job->commands[job->count++] = words[i];
        int code = link ? read_link(job, &job->links[job->count - 2], link, job->count - 2) : TOOL_OK;
        if (code != TOOL_OK)
            return code;
        link = NULL;
    }
    return TOOL_OK;
}

static int parse(struct pipe_job *job, int argc, char **argv)
{
    static const struct option longs[] = {COMMON_LONG, LONG("pipefail", no_argument, OPTION_PIPEFAIL), {0}};
    int option;
    while ((option = options_next(&job->options, argc, argv, COMMON_SHORT, longs)) >= 0)
        job->pipefail = true;
    int count = option == OPTION_STOP ? -1 : options_operands(&job->options, argc, 1, argc);
    return count < 0 ? job->options.code : read_words(job, (size_t)count, argv + optind);
}

/* ---- what the caller left us ---- */

/* Descriptors that a shell would hand on: sort <(...) */
static int note_descriptors(struct pipe_job *job)
{
    DIR *directory = opendir("/proc/self/fd");
    for (const struct dirent *entry; directory && (entry = readdir(directory));) {
        int fd = atoi(entry->d_name), flags = entry->d_name[0] == '.' ? -1 : fcntl(fd, F_GETFD);
        if (flags < 0 || (flags & FD_CLOEXEC) || fd <= STDERR_FILENO)
            continue;
        int *more = realloc(job->fds, (job->fd_count + 1) * sizeof *more);
        if (!more)
            break;
        job->fds = more;
        job->fds[job->fd_count++] = fd;
    }
    if (directory)
        closedir(directory);
    return TOOL_OK;
}

static void note_signals(struct pipe_job *job)
{
    struct sigaction action, ignore = {.sa_handler = SIG_IGN};
    sigprocmask(SIG_BLOCK, NULL, &job->mask);
    for (int number = 1; number <= SIGRTMAX; number++) {
        if (number == SIGKILL || number == SIGSTOP || sigaction(number, NULL, &action) < 0)
            continue;
        if (action.sa_handler == SIG_IGN)
            job->ignored[job->ignored_count++] = number;
        if (sigismember(&job->mask, number) == 1)
            job->blocked[job->blocked_count++] = number;
        if (number == SIGPIPE && action.sa_handler != SIG_IGN)
            job->pipe_kills = sigaction(SIGPIPE, &ignore, NULL) == 0; /* a line to standard error shall not end us */
    }
    action = (struct sigaction){.sa_handler = SIG_DFL};
    sigaction(SIGCHLD, &action, NULL); /* ignored, it would take exit codes away */
}

/* ---- the front ---- */

struct front {
    struct wherry_signals *signals;
    struct wherry_process *keeper;
    int keep; /* a socket to the keeper */
    unsigned sent;
    pid_t *spare; /* children that were there before: this process was something else once */
    size_t spare_count;
};

static int open_signals(struct front *front)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    int wanted[3];
    size_t count = 0;
    struct sigaction action;
    for (size_t i = 0; i < 3; i++)
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            wanted[count++] = numbers[i];
    if (count == 0 || wherry_signals_open(wanted, count, NULL, &front->signals) == 0)
        return TOOL_OK;
    return complain(TOOL_CANNOT, "pipe: %s", wherry_why());
}

/* The first asks, the second does not: 0 says that. */
static void pass_signals_on(struct front *front)
{
    struct wherry_signal signal;
    while (front->signals && wherry_signals_receive(front->signals, &signal, WHERRY_NOW) == 1) {
        int terminal = signal.code == SI_KERNEL ? PIPE_BY_TERMINAL : 0;
        unsigned char number = front->sent++ ? 0 : (unsigned char)(signal.number | terminal);
        (void)!send(front->keep, &number, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        wherry_process_kill(front->keeper, SIGCONT); /* one that is stopped would do nothing about it */
    }
}

/* Returns the exit code. */
static int wait_for_keeper(struct front *front)
{
    struct wherry_exit exit = {.kind = WHERRY_EXIT_UNKNOWN};
    char text[64];
    while (wherry_process_wait(front->keeper, WHERRY_NOW, &exit) == -EAGAIN) {
        struct pollfd fds[] = {{.fd = wherry_process_fd(front->keeper), .events = POLLIN},
                               {.fd = front->signals ? wherry_signals_fd(front->signals) : -1, .events = POLLIN}};
        (void)poll(fds, 2, -1);
        pass_signals_on(front);
    }
    if (exit.kind == WHERRY_EXITED)
        return exit.code;
    pipe_kill_all(front->spare, front->spare_count);
    return complain(TOOL_CANNOT, "pipe: the process that keeps the others was %s; all were ended",
                    wherry_exit_text(&exit, text, sizeof text));
}

/* Fork the keeper: it shares nothing with us but the socket and the lock of the place. */
static int start_keeper(struct pipe_job *job, struct front *front)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return complain(TOOL_CANNOT, "pipe: no socket: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        _exit(pipe_keep(job, ends[1]));
    }
    close(ends[1]);
    front->keep = ends[0];
    if (child < 0)
        return complain(TOOL_CANNOT, "pipe: no process: %s", strerror(errno));
    if (wherry_process_open(child, 0, &front->keeper) == 0)
        return TOOL_OK;
    int code = complain(TOOL_CANNOT, "pipe: %s", wherry_why());
    close(front->keep); /* then it ends, and all that it has begun */
    front->keep = -1;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return code;
}

static int work(struct pipe_job *job)
{
    struct front front = {.keep = -1};
    front.spare_count = proc_children(&front.spare);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int code = open_signals(&front);
    if (code == TOOL_OK)
        code = start_keeper(job, &front);
    if (code == TOOL_OK) {
        pipe_let_go(job);
        code = wait_for_keeper(&front);
    }
    if (front.keep >= 0)
        close(front.keep);
    wherry_process_close(front.keeper);
    wherry_signals_close(front.signals);
    free(front.spare);
    return code;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct pipe_job job = {.options = options_of(verb), .place = {.fd = -1, .lock = -1}};
    note_descriptors(&job);
    note_signals(&job);
    int code = parse(&job, argc, argv);
    if (code == TOOL_OK && job.count > 0) {
        job.deadline = options_deadline(&job.options);
        code = work(&job);
    }
    pipe_place_remove(&job.place);
    free(job.commands);
    free(job.links);
    free(job.fds);
    return code;
}

const struct verb verb_pipe = {
    .name = "pipe",
    .summary = "a pipeline of commands",
    .operands = "CMD [=SCHEME=|=URL=] CMD...",
    .help = "Run the commands, each by sh -c, each one's output going to the next one's\n"
            "input.  With nothing between two of them that is a pipe, as in a shell.  =shm=,\n"
            "=tcp=, =unix=, =fifo=, =mq=... carry it over such an object, made for the\n"
            "occasion and removed after; =URL= over one at that address, which should be\n"
            "nobody else's.  Bytes arrive as they were.  A reader that ends early ends the\n"
            "writer, and the writer's end is the reader's.\n"
            "\n"
            "      --pipefail     exit as the last command that failed, not as the last one\n"
            "\n"
            "-w bounds the whole: then all are sent SIGTERM, and SIGKILL after 1s.  SIGINT,\n"
            "SIGTERM and SIGHUP are passed on, and what runs still after 5s, or at the second\n"
            "signal, is killed.  -v prints all exit codes in a line: 0 141 0.  125 is a\n"
            "failure of wherry's own: a link that cannot be made, or breaks.\n",
    .examples = "Examples:\n"
                "  wherry pipe 'seq 1000000' '=shm=' 'wc -l'\n"
                "  wherry pipe 'tar c .' '=tcp=' 'gzip' 'cat > backup.tgz' -v --pipefail\n"
                "  wherry pipe ./produce '=unix:///run/app/x.sock=' ./consume\n",
    .run = run,
};
