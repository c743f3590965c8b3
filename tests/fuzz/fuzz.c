/* tests/fuzz/fuzz.c - owns the choice of the target: WHERRY_FUZZ=ancillary, config, log, stream, parts or ring.
 *
 * SPDX-License-Identifier: MIT
 *
 * One program for libFuzzer, since it is built from all of src/ with coverage; the build runs it once a target, with a
 * fixed seed. */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    void (*run)(const uint8_t *data, size_t size);
} targets[] = {{"ancillary", fuzz_ancillary},
             {"config", fuzz_config},
             {"log", fuzz_log},
             {"stream", fuzz_stream},
             {"parts", fuzz_parts},
             {"ring", fuzz_ring}};

static void (*target)(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("WHERRY_FUZZ");
    (void)argc, (void)argv;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        if (name && strcmp(name, targets[i].name) == 0)
            target = targets[i].run;
    if (!target) {
        fprintf(stderr, "WHERRY_FUZZ must be ancillary, config, log, stream, parts or ring\n");
        exit(2);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target(data, size);
    return 0;
}

void fuzz_must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "violated: %s\n", what);
    abort();
}

unsigned fuzz_byte(struct fuzz_input *input)
{
    return input->left ? (input->left--, *input->data++) : 0;
}

unsigned fuzz_word(struct fuzz_input *input)
{
    unsigned high = fuzz_byte(input);
    return high << 8 | fuzz_byte(input);
}
