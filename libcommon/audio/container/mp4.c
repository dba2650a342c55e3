/* MP4 and related containers: boxes. FFmpeg reads the index of packets (input.c checks it). */
#include "libcommon/audio/container/bytes.h"

#include <stdio.h>
#include <string.h>

/* Finds the end of the segments in an index of segments (sidx), whose offsets count from its own end. */
static void hold_segments(mert_bytes *b, mert_whole *w, int64_t at, int64_t end)
{
    unsigned char head[12], entry[4];
    uint64_t total;
    int64_t field = at + 12;
    int wide, n;
    if (!mert_bytes_read(b, at, head, 12))
        return;
    wide = head[0] ? 8 : 4;
    if (!mert_bytes_read(b, field + wide, head, (size_t)wide))
        return;
    total = mert_big(head, wide);
    field += 2 * wide + 2;
    if (!mert_bytes_read(b, field, head, 2))
        return;
    n = (int)mert_big(head, 2);
    for (int i = 0; i < n; i++) {
        if (!mert_bytes_read(b, field + 2 + 12 * (int64_t)i, entry, 4))
            return;
        total += mert_big(entry, 4) & 0x7fffffff;
    }
    mert_whole_hold(w, b, "its index of segments", end, total);
}

void mert_check_mp4(mert_bytes *b, mert_whole *w)
{
    unsigned char box[16];
    char what[16];
    uint64_t size;
    int head;
    for (int64_t at = 0; mert_bytes_read(b, at, box, 8); at += (int64_t)size) {
        size = mert_big(box, 4);
        head = size == 1 ? 16 : 8;
        if (size == 1 && mert_bytes_read(b, at, box, 16))
            size = mert_big(box + 8, 8);
        if (size < (uint64_t)head) /* 0: to the end of the file */
            return;
        snprintf(what, sizeof what, "its box %.4s", box + 4);
        if (!memcmp(box + 4, "mdat", 4) || !memcmp(box + 4, "moof", 4) || !memcmp(box + 4, "moov", 4))
            mert_whole_hold(w, b, what, at, size);
        if (size > (uint64_t)b->size)
            return;
        if (!memcmp(box + 4, "sidx", 4))
            hold_segments(b, w, at + head, at + (int64_t)size);
    }
}
