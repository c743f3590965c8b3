/* tests/conformance/conformance.c - owns which cases are run on which subjects, and the table of what cannot be kept.
 *
 * SPDX-License-Identifier: MIT
 *
 * Every case of every clause meets every transport of the table: a transport added there is tested by that alone.
 * With --table the program prints what each kernel object can keep of the contract, from the traits. */
#include <fcntl.h>
#include <sys/socket.h>

#include "double.h"
#include "kit.h"

enum { SUBJECTS = 128, RUNS = 16384, CLAUSES = 16 };

static struct clause_case *cases;

static struct subject subjects[SUBJECTS];
static size_t subject_count;

static struct run {
    const struct clause_case *c;
    const struct subject *subject;
    char name[128];
} runs[RUNS];
static size_t run_count;

/* ---- the subjects ---------------------------------------------------------------------------------------------- */

static const struct {
    enum frame frame;
    const char *name;
} frames[] = {{LENGTH, ""}, {LINE, ",line"}, {NUL, ",nul"}, {FIXED, ",fixed"}, {RAW, ",raw"}};

/* Other ways to name or make the same objects, beyond the sample of the traits. */
static const struct {
    const char *scheme, *sample, *name;
    bool sockets;
    uint64_t more, less; /* bits that differ from the traits */
} others[] = {
    {"unix", "unix:@{name}", "unix@", false, 0, 0},
    {"unix+seqpacket", "unix+seqpacket:@{name}", "unix+seqpacket@", false, 0, 0},
    {"unix+dgram", "unix+dgram:@{name}?uid=any", "unix+dgram@", false, 0, 0},
    {"fd", "fd:{fds}", "fd(socket)", true, WHERRY_TRAIT_PEER, 0}, /* who is there is known, and it goes both ways */
    {"shm", "shm://{name}?share=0", "shm(share)", false, 0, 0},
    {"udp", "udp://{host}:{port}?seq=1", "udp(seq)", false, 0, 0},
    {"ip", "ip://{host}?proto=253&seq=1", "ip(seq)", false, 0, 0},
    {"file", "file://{path}?group=g", "file(group)", false, 0, WHERRY_TRAIT_FANS_OUT},
    {"file", "file://{path}?fsync=50ms", "file(fsync)", false, 0, 0},
    {"file", "file://{path}?fsync=each", "file(each)", false, 0, 0},
};

/* Before any test runs there is no test to fail. */
static void no_room(const char *what)
{
    fprintf(stderr, "conformance.c: there are more %s than its table has room for\n", what);
    exit(2);
}

static struct subject *new_subject(const struct wherry_traits *traits, enum frame frame)
{
    if (subject_count == SUBJECTS)
        no_room("subjects");
    struct subject *subject = &subjects[subject_count++];
    *subject = (struct subject){.traits = traits, .sample = traits->sample, .frame = frame, .bits = traits->bits};
    if (traits->bits & WHERRY_TRAIT_DESCRIPTOR) /* pipes, unless said otherwise */
        subject->bits &= ~WHERRY_TRAIT_DUPLEX;
    return subject;
}

static void add_subjects(const struct wherry_traits *traits)
{
    bool stream = (traits->bits & WHERRY_TRAIT_STREAM) != 0;
    for (size_t i = 0; i < (stream ? sizeof frames / sizeof *frames : 1); i++) {
        struct subject *subject = new_subject(traits, stream ? frames[i].frame : NONE);
        snprintf(subject->name, sizeof subject->name, "%s%s", traits->scheme, stream ? frames[i].name : "");
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcmp(others[i].scheme, traits->scheme) != 0)
            continue;
        struct subject *subject = new_subject(traits, stream ? LENGTH : NONE);
        subject->sample = others[i].sample;
        subject->sockets = others[i].sockets;
        subject->bits = (traits->bits | others[i].more) & ~others[i].less;
        snprintf(subject->name, sizeof subject->name, "%s", others[i].name);
    }
}

/* ---- the cases ------------------------------------------------------------------------------------------------- */

void case_add(struct clause_case *new_case)
{
    struct clause_case **place = &cases;
    while (*place && strcmp((*place)->name, new_case->name) < 0)
        place = &(*place)->next;
    new_case->next = *place;
    *place = new_case;
}

static int clause_of(const struct clause_case *c)
{
    return atoi(c->name);
}

static bool concerns(const struct clause_case *c, const struct subject *subject)
{
    unsigned wanted = c->frames ? c->frames : NONE | LENGTH;
    uint64_t bits = subject->bits;
    return (wanted & subject->frame) && (bits & c->needs) == c->needs && !(bits & c->lacks) &&
           (!c->option || has_option(subject, c->option)) && (!c->when || c->when(subject));
}

static void add_runs(const struct subject *subject)
{
    for (const struct clause_case *c = cases; c; c = c->next) {
        if (!concerns(c, subject))
            continue;
        if (run_count == RUNS)
            no_room("cases");
        struct run *run = &runs[run_count++];
        *run = (struct run){.c = c, .subject = subject};
        snprintf(run->name, sizeof run->name, "%s/%s", subject->name, c->name);
    }
}

static void build(void)
{
    size_t count;
    double_install();
    const struct wherry_traits *const *transports = wherry_transports(&count);
    for (size_t i = 0; i < count; i++)
        add_subjects(transports[i]);
    for (size_t i = 0; i < subject_count; i++)
        add_runs(&subjects[i]);
}

static size_t run_total(void)
{
    if (run_count == 0)
        build();
    return run_count;
}

static const char *run_name(size_t index)
{
    return runs[index].name;
}

/* Said of each case, so that nobody takes them for run. */
static void need_rights(const struct subject *subject)
{
    if (!has_option(subject, WHERRY__OPTION_PROTO))
        return;
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 253);
    if (fd < 0 && errno == EPERM)
        test_skip("no CAP_NET_RAW, which raw IP sockets need");
    close(fd);
    test_needs(TEST_MULTICAST_ALL);
}

TEST_WITH(contract, .count = run_total, .entry = run_name, .seconds = 60)
{
    need_rights(runs[index].subject);
    runs[index].c->run(runs[index].subject);
}

/* ---- nothing escapes ------------------------------------------------------------------------------------------- */

TEST(the_public_list_is_the_table)
{
    size_t count, i = 0;
    const struct wherry_traits *const *list = wherry_transports(&count);
    for (; wherry__transports[i]; i++) {
        must(i < count && list[i] == &wherry__transports[i]->traits, "%s is not in the list",
             wherry__transports[i]->traits.scheme);
        ck_assert_ptr_eq(wherry__transport_find(list[i]->scheme), wherry__transports[i]);
    }
    ck_assert_uint_eq(i, count);
}

TEST(every_clause_meets_every_transport)
{
    size_t count;
    const struct wherry_traits *const *list = wherry_transports(&count);
    run_total();
    for (size_t t = 0; t < count; t++)
        for (int clause = 0; clause <= CLAUSES; clause++) {
            size_t met = 0;
            for (size_t i = 0; i < run_count; i++)
                met += runs[i].subject->traits == list[t] && clause_of(runs[i].c) == clause;
            must(met > 0, "no case of clause %d is run on %s", clause, list[t]->scheme);
        }
}

/* ---- --table --------------------------------------------------------------------------------------------------- */

static void print_names(const char *title)
{
    printf("%-26s", title);
    size_t count;
    const struct wherry_traits *const *list = wherry_transports(&count);
    for (size_t i = 0; i < count; i++)
        printf("  %s", list[i]->scheme);
    putchar('\n');
}

static void print_row(const char *title, uint64_t bit, int clause)
{
    size_t count;
    const struct wherry_traits *const *list = wherry_transports(&count);
    char label[64];
    snprintf(label, sizeof label, clause ? "%s [%d]" : "%s", title, clause);
    printf("%-26s", label);
    for (size_t i = 0; i < count; i++)
        printf("  %-*s", (int)strlen(list[i]->scheme), list[i]->bits & bit ? "yes" : "-");
    putchar('\n');
}

static void print_table(void)
{
    static const int clause_of_bit[] = {0, 0, 0, 0, 0, 0, 0, 1, 3, 4, 4, 5, 6, 7, 7, 7, 8, 9, 10, 11, 13, 14, 16};
    print_names("trait [clause]");
    for (size_t i = 0; wherry_trait_name(UINT64_C(1) << i); i++)
        print_row(wherry_trait_name(UINT64_C(1) << i), UINT64_C(1) << i,
                  i < sizeof clause_of_bit / sizeof *clause_of_bit ? clause_of_bit[i] : 0);
    size_t count;
    const struct wherry_traits *const *list = wherry_transports(&count);
    puts("");
    for (size_t i = 0; i < count; i++) {
        printf("%-16s %s; largest message: ", list[i]->scheme, list[i]->object);
        if (list[i]->largest)
            printf("%llu bytes\n", (unsigned long long)list[i]->largest);
        else
            puts("no limit of its own");
    }
}

/* The harness owns main() and its command line, so the one more word is looked for before. */
__attribute__((constructor)) static void table_instead_of_tests(void)
{
    char line[4096] = "";
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    size_t first = strlen(line) + 1;
    if (size <= (ssize_t)first || strcmp(line + first, "--table") != 0)
        return;
    print_table();
    exit(0);
}
