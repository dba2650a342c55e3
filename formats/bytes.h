/* Reading bytes of files that are not trusted. */
#ifndef MERT_BYTES_H
#define MERT_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* An unsigned number of 1 to 8 bytes, little endian. */
static inline uint64_t mert_le(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* A name as messages print it: printable characters only, and of bounded length. */
typedef struct mert_shown { char text[160]; } mert_shown;
mert_shown mert_show(const char *name, size_t size);

uint32_t mert_crc32(uint32_t crc, const unsigned char *data, size_t size); /* start with crc = 0 (zip's polynomial) */

#endif
