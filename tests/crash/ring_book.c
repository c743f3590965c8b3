/* tests/crash/ring_book.c - owns the account of messages, and the verdict.
 *
 * SPDX-License-Identifier: MIT */
#include "crash/ring_book.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "unit/pattern.h"

static uint8_t bytes[BOOK_LARGEST];

void book_complain(struct book *book, const char *format, ...)
{
    va_list arguments;
    if (atomic_fetch_add(&book->complaints, 1) != 0)
        return;
    va_start(arguments, format);
    vsnprintf(book->complaint, sizeof book->complaint, format, arguments);
    va_end(arguments);
}

static const char *name_of(uint32_t number)
{
    static char name[2][32];
    static unsigned turn;
    static const char *const who[] = {"victim", "beside", "new", "beside2", "meanwhile", "waker"};
    turn ^= 1;
    snprintf(name[turn], sizeof name[turn], "%s's %u", number < BOOK_NUMBERS ? who[number / BOOK_EACH] : "nobody",
             number % BOOK_EACH);
    return name[turn];
}

/* ---- sending ---- */

uint32_t book_begin(struct book *book, enum book_who who, size_t size, uint8_t *data)
{
    uint32_t number = who * BOOK_EACH + book->next[who]++ % BOOK_EACH;
    book->entries[number].size = (uint32_t)size;
    pattern_fill(data, size, number);
    book->entries[number].sent = BOOK_BEGUN;
    return number;
}

void book_end(struct book *book, uint32_t number, int result)
{
    book->entries[number].sent = result == 0 ? BOOK_ACCEPTED : BOOK_REFUSED;
}

int book_say(struct book *book, struct wherry_channel *sender, enum book_who who, size_t size, wherry_time deadline)
{
    uint32_t number = book_begin(book, who, size, bytes);
    struct wherry_message message = {.data = bytes, .size = size, .type = number + 1};
    int result = wherry_channel_send_message(sender, &message, 0, deadline);
    book_end(book, number, result);
    return result;
}

/* ---- receiving ---- */

uint32_t book_recognize(const struct book *book, const void *data, size_t size)
{
    for (uint32_t number = 0; number < BOOK_NUMBERS; number++) {
        const struct book_entry *entry = &book->entries[number];
        if (entry->sent != BOOK_UNSENT && (entry->came == BOOK_NOT_YET || entry->came == BOOK_HELD) &&
            entry->size == size && pattern_is(data, size, number))
            return number;
    }
    return UINT32_MAX;
}

void book_note(struct book *book, const void *data, const struct wherry_info *info, enum book_came came)
{
    bool again = info->flags & WHERRY_REDELIVERED;
    uint32_t number = info->type == 0 ? book->in_call - 1 : (uint32_t)info->type - 1;
    if (number >= BOOK_NUMBERS || book->entries[number].sent == BOOK_UNSENT) {
        book_complain(book, "a message came that nobody sent: %zu bytes, type %lld", info->size, (long long)info->type);
        return;
    }
    struct book_entry *entry = &book->entries[number];
    if (info->size != entry->size)
        book_complain(book, "%s came torn: %zu bytes of %u", name_of(number), info->size, entry->size);
    else if (!pattern_is(data, info->size, number))
        book_complain(book, "%s came torn: other bytes from %zu of %zu on", name_of(number),
                      pattern_match(data, info->size, number), info->size);
    if (entry->sent == BOOK_REFUSED)
        book_complain(book, "%s came, which had been refused", name_of(number));
    if (entry->came == BOOK_CAME || (entry->came == BOOK_BY_VICTIM && came == BOOK_CAME))
        book_complain(book, "%s came twice%s", name_of(number), again ? ", the second time marked" : "");
    if (entry->came == BOOK_HELD && came == BOOK_CAME && !again)
        book_complain(book, "%s was held by the dead one and came unmarked", name_of(number));
    if ((entry->came == BOOK_HELD || again) && came == BOOK_CAME && book->lives)
        book_complain(book, "%s was taken from a living one%s", name_of(number), again ? ", and marked" : "");
    entry->again = again;
    entry->order = book->orders++;
    entry->at = wherry_now();
    entry->came = (entry->came == BOOK_HELD || entry->came == BOOK_RETURNED) && came == BOOK_CAME ? BOOK_CAME : came;
}

int book_take(struct book *book, struct wherry_channel *receiver, wherry_time deadline)
{
    struct wherry_info info;
    int result = wherry_channel_receive_info(receiver, bytes, sizeof bytes, &info, deadline);
    if (result == 1)
        book_note(book, bytes, &info, BOOK_CAME);
    return result;
}

/* ---- the verdict ---- */

static void judge_order(struct book *book)
{
    for (uint32_t who = 0; who < BOOK_SENDERS; who++) {
        uint32_t last = UINT32_MAX;
        for (uint32_t number = who * BOOK_EACH; number < (who + 1) * BOOK_EACH; number++) {
            const struct book_entry *entry = &book->entries[number];
            if (entry->came != BOOK_CAME)
                continue;
            if (last != UINT32_MAX && book->entries[last].order > entry->order)
                book_complain(book, "%s came after %s", name_of(last), name_of(number));
            last = number;
        }
    }
}

bool book_is_complete(const struct book *book)
{
    unsigned missing = 0;
    for (uint32_t number = 0; number < BOOK_NUMBERS; number++)
        missing += book->entries[number].sent == BOOK_ACCEPTED &&
                   (book->entries[number].came == BOOK_NOT_YET || book->entries[number].came == BOOK_HELD);
    return missing <= book->nameless;
}

void book_judge(struct book *book, unsigned grace, bool may_mark)
{
    unsigned lost = 0;
    for (uint32_t number = 0; number < BOOK_NUMBERS; number++) {
        const struct book_entry *entry = &book->entries[number];
        uint32_t came = entry->came;
        if (came == BOOK_CAME && entry->again && !may_mark)
            book_complain(book, "%s came marked, and nobody had held it", name_of(number));
        if (entry->sent != BOOK_ACCEPTED || came == BOOK_CAME || came == BOOK_BY_VICTIM || came == BOOK_RETURNED)
            continue;
        if (came == BOOK_HELD && (grace & BOOK_ITS_LOAN))
            continue;
        /* a message of 0 bytes that the victim got has no name: it is the first one that did not come */
        bool may_be_lost = came == BOOK_NOT_YET || (grace & BOOK_ONE) ||
                           book->nameless; /* one that another had held, who died before */
        if (may_be_lost && lost++ < book->nameless + (grace & BOOK_ONE))
            continue;
        book_complain(book, came == BOOK_HELD ? "%s was held by the dead one and never came again" : "%s is lost",
                      name_of(number));
    }
    judge_order(book);
}
