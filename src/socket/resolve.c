/* socket/resolve.c - owns names and numbers of hosts: URLs, getaddrinfo(3), text.
 *
 * SPDX-License-Identifier: MIT */
#include "socket/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fd.h"
#include "base/time.h"
#include "base/why.h"

/* ---- what a URL says ---- */

static bool parse_port(const char *text, uint16_t *ret_port)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

int wherry__inet_parse(struct wherry__inet_place *place, const struct wherry__url *url, bool needs_port)
{
    const char *host = url->authority, *end, *port = NULL;
    size_t at = url->path_at - strlen(url->authority);
    const char *form = needs_port ? "host:port, [::1]:port, :port for loopback or *:port for any address"
                                  : "host, [::1], nothing for loopback or * for any address";
    *place = (struct wherry__inet_place){.name = url->text};
    if (!url->has_authority || url->path[0])
        return wherry__url_fail(url->text, url->has_authority ? url->path_at : strlen(url->scheme) + 1, "write %s://%s",
                                url->scheme, form);
    if (*host == '[') {
        end = strchr(++host, ']');
        if (!end || (end[1] && end[1] != ':'))
            return wherry__url_fail(url->text, at, "an IPv6 address stands in brackets: %s", form);
        port = end[1] ? end + 2 : NULL;
    } else {
        end = host + strcspn(host, ":");
        port = *end ? end + 1 : NULL;
        if (port && strchr(port, ':'))
            return wherry__url_fail(url->text, at, "an IPv6 address stands in brackets: %s", form);
    }
    size_t length = (size_t)(end - host);
    if (length >= sizeof place->host)
        return wherry__url_fail(url->text, at, "a host's name has at most %zu characters", sizeof place->host - 1);
    memcpy(place->host, host, length);
    if (needs_port ? !port || !parse_port(port, &place->port) : port != NULL)
        return wherry__url_fail(url->text, at,
                                needs_port ? "a port is a number from 0 to 65535: %s" : "no port here: %s", form);
    return 0;
}

/* ---- asking ---- */

/* Only glibc has getaddrinfo_a(3); with another C library each question has a thread of this library's.
 *
 * In a forked child glibc counts its threads of the parent as its own, and may leave a question to one that is not
 * there (as of glibc 2.36: within a second of the parent's last).  So where the parent asked, the child has a thread of
 * its own ask: the only one that this library starts.  Without, the deadline would pass in vain. */
#ifdef __GLIBC__
static _Atomic uint64_t asker; /* the generation that asked glibc's threads */
#endif
#ifndef EAI_INPROGRESS
#define EAI_INPROGRESS (-100)
#endif

/* Lives until the thread that asks is done with it, which may be after the call. */
struct question {
    struct question *next;
    uint64_t born;
    wherry_time asked;
    bool own;         /* asked by a thread of this library's */
    _Atomic int code; /* of such a one: EAI_INPROGRESS until it is answered */
    struct addrinfo *found; /* by such a one */
#ifdef __GLIBC__
    struct gaicb control;
#endif
    struct addrinfo hints;
    char host[WHERRY__INET_HOST];
};

static struct question *abandoned;
static pthread_mutex_t abandoned_lock = PTHREAD_MUTEX_INITIALIZER;

static int state_of(struct question *question)
{
#ifdef __GLIBC__
    if (!question->own)
        return gai_error(&question->control);
#endif
    return atomic_load_explicit(&question->code, memory_order_acquire);
}

static struct addrinfo *answer_of(struct question *question)
{
#ifdef __GLIBC__
    if (!question->own)
        return question->control.ar_result;
#endif
    return question->found;
}

static void free_question(struct question *question)
{
    if (answer_of(question))
        freeaddrinfo(answer_of(question));
    free(question);
}

/* One for the same host, so that who asks again and again without waiting has the answer in the end, and a name server
 * that is silent has one question of each host; NULL.  Others that have been answered since are freed. */
static struct question *take_up(const char *host)
{
    const wherry_time fresh = 30 * WHERRY_SECOND;
    struct question *found = NULL;
    pthread_mutex_lock(&abandoned_lock);
    for (struct question **at = &abandoned; *at;) {
        struct question *question = *at;
        bool parents = question->born != wherry__generation(); /* its thread did not come along: it is never answered */
        bool answered = !parents && state_of(question) != EAI_INPROGRESS;
        bool same = !parents && !found && strcasecmp(question->host, host) == 0 &&
                    (!answered || wherry_now() - question->asked < fresh);
        if (!parents && !answered && !same) {
            at = &question->next;
            continue;
        }
        *at = question->next;
        if (same)
            found = question;
        else if (!parents)
            free_question(question);
    }
    pthread_mutex_unlock(&abandoned_lock);
    return found;
}

static void let_go(struct question *question)
{
#ifdef __GLIBC__
    if (!question->own)
        gai_cancel(&question->control); /* one that waits for a thread */
#endif
    if (state_of(question) != EAI_INPROGRESS) {
        free_question(question);
        return;
    }
    pthread_mutex_lock(&abandoned_lock);
    question->next = abandoned;
    abandoned = question;
    pthread_mutex_unlock(&abandoned_lock);
}

static void *answer(void *argument)
{
    struct question *question = argument;
    int code = getaddrinfo(question->host, NULL, &question->hints, &question->found);
    atomic_store_explicit(&question->code, code, memory_order_release);
    return NULL;
}

static int start_thread(struct question *question)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&thread, &attributes, answer, question);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return code ? EAI_AGAIN : 0;
}

static int begin(struct question *question)
{
#ifdef __GLIBC__
    uint64_t nobody = 0;
    bool first = atomic_compare_exchange_strong(&asker, &nobody, question->born);
    question->own = !first && nobody != question->born;
    if (!question->own) {
        question->control = (struct gaicb){.ar_name = question->host, .ar_request = &question->hints};
        struct gaicb *list[] = {&question->control};
        return getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    }
#endif
    question->own = true;
    question->code = EAI_INPROGRESS;
    return start_thread(question);
}

static void sleep_on(struct question *question, struct wherry__steps *steps, wherry_time deadline)
{
#ifdef __GLIBC__
    if (!question->own) {
        struct timespec storage;
        const struct gaicb *const waited[] = {&question->control};
        gai_suspend(waited, 1, wherry__deadline_left(deadline, &storage));
        return;
    }
#else
    (void)question;
#endif
    wherry__steps_sleep(steps, deadline);
}

/* One question: 0 and it is answered; EAI_INPROGRESS: not by the deadline; or another EAI code. */
static int ask(const char *host, wherry_time deadline, struct question **ret_question)
{
    struct wherry__steps steps = {0};
    struct question *question = *ret_question = take_up(host);
    if (!question) {
        *ret_question = question = calloc(1, sizeof *question);
        if (!question)
            return EAI_MEMORY;
        question->born = wherry__generation();
        question->asked = wherry_now();
        snprintf(question->host, sizeof question->host, "%s", host);
        question->hints =
            (struct addrinfo){.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
        int code = begin(question);
        if (code != 0) {
            free(question);
            *ret_question = NULL;
            return code;
        }
    }
    for (;;) {
        int code = state_of(question);
        if (code != EAI_INPROGRESS || wherry__deadline_passed(deadline))
            return code;
        sleep_on(question, &steps, deadline);
    }
}

/* ---- answers ---- */

static void add(struct wherry__inet_list *list, const void *address, socklen_t size)
{
    if (list->count == WHERRY__INET_ADDRESSES || size > sizeof(struct sockaddr_storage))
        return;
    struct wherry__inet_address *to = &list->addresses[list->count++];
    *to = (struct wherry__inet_address){.size = size};
    memcpy(&to->address, address, size);
}

static void add_4(struct wherry__inet_list *list, in_addr_t host, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(host)};
    add(list, &address, sizeof address);
}

static void add_6(struct wherry__inet_list *list, const struct in6_addr *host, uint16_t port)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = *host};
    add(list, &address, sizeof address);
}

static void set_port(struct sockaddr *address, uint16_t port)
{
    if (address->sa_family == AF_INET)
        ((struct sockaddr_in *)(void *)address)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)(void *)address)->sin6_port = htons(port);
}

/* The families in turn, as getaddrinfo(3) orders each: RFC 8305, section 4. */
static void take_answer(struct wherry__inet_list *list, struct addrinfo *answer, uint16_t port)
{
    struct addrinfo *first = answer, *other = answer;
    int family = answer->ai_family;
    while (first || other) {
        for (; first && first->ai_family != family; first = first->ai_next)
            ;
        for (; other && (other->ai_family == family || (other->ai_family != AF_INET && other->ai_family != AF_INET6));
             other = other->ai_next)
            ;
        for (int i = 0; i < 2; i++) {
            struct addrinfo **at = i == 0 ? &first : &other;
            if (!*at)
                continue;
            set_port((*at)->ai_addr, port);
            add(list, (*at)->ai_addr, (*at)->ai_addrlen);
            *at = (*at)->ai_next;
        }
    }
}

static bool resolve_at_once(const struct wherry__inet_place *place, bool listens, struct wherry__inet_list *list)
{
    struct addrinfo *answer = NULL,
                    hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    if (!place->host[0] || strcasecmp(place->host, "localhost") == 0) { /* RFC 6761: it is never anything else */
        /* who listens has one socket: of the family that every host has */
        add_4(list, INADDR_LOOPBACK, place->port);
        if (!listens)
            add_6(list, &in6addr_loopback, place->port);
        return true;
    }
    if (strcmp(place->host, "*") == 0) { /* both families, where there are both */
        add_6(list, &in6addr_any, place->port);
        add_4(list, INADDR_ANY, place->port);
        return true;
    }
    if (getaddrinfo(place->host, NULL, &hints, &answer) != 0)
        return false;
    take_answer(list, answer, place->port);
    freeaddrinfo(answer);
    return true;
}

static int not_resolved(const struct wherry__inet_place *place, int code, wherry_time deadline)
{
    if (code == EAI_MEMORY)
        return wherry__fail(ENOMEM, "%s: no memory", place->name);
    if (code == EAI_INPROGRESS || code == EAI_AGAIN || code == EAI_SYSTEM)
        return wherry__fail(wherry__deadline_code(deadline), "%s: no name server says in time where \"%s\" is",
                            place->name, place->host);
    return wherry__fail(ENOENT, "%s: the host \"%s\" is not known (%s)", place->name, place->host, gai_strerror(code));
}

int wherry__inet_resolve(const struct wherry__inet_place *place, bool listens, wherry_time deadline,
                         struct wherry__inet_list *ret_list)
{
    struct wherry__steps steps = {.next = 100 * WHERRY_MILLISECOND}; /* a name server that fails is not pressed */
    ret_list->count = 0;
    if (!listens && strcmp(place->host, "*") == 0)
        return wherry__fail(EINVAL, "%s: * is for the side that listens; say which host", place->name);
    if (resolve_at_once(place, listens, ret_list))
        return 0;
    for (;;) {
        struct question *question;
        int code = ask(place->host, deadline, &question);
        if (code == 0)
            take_answer(ret_list, answer_of(question), place->port);
        code = code == 0 && ret_list->count == 0 ? EAI_NONAME : code;
        if (question)
            let_go(question);
        if (code == 0)
            return 0;
        bool passed = wherry__deadline_passed(deadline);
        if ((code != EAI_AGAIN && code != EAI_SYSTEM) || passed)
            return not_resolved(place, code, deadline);
        wherry__steps_sleep(&steps, deadline);
    }
}

bool wherry__inet_is_group(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_MULTICAST(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
    return IN_MULTICAST(ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
}

void wherry__inet_text(const struct wherry__inet_address *address, char text[static WHERRY__INET_TEXT])
{
    char host[WHERRY__INET_TEXT - 10], service[8];
    const struct sockaddr *socket = (const struct sockaddr *)&address->address;
    text[0] = '\0';
    if ((socket->sa_family != AF_INET && socket->sa_family != AF_INET6) ||
        getnameinfo(socket, address->size, host, sizeof host, service, sizeof service, NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    bool six = socket->sa_family == AF_INET6, port = strcmp(service, "0") != 0;
    snprintf(text, WHERRY__INET_TEXT, "%s%s%s%s%s", six && port ? "[" : "", host, six && port ? "]" : "",
             port ? ":" : "", port ? service : "");
}
