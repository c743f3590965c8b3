/* base/options.c - owns the reading of structs of options.
 *
 * SPDX-License-Identifier: MIT */
#include "base/options.h"

#include <errno.h>
#include <string.h>

#include "base/size.h"
#include "base/why.h"

int wherry__options_read(void *ret, size_t known, const void *given, size_t least, const char *name, const char *macro)
{
    size_t size;
    const char *bytes = given;
    if (!given)
        return 0;
    memcpy(&size, given, sizeof size);
    if (size == 0)
        return wherry__fail(EINVAL, "%s: the options have no size; begin with %s", name, macro);
    if (size < least)
        return wherry__fail(EINVAL,
                            "%s: the size of the options is %zu, less than any version of wherry has; begin with %s",
                            name, size, macro);
    if (size > (size_t)1 << 20)
        return wherry__fail(E2BIG, "%s: the size of the options is %zu, which no version of wherry has", name, size);
    for (size_t i = known; i < size; i++)
        if (bytes[i])
            return wherry__fail(E2BIG, "%s: the options ask for something that this version of wherry does not know",
                                name);
    memcpy(ret, given, wherry__size_min(size, known));
    memcpy(ret, &known, sizeof known);
    return 0;
}
