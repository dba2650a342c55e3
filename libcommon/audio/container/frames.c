/* ADTS, AC-3, E-AC-3: a sequence of frames, each with its own size, and tags before and after. */
#include "libcommon/audio/container/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FRAME_HEAD = 7 };

/* The size of a frame, from its header of FRAME_HEAD bytes; 0: not a frame. */
typedef int frame_size(const unsigned char *p);

static int adts_size(const unsigned char *p)
{
    int size = (p[3] & 3) << 11 | p[4] << 3 | p[5] >> 5;
    return p[0] == 0xff && (p[1] & 0xf6) == 0xf0 && size >= FRAME_HEAD ? size : 0;
}

/* ATSC A/52, table 5.18, and for E-AC-3 annex E, frmsiz. */
static int ac3_size(const unsigned char *p)
{
    static const int kbps[19] = {32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224,
                                 256, 320, 384, 448, 512, 576, 640};
    int code = p[4] & 63;
    if (p[0] != 0x0b || p[1] != 0x77)
        return 0;
    if (p[5] >> 3 > 10)
        return 2 * (((p[2] & 7) << 8 | p[3]) + 1);
    if (code >= 38)
        return 0;
    switch (p[4] >> 6) {
    case 0: return 4 * kbps[code / 2];
    case 1: return 2 * (320 * kbps[code / 2] / 147 + (code & 1));
    case 2: return 6 * kbps[code / 2];
    default: return 0;
    }
}

/* Whether there is another frame at or after `at`, followed directly by a frame or the end of the file. */
static int another(mert_bytes *b, int64_t at, frame_size *size_of)
{
    const unsigned char *p;
    int size;
    for (; (p = mert_bytes_at(b, at, FRAME_HEAD)); at++)
        if ((size = size_of(p)) > 0 && (size == b->size - at ||
            ((p = mert_bytes_at(b, at + size, FRAME_HEAD)) && size_of(p) > 0)))
            return 1;
    return 0;
}

static void check(mert_bytes *b, mert_whole *w, frame_size *size_of, unsigned char sync)
{
    unsigned char head[FRAME_HEAD];
    char what[64];
    int64_t at = 0;
    int size;
    while (mert_bytes_read(b, at, head, FRAME_HEAD) && (size = size_of(head)) > 0) {
        snprintf(what, sizeof what, "its last frame, at byte %" PRId64 ",", b->base + at);
        if (size > b->size - at)
            mert_whole_hold(w, b, what, at, (uint64_t)size);
        at += size;
    }
    if (at == 0 || at >= b->size)
        return;
    if (b->size - at < FRAME_HEAD && mert_bytes_read(b, at, head, 1) && head[0] == sync)
        mert_fail(&w->cut, "its last frame, at byte %" PRId64 ", has a header of %d bytes, %" PRId64 " are there",
                  b->base + at, FRAME_HEAD, b->size - at);
    else if (!another(b, at, size_of)) /* tags, zeros, or other bytes that programs append */
        w->end = b->base + at;
}

void mert_check_adts(mert_bytes *b, mert_whole *w) { check(b, w, adts_size, 0xff); }
void mert_check_ac3(mert_bytes *b, mert_whole *w) { check(b, w, ac3_size, 0x0b); }
