/* main.c - the command: dispatch to a verb.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "verbs.h"

static int print_help(void)
{
    verbs_print();
    return finish_printing(TOOL_OK);
}

/* As misuse(), naming the verb that may have been meant. */
static int no_verb(const char *name)
{
    const struct verb *nearest = verb_nearest(name);
    if (!nearest)
        return misuse(NULL, "there is no verb \"%s\"", name);
    return complain(TOOL_USAGE, "there is no verb \"%s\"; did you mean '%s'?", name, nearest->name);
}

static int help(int argc, char **argv)
{
    if (argc < 2)
        return print_help();
    if (argc > 2)
        return misuse(NULL, "help: expects no more than one verb");
    const struct verb *verb = verb_find(argv[1]);
    if (!verb || verb == &verb_complete)
        return no_verb(argv[1]);
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
    setlocale(LC_CTYPE, ""); /* tables show the characters of the terminal's encoding */
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
    const struct verb *verb = verb_find(name);
    if (!verb)
        return name[0] == '-' ? misuse(NULL, "unknown option %s", name) : no_verb(name);
    return verb->run(verb, argc - 1, argv + 1);
}
