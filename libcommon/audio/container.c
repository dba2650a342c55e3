#define _GNU_SOURCE
#include "container.h"

#include "../../formats/file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { OGG_HEAD = 27, OGG_FIRST = 2, OGG_LAST = 4, STREAMS_MAX = 64 };

static uint32_t little(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- Ogg ---- */

/* CRC-32 with polynomial 0x04c11db7, most significant bit first, beginning with zero; its own field counts as zeros. */
static uint32_t ogg_crc(const uint32_t table[256], const unsigned char *page, size_t size)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < size; i++)
        crc = crc << 8 ^ table[(crc >> 24 ^ (i >= 22 && i < 26 ? 0 : page[i])) & 255];
    return crc;
}

static void ogg_crc_table(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i << 24;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] << 1 ^ (table[i] >> 31 ? 0x04c11db7 : 0);
    }
}

/* Bytes of the page at p, 0 if they are not all there. */
static size_t ogg_page_size(const unsigned char *p, size_t left)
{
    size_t size = OGG_HEAD;
    if (left < size || left < (size += p[26]))
        return 0;
    for (int i = 0; i < p[26]; i++)
        size += p[OGG_HEAD + i];
    return left < size ? 0 : size;
}

/* Logical streams may be multiplexed or follow each other; pages of each are numbered without gaps. */
typedef struct ogg_streams {
    int n;
    struct { uint32_t serial, next; } of[STREAMS_MAX];
} ogg_streams;

static int ogg_number_fits(ogg_streams *s, const unsigned char *page)
{
    uint32_t serial = little(page + 14), number = little(page + 18);
    int i = 0, fits;
    while (i < s->n && s->of[i].serial != serial)
        i++;
    if (i == STREAMS_MAX)
        return 1;
    fits = i == s->n || s->of[i].next == number || page[5] & OGG_FIRST;
    s->n += i == s->n;
    s->of[i].serial = serial;
    s->of[i].next = number + 1;
    return fits;
}

int mert_ogg_check(const char *path, int64_t *at, mert_error *why)
{
    mert_mapping m;
    ogg_streams streams = {0};
    uint32_t table[256];
    size_t pos = 0, size;
    int last = 0;
    if (mert_mapping_open(&m, path, why))
        return -1;
    ogg_crc_table(table);
    *at = -1;
    while (pos < m.size) {
        const unsigned char *p = m.data + pos;
        size_t left = m.size - pos;
        if (left < 4 || memcmp(p, "OggS", 4)) {
            /* Tags or zeros between pages or behind the last one do no harm; a missing page shows by its number. */
            const unsigned char *next = memmem(p, left, "OggS", 4);
            if (!next && !last)
                break;
            pos = next ? (size_t)(next - m.data) : m.size;
            continue;
        }
        if (!(size = ogg_page_size(p, left)) || ogg_crc(table, p, size) != little(p + 22) ||
            !ogg_number_fits(&streams, p))
            break;
        last = p[5] & OGG_LAST;
        pos += size;
    }
    if (pos < m.size) {
        *at = (int64_t)pos;
        size = ogg_page_size(m.data + pos, m.size - pos);
        mert_fail(why, "%s at byte %zu", memcmp(m.data + pos, "OggS", m.size - pos < 4 ? m.size - pos : 4) ? "no Ogg page" :
                  !size ? "an Ogg page is cut off" :
                  ogg_crc(table, m.data + pos, size) != little(m.data + pos + 22) ? "an Ogg page with a wrong checksum" :
                  "an Ogg page is missing", pos);
    }
    mert_mapping_close(&m);
    return 0;
}

/* ---- WAV ---- */

enum { PIPE_SIZE_MIN = 0x7ffff000 }; /* programs that write into a pipe put such sizes, or 0 */

int64_t mert_wav_missing(const char *path)
{
    unsigned char head[12], chunk[8], ds64[16];
    struct stat s;
    int64_t big = 0, size, missing = 0;
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    if (fstat(fileno(f), &s) || !S_ISREG(s.st_mode) || fread(head, 1, 12, f) != 12 ||
        (memcmp(head, "RIFF", 4) && memcmp(head, "RF64", 4)) || memcmp(head + 8, "WAVE", 4))
        goto done;
    while (fread(chunk, 1, 8, f) == 8) {
        size = little(chunk + 4);
        if (!memcmp(chunk, "ds64", 4) && size >= 16) {
            if (fread(ds64, 1, 16, f) != 16)
                break;
            big = (int64_t)little(ds64 + 8) | (int64_t)little(ds64 + 12) << 32;
            size -= 16;
        } else if (!memcmp(chunk, "data", 4)) {
            if (size == 0xffffffff && big > 0)
                size = big;
            else if (size >= PIPE_SIZE_MIN)
                break;
            missing = size - (s.st_size - ftello(f));
            break;
        }
        if (fseeko(f, size + (size & 1), SEEK_CUR))
            break;
    }
done:
    fclose(f);
    return missing > 0 ? missing : 0;
}
