/* base/shared.h - what libwherry-inspect takes from libwherry beside the public names.
 *
 * SPDX-License-Identifier: MIT
 *
 * Such a name is in the shared library's list, with two underscores, and is nobody else's: it may change with every
 * version, and both libraries are of one.  "protected": calls within libwherry cost what they cost when it was hidden.
 * Who uses it from outside (WHERRY__OUTSIDE, meson.build) may not say so, or the linker looks for it there. */
#ifndef WHERRY_BASE_SHARED_H
#define WHERRY_BASE_SHARED_H

#ifdef WHERRY__OUTSIDE
#define WHERRY__SHARED __attribute__((visibility("default")))
#else
#define WHERRY__SHARED __attribute__((visibility("protected")))
#endif

#endif
