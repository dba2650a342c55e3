#include "formats/bytes.h"

#include <pthread.h>

/* CRC-32 of zip and zlib (reflected polynomial 0xedb88320), eight bytes per step by eight tables: table[k][b] is the
 * register after byte b and k zero bytes after it. */
static uint32_t table[8][256];
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t r = b;
        for (int i = 0; i < 8; i++)
            r = r >> 1 ^ (r & 1 ? 0xedb88320u : 0);
        table[0][b] = r;
    }
    for (int k = 1; k < 8; k++)
        for (int b = 0; b < 256; b++)
            table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 255];
}

uint32_t mert_crc32(uint32_t crc, const unsigned char *p, size_t size)
{
    uint32_t r = ~crc;
    pthread_once(&made, make_tables);
    for (; size >= 8; size -= 8, p += 8) {
        r ^= (uint32_t)mert_le(p, 4);
        r = table[7][r & 255] ^ table[6][r >> 8 & 255] ^ table[5][r >> 16 & 255] ^ table[4][r >> 24] ^
            table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    }
    for (; size; size--, p++)
        r = r >> 8 ^ table[0][(r ^ *p) & 255];
    return ~r;
}

mert_shown mert_show(const char *name, size_t size)
{
    mert_shown s;
    size_t n = 0;
    for (size_t i = 0; i < size && n + 4 < sizeof s.text; i++)
        s.text[n++] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    if (n < size)
        for (int i = 0; i < 3; i++)
            s.text[n++] = '.';
    s.text[n] = 0;
    return s;
}
