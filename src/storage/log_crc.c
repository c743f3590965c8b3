/* storage/log_crc.c - owns CRC-32C: with the processor's instruction where it has one, else by tables.
 *
 * SPDX-License-Identifier: MIT
 *
 * One instruction takes 8 bytes, and gives its result 3 cycles later: so three runs of BLOCK bytes go side by side,
 * and two of the results are moved on by as many bytes of zeros as follow them, with tables. */
#include <pthread.h>
#include <stdbool.h>

#include "storage/log_layout.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#define POLYNOMIAL 0x82F63B78u /* of CRC-32C, reflected */
enum { BLOCK = 1360 };         /* of 8; three of them are some 4 KiB */

static uint32_t table[8][256];
static uint32_t skip[4][256]; /* a CRC after BLOCK zeros more, by its bytes */
static bool by_instruction;

static uint32_t by_table(uint32_t crc, const uint8_t *bytes, size_t size)
{
    for (; size >= 8; size -= 8, bytes += 8) {
        uint32_t low = wherry__load32(bytes) ^ crc, high = wherry__load32(bytes + 4);
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
              table[3][high & 255] ^ table[2][high >> 8 & 255] ^ table[1][high >> 16 & 255] ^ table[0][high >> 24];
    }
    for (; size > 0; size--)
        crc = table[0][(crc ^ *bytes++) & 255] ^ crc >> 8;
    return crc;
}

#if defined(__x86_64__)
#define WITH_INSTRUCTION __attribute__((target("sse4.2")))
#define STEP8(crc, word) ((uint32_t)__builtin_ia32_crc32di((crc), (word)))
#define STEP1(crc, byte) __builtin_ia32_crc32qi((crc), (byte))
static bool has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__)
#define WITH_INSTRUCTION
static inline uint32_t STEP8(uint32_t crc, uint64_t word)
{
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
    return crc;
}
static inline uint32_t STEP1(uint32_t crc, uint8_t byte)
{
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)byte));
    return crc;
}
static bool has_instruction(void)
{
    return getauxval(AT_HWCAP) & 1u << 7; /* HWCAP_CRC32 */
}
#endif

#ifdef WITH_INSTRUCTION
static inline uint32_t moved(uint32_t crc)
{
    return skip[0][crc & 255] ^ skip[1][crc >> 8 & 255] ^ skip[2][crc >> 16 & 255] ^ skip[3][crc >> 24];
}

WITH_INSTRUCTION static uint32_t by_hardware(uint32_t crc, const uint8_t *bytes, size_t size)
{
    for (; size >= 3 * BLOCK; size -= 3 * BLOCK, bytes += 3 * BLOCK) {
        uint32_t a = crc, b = 0, c = 0;
        for (size_t i = 0; i < BLOCK; i += 8) {
            a = STEP8(a, wherry__load64(bytes + i));
            b = STEP8(b, wherry__load64(bytes + BLOCK + i));
            c = STEP8(c, wherry__load64(bytes + 2 * (size_t)BLOCK + i));
        }
        crc = moved(moved(a) ^ b) ^ c;
    }
    for (; size >= 8; size -= 8, bytes += 8)
        crc = STEP8(crc, wherry__load64(bytes));
    for (; size > 0; size--)
        crc = STEP1(crc, *bytes++);
    return crc;
}
#endif

static void make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        table[0][i] = crc;
    }
    for (int t = 1; t < 8; t++)
        for (uint32_t i = 0; i < 256; i++)
            table[t][i] = table[0][table[t - 1][i] & 255] ^ table[t - 1][i] >> 8;
    static const uint8_t zeros[BLOCK];
    for (int byte = 0; byte < 4; byte++)
        for (uint32_t i = 0; i < 256; i++)
            skip[byte][i] = by_table(i << 8 * byte, zeros, BLOCK);
#ifdef WITH_INSTRUCTION
    by_instruction = has_instruction();
#endif
}

uint32_t wherry__log_crc(uint32_t crc, const void *data, size_t size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_tables);
#ifdef WITH_INSTRUCTION
    if (__builtin_expect(by_instruction, 1))
        return ~by_hardware(~crc, data, size);
#endif
    return ~by_table(~crc, data, size);
}
