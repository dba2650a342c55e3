/* AIFF, AU, CAF: chunks with big-endian sizes. */
#include "libcommon/audio/container/bytes.h"

#include <inttypes.h>
#include <string.h>

/* Bytes per frame of uncompressed samples in AIFF or AIFC; 0: compressed. */
static int64_t aiff_frame(const unsigned char *comm, uint64_t size, int is_aifc)
{
    static const struct { char type[5]; int width; } plain[] = {
        {"NONE", 0}, {"twos", 0}, {"sowt", 0}, {"raw ", 0}, {"in24", 3}, {"in32", 4}, {"42ni", 3}, {"23ni", 4},
        {"fl32", 4}, {"FL32", 4}, {"fl64", 8}, {"FL64", 8}, {"ulaw", 1}, {"alaw", 1}, {"ULAW", 1}, {"ALAW", 1}};
    int64_t channels = (int64_t)mert_big(comm, 2), width = ((int64_t)mert_big(comm + 6, 2) + 7) / 8;
    if (!is_aifc)
        return channels * width;
    for (size_t i = 0; size >= 22 && i < sizeof plain / sizeof *plain; i++)
        if (!memcmp(comm + 18, plain[i].type, 4))
            return channels * (plain[i].width ? plain[i].width : width);
    return 0;
}

void mert_check_aiff(mert_bytes *b, mert_whole *w)
{
    unsigned char head[12], chunk[8], comm[22] = {0};
    uint64_t size, frames = 0;
    int64_t frame = 0, samples = -1;
    if (!mert_bytes_read(b, 0, head, 12))
        return;
    for (int64_t at = 12; mert_bytes_read(b, at, chunk, 8); at += 8 + (int64_t)(size + (size & 1))) {
        size = mert_big(chunk + 4, 4);
        if (!memcmp(chunk, "COMM", 4) && size >= 18 && mert_bytes_read(b, at + 8, comm, size < 22 ? 18 : 22)) {
            frames = mert_big(comm + 2, 4);
            frame = aiff_frame(comm, size, !memcmp(head + 8, "AIFC", 4));
        }
        if (!memcmp(chunk, "SSND", 4) && size >= 8 && mert_bytes_read(b, at + 8, chunk, 8)) {
            samples = (int64_t)size - 8 - (int64_t)mert_big(chunk, 4);
            mert_whole_hold(w, b, "its SSND chunk", at + 8, size);
        }
    }
    if (!*w->cut.text && frame > 0 && samples >= 0 && (int64_t)frames > samples / frame)
        mert_fail(&w->cut, "its COMM chunk promises %" PRIu64 " frames, its SSND chunk has %" PRId64, frames,
                  samples / frame);
}

void mert_check_au(mert_bytes *b, mert_whole *w)
{
    const unsigned char *p = mert_bytes_at(b, 0, 12);
    int64_t data = p ? (int64_t)mert_big(p + 4, 4) : 0;
    uint64_t size = p ? mert_big(p + 8, 4) : 0;
    if (!size || size == 0xffffffff) /* written into a pipe */
        return;
    mert_whole_hold(w, b, "its header", data, size);
    w->end = b->base + data + (int64_t)size; /* FFmpeg would read on, even tags */
}

void mert_check_caf(mert_bytes *b, mert_whole *w)
{
    unsigned char chunk[12];
    uint64_t size;
    for (int64_t at = 8; mert_bytes_read(b, at, chunk, 12); at += 12 + (int64_t)size) {
        size = mert_big(chunk + 4, 8);
        if (!memcmp(chunk, "data", 4))
            mert_whole_hold(w, b, "its data chunk", at + 12, size);
        if (size > (uint64_t)b->size)
            return;
    }
}
