/* wherry/wherry.h - the umbrella: every public header of libwherry.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_H
#define WHERRY_H

#include <wherry/barrier.h>
#include <wherry/base.h>
#include <wherry/channel.h>
#include <wherry/condition.h>
#include <wherry/event.h>
#include <wherry/lock.h>
#include <wherry/map.h>
#include <wherry/mutex.h>
#include <wherry/process.h>
#include <wherry/queue.h>
#include <wherry/ring.h>
#include <wherry/rwlock.h>
#include <wherry/segment.h>
#include <wherry/semaphore.h>
#include <wherry/server.h>
#include <wherry/signal.h>
#include <wherry/supervise.h>
#include <wherry/traits.h>

#endif
