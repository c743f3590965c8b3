/* inspect/doctor.c - owns the list of findings, and the order in which its parts are asked.
 *
 * SPDX-License-Identifier: MIT
 *
 * What is looked at is in doctor_*.c; how files are read in doctor_read.c. */
#include "inspect/doctor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/why.h"

struct finding *wherry__doctor_add(struct wherry_inspect_findings *findings, const char *name,
                                   enum wherry_inspect_level level)
{
    /* the tables have fewer rows than that; the last is better overwritten than lost memory */
    struct finding *finding = &findings->list[findings->count];
    if (findings->count < DOCTOR_MOST - 1)
        findings->count++;
    finding->public = (struct wherry_inspect_finding){
        .name = name, .value = finding->value, .effect = finding->effect, .remedy = finding->remedy, .level = level};
    finding->value[0] = finding->effect[0] = finding->remedy[0] = 0;
    return finding;
}

struct finding *wherry__doctor_add_use(struct wherry_inspect_findings *findings, const char *name, uint64_t used,
                                       uint64_t most)
{
    double share = most ? (double)used / (double)most : 1;
    struct finding *finding = wherry__doctor_add(findings, name,
                                                 share >= 0.95  ? WHERRY_INSPECT_WARNING
                                                 : share >= 0.8 ? WHERRY_INSPECT_NOTE
                                                                : WHERRY_INSPECT_FINE);
    snprintf(finding->value, sizeof finding->value, "%llu of %llu", (unsigned long long)used, (unsigned long long)most);
    return finding;
}

int wherry_inspect_check(struct wherry_inspect_findings **ret_findings)
{
    struct wherry_inspect_findings *findings = calloc(1, sizeof *findings);
    if (!findings)
        return wherry__fail(ENOMEM, "no memory for what is found of this host's limits");
    wherry__doctor_memory(findings);
    wherry__doctor_limits(findings);
    wherry__doctor_use(findings);
    wherry__doctor_sight(findings);
    wherry__doctor_logind(findings);
    *ret_findings = findings;
    return 0;
}

void wherry_inspect_findings_free(struct wherry_inspect_findings *findings)
{
    free(findings);
}

const struct wherry_inspect_finding *wherry_inspect_finding(const struct wherry_inspect_findings *found, size_t index)
{
    return index < found->count ? &found->list[index].public : NULL;
}
