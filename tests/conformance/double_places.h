/* tests/conformance/double_places.h - breakages of what is around messages: names, waits, polls, forks, trust.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_DOUBLE_PLACES_H
#define WHERRY_TESTS_DOUBLE_PLACES_H

#include "double.h"

void double_reads_too_far(struct wherry__transport *transport);
void double_removes_anything(struct wherry__transport *transport);
void double_removes_nothing(struct wherry__transport *transport);
void double_robs_the_living(struct wherry__transport *transport);
void double_lives_on_in_children(struct wherry__transport *transport);
void double_waits_too_long(struct wherry__transport *transport);
void double_gives_up_early(struct wherry__transport *transport);
void double_signals_end_waits(struct wherry__transport *transport);
void double_misses_interrupts(struct wherry__transport *transport);
void double_is_never_readable(struct wherry__transport *transport);
void double_hides_read_ahead(struct wherry__transport *transport);
void double_is_always_readable(struct wherry__transport *transport);
void double_wakes_up_idly(struct wherry__transport *transport);
void double_unlinks_in_children(struct wherry__transport *transport);
void double_cannot_be_inherited(struct wherry__transport *transport);
void double_lets_strangers_in(struct wherry__transport *transport);
void double_believes_claims(struct wherry__transport *transport);
void double_takes_any_type(struct wherry__transport *transport);

#endif
