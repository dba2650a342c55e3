/* Corrects the checksums of changed Ogg pages, because a page with a wrong checksum is not parsed further. */
#ifndef MERT_FUZZ_OGG_PAGES_H
#define MERT_FUZZ_OGG_PAGES_H

#include "tests/fuzz/fuzz.h"

enum { OGG_HEAD = 27, OGG_CRC = 22 };

/* The size of the page at p, where n bytes are available; 0: it is cut off. */
static inline size_t ogg_page_size(const uint8_t *p, size_t n)
{
    size_t size = OGG_HEAD;
    if (n < size || n < (size += p[26]))
        return 0;
    for (int i = 0; i < p[26]; i++)
        size += p[OGG_HEAD + i];
    return n < size ? 0 : size;
}

static inline void ogg_mend_page(uint8_t *p, size_t size)
{
    uint32_t crc = 0;
    memset(p + OGG_CRC, 0, 4);
    for (size_t i = 0; i < size; i++) {
        crc ^= (uint32_t)p[i] << 24;
        for (int bit = 0; bit < 8; bit++)
            crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7 : 0);
    }
    for (int i = 0; i < 4; i++)
        p[OGG_CRC + i] = (uint8_t)(crc >> 8 * i);
}

/* A file with the input, with corrected checksums; NULL: there are no Ogg pages. */
static inline const char *ogg_mended(const char *name, const uint8_t *data, size_t size)
{
    uint8_t *copy = size ? malloc(size) : NULL, *page = copy;
    const char *path = NULL;
    size_t n;
    if (copy)
        memcpy(copy, data, size);
    while (page && (page = memmem(page, size - (size_t)(page - copy), "OggS", 4))) {
        if ((n = ogg_page_size(page, size - (size_t)(page - copy)))) {
            ogg_mend_page(page, n);
            path = name;
        }
        page += n ? n : 4;
    }
    if (path)
        path = fuzz_file(name, copy, size);
    free(copy);
    return path;
}

#endif
