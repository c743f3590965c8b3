/* channel/sequence.c - owns the numbers on datagrams: writing them, and remembering which have come.
 *
 * SPDX-License-Identifier: MIT
 *
 * A sender's first datagram to arrive is where its count begins, whatever its number: what was sent before it may have
 * been another receiver's.  A sender that starts again has a new random number, and so is another one. */
#include "channel/sequence.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/size.h"
#include "base/time.h"

enum { HEADS = WHERRY__SEQUENCE_SENDERS, WORDS = WHERRY__SEQUENCE_WINDOW / 64 };
#define NOBODY UINT32_MAX
/* Nobody loses more in a row: hours of datagrams.  What claims to is no number of ours. */
#define MOST_LOST ((uint64_t)1 << 32)

static const char magic[4] = {'w', 'h', 's', '1'};

struct wherry__sequence_sender {
    uint64_t id, next;    /* the number after the highest that came */
    uint64_t first;       /* the first that came: those before it were not missed */
    uint64_t came[WORDS]; /* a bit for each number of the window below `next`, at number % WINDOW */
    uint32_t in_chain, newer, older;
};

static void store64(uint8_t *to, uint64_t value)
{
    wherry__store32(to, (uint32_t)value);
    wherry__store32(to + 4, (uint32_t)(value >> 32));
}

static uint64_t load64(const uint8_t *from)
{
    return wherry__load32(from) | (uint64_t)wherry__load32(from + 4) << 32;
}

uint64_t wherry__sequence_new_id(void)
{
    uint64_t id;
    if (getrandom(&id, sizeof id, GRND_NONBLOCK) != (ssize_t)sizeof id)
        id = (uint64_t)wherry_now() *
             0x9e3779b97f4a7c15u; /* early at boot; two senders at one nanosecond are unlikely */
    return id;
}

void wherry__sequence_write(uint8_t header[static WHERRY__SEQUENCE_HEADER], uint64_t id, uint64_t number)
{
    memcpy(header, magic, sizeof magic);
    store64(header + 4, id);
    store64(header + 12, number);
}

/* ---- who is known ---- */

struct memory {
    struct wherry__sequence_sender senders[WHERRY__SEQUENCE_SENDERS];
    uint32_t heads[HEADS];
};

static int init(struct wherry__sequences *sequences)
{
    struct memory *memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    memset(memory->heads, 0xff, sizeof memory->heads); /* NOBODY */
    *sequences = (struct wherry__sequences){memory->senders, memory->heads, .newest = NOBODY, .oldest = NOBODY};
    return 0;
}

void wherry__sequences_fini(struct wherry__sequences *sequences)
{
    if (sequences->senders)
        munmap(sequences->senders, sizeof(struct memory));
    *sequences = (struct wherry__sequences){.count = 0};
}

static uint32_t *head_of(struct wherry__sequences *sequences, uint64_t id)
{
    return &sequences->heads[id % HEADS]; /* random already; who chooses its own makes one chain longer */
}

static void unlink_age(struct wherry__sequences *sequences, const struct wherry__sequence_sender *sender)
{
    *(sender->newer == NOBODY ? &sequences->newest : &sequences->senders[sender->newer].older) = sender->older;
    *(sender->older == NOBODY ? &sequences->oldest : &sequences->senders[sender->older].newer) = sender->newer;
}

static void link_newest(struct wherry__sequences *sequences, uint32_t index)
{
    struct wherry__sequence_sender *sender = &sequences->senders[index];
    sender->newer = NOBODY;
    sender->older = sequences->newest;
    *(sequences->newest == NOBODY ? &sequences->oldest : &sequences->senders[sequences->newest].newer) = index;
    sequences->newest = index;
}

static struct wherry__sequence_sender *find(struct wherry__sequences *sequences, uint64_t id)
{
    if (sequences->newest != NOBODY && sequences->senders[sequences->newest].id == id)
        return &sequences->senders[sequences->newest];
    for (uint32_t i = *head_of(sequences, id); i != NOBODY; i = sequences->senders[i].in_chain) {
        if (sequences->senders[i].id != id)
            continue;
        unlink_age(sequences, &sequences->senders[i]);
        link_newest(sequences, i);
        return &sequences->senders[i];
    }
    return NULL;
}

static struct wherry__sequence_sender *add(struct wherry__sequences *sequences, uint64_t id, uint64_t number)
{
    uint32_t index = sequences->count;
    if (index < WHERRY__SEQUENCE_SENDERS) {
        sequences->count++;
    } else {
        index = sequences->oldest;
        const struct wherry__sequence_sender *oldest = &sequences->senders[index];
        unlink_age(sequences, oldest);
        uint32_t *at = head_of(sequences, oldest->id);
        while (*at != index)
            at = &sequences->senders[*at].in_chain;
        *at = oldest->in_chain;
    }
    struct wherry__sequence_sender *sender = &sequences->senders[index];
    *sender = (struct wherry__sequence_sender){
        .id = id, .next = number, .first = number, .in_chain = *head_of(sequences, id)};
    *head_of(sequences, id) = index;
    link_newest(sequences, index);
    return sender;
}

/* ---- numbers ---- */

static uint64_t bit_of(uint64_t number)
{
    return UINT64_C(1) << number % 64;
}

static uint64_t *word_of(struct wherry__sequence_sender *sender, uint64_t number)
{
    return &sender->came[number % WHERRY__SEQUENCE_WINDOW / 64];
}

/* From `next` up to `number`, whose places in the window are those of numbers that leave it. */
static void advance(struct wherry__sequence_sender *sender, uint64_t number)
{
    if (number - sender->next >= WHERRY__SEQUENCE_WINDOW)
        memset(sender->came, 0, sizeof sender->came);
    else
        for (uint64_t n = sender->next; n < number; n++)
            *word_of(sender, n) &= ~bit_of(n);
    *word_of(sender, number) |= bit_of(number);
    sender->next = number + 1;
}

int wherry__sequence_take(struct wherry__sequences *sequences, const uint8_t *data, size_t size, uint64_t *ret_lost)
{
    if (size < WHERRY__SEQUENCE_HEADER || memcmp(data, magic, sizeof magic) != 0)
        return WHERRY__SEQUENCE_MALFORMED;
    uint64_t id = load64(data + 4), number = load64(data + 12);
    if (number == UINT64_MAX)
        return WHERRY__SEQUENCE_MALFORMED;
    int result = sequences->senders ? 0 : init(sequences);
    if (result < 0)
        return result;
    struct wherry__sequence_sender *sender = find(sequences, id);
    if (!sender)
        sender = add(sequences, id, number);
    if (number >= sender->next) {
        if (number - sender->next > MOST_LOST)
            return WHERRY__SEQUENCE_MALFORMED;
        *ret_lost = number - sender->next;
        advance(sender, number);
        return WHERRY__SEQUENCE_NEXT;
    }
    if (sender->next - number > WHERRY__SEQUENCE_WINDOW || (*word_of(sender, number) & bit_of(number)))
        return WHERRY__SEQUENCE_TWICE;
    *word_of(sender, number) |= bit_of(number);
    *ret_lost = number >= sender->first;
    return WHERRY__SEQUENCE_LATE;
}
