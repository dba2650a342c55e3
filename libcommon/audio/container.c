#define _GNU_SOURCE
#include "container.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    OGG_HEAD = 27,
    OGG_PAGE_MAX = OGG_HEAD + 255 + 255 * 255,
    OGG_FIRST = 2,
    OGG_LAST = 4,
    STREAMS_MAX = 64,
    WINDOW = 1 << 18
};

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

/* A piece of the file, always with a whole page in it unless the file ends before. */
typedef struct window {
    FILE *f;
    size_t at, n;
    int64_t pos;    /* in the file, of data[at] */
    unsigned char data[WINDOW];
} window;

static size_t look(window *w)
{
    if (w->n - w->at < OGG_PAGE_MAX) {
        memmove(w->data, w->data + w->at, w->n - w->at);
        w->n -= w->at;
        w->at = 0;
        w->n += fread(w->data + w->n, 1, WINDOW - w->n, w->f);
    }
    return w->n - w->at;
}

static void pass(window *w, size_t n)
{
    w->at += n;
    w->pos += (int64_t)n;
}

/* To the next page. Tags or zeros between pages or behind the last one do no harm; a missing page shows by its number.
 * 0: none. */
static int find_page(window *w)
{
    size_t left;
    while ((left = look(w)) >= 4) {
        const unsigned char *p = w->data + w->at, *found = memmem(p, left, "OggS", 4);
        pass(w, found ? (size_t)(found - p) : left - 3);
        if (found)
            return 1;
    }
    return 0;
}

/* What is wrong with the page at hand, or NULL. */
static const char *page_fault(window *w, const uint32_t table[256], ogg_streams *streams, size_t *size)
{
    size_t left = look(w);
    const unsigned char *p = w->data + w->at;
    *size = ogg_page_size(p, left);
    if (!*size)
        return "an Ogg page is cut off";
    if (ogg_crc(table, p, *size) != little(p + 22))
        return "an Ogg page with a wrong checksum";
    return ogg_number_fits(streams, p) ? NULL : "an Ogg page is missing";
}

int mert_ogg_check(const char *path, int64_t *at, mert_error *why)
{
    window *w = calloc(1, sizeof *w);
    ogg_streams streams = {0};
    uint32_t table[256];
    const char *wrong = NULL;
    size_t size = 0, left;
    int last = 0, bad;
    *at = -1;
    if (!w || !(w->f = fopen(path, "rb"))) {
        mert_fail(why, "%s", strerror(errno));
        free(w);
        return -1;
    }
    ogg_crc_table(table);
    while (!wrong && (left = look(w))) {
        if (left < 4 || memcmp(w->data + w->at, "OggS", 4)) {
            int64_t here = w->pos;
            if (find_page(w))
                continue;
            if (!last) {
                wrong = "no Ogg page";
                w->pos = here;
            }
            break;
        }
        if (!(wrong = page_fault(w, table, &streams, &size))) {
            last = w->data[w->at + 5] & OGG_LAST;
            pass(w, size);
        }
    }
    if (!wrong && !last)
        wrong = "an Ogg stream without its last page";
    if (wrong) {
        *at = w->pos;
        mert_fail(why, "%s at byte %lld", wrong, (long long)w->pos);
    }
    bad = ferror(w->f) ? mert_fail(why, "cannot read: %s", strerror(errno)) : 0;
    fclose(w->f);
    free(w);
    return bad;
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
