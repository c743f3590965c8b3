/* wherry/wherry.h - the umbrella: every public header of libwherry.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_H
#define WHERRY_H

#include <wherry/base.h>
#include <wherry/channel.h>
#include <wherry/ring.h>
#include <wherry/traits.h>

#endif
