/* main.c - the command: dispatch over the table of verbs.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "options.h"

static const struct verb *const verbs[] = {
    &verb_send, &verb_recv, &verb_relay, &verb_echo, &verb_ask, &verb_stat, &verb_transports,
};

enum { VERBS = sizeof verbs / sizeof *verbs };

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static int print_help(void)
{
    printf("Usage: wherry VERB [options] [operands]\n\n"
           "Carries messages between processes over any object the kernel has for it.\n\n");
    for (size_t i = 0; i < VERBS; i++)
        printf("  %-11s %s\n", verbs[i]->name, verbs[i]->summary);
    printf("  %-11s %s\n", "help", "what a verb does: wherry help VERB");
    printf("\n"
           "Channels are named by URLs such as fifo:./queue, unix:///run/x.sock, unix:@name,\n"
           "fd:3; 'wherry transports' lists them.  Options go in the query:\n"
           "unix:./s?frame=line&mode=0660.  Read on in wherry(1) and wherry-semantics(7).\n");
    return finish_printing(TOOL_OK);
}

static int help(int argc, char **argv)
{
    if (argc < 2)
        return print_help();
    if (argc > 2)
        return misuse(NULL, "help: expects no more than one verb");
    const struct verb *verb = find_verb(argv[1]);
    if (!verb)
        return misuse(NULL, "help: there is no verb \"%s\"", argv[1]);
    print_verb_help(verb);
    return finish_printing(TOOL_OK);
}

/* A standard descriptor that the caller closed would be given to the first socket, and messages would go where text was
 * meant to go.  What stands in for it fails, as the closed one would: it is open in the wrong direction. */
static int hold_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* the lowest free number is this one, since those below are open */
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return complain(TOOL_FAILED, "/dev/null: %s", strerror(errno));
    }
    return 0;
}

int main(int argc, char **argv)
{
    int code = hold_standard_descriptors();
    if (code != 0)
        return code;
    if (argc < 2)
        return misuse(NULL, "a verb is missing");
    const char *name = argv[1];
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0)
        return print_help();
    if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0) {
        printf("wherry %s\n", wherry_version());
        return finish_printing(TOOL_OK);
    }
    if (strcmp(name, "help") == 0)
        return help(argc - 1, argv + 1);
    const struct verb *verb = find_verb(name);
    if (!verb)
        return misuse(NULL, name[0] == '-' ? "unknown option %s" : "there is no verb \"%s\"", name);
    return verb->run(verb, argc - 1, argv + 1);
}
