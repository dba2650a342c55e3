#include "libcommon/audio/container/riff.h"

#include "libcommon/audio/container/bytes.h"

#include <errno.h>
#include <string.h>

enum {
    PIPE_SIZE_MIN = 0x7ffff000,    /* sizes from here on, and 0, are written by programs that write into a pipe */
    TAG_PCM = 1, TAG_FLOAT = 3, TAG_ALAW = 6, TAG_MULAW = 7, TAG_EXTENSIBLE = 0xfffe
};

typedef struct wav {
    int big;               /* RIFX */
    int tag, channels, block, bits, valid;   /* valid 0: the header has no such field; tag 0: no format chunk */
    int64_t data;          /* position of the samples; 0: not found */
    uint64_t size;         /* their size in bytes; UINT64_MAX: not known */
} wav;

static uint64_t number(const wav *v, const unsigned char *p, int n)
{
    return v->big ? mert_big(p, n) : mert_little(p, n);
}

static void take_format(wav *v, mert_bytes *b, int64_t at, uint64_t size)
{
    const unsigned char *p = mert_bytes_at(b, at, size < 16 ? 14 : size < 40 ? 16 : 40);
    if (!p || size < 14)
        return;
    v->tag = (int)number(v, p, 2);
    v->channels = (int)number(v, p + 2, 2);
    v->block = (int)number(v, p + 12, 2);
    v->bits = size < 16 ? 8 : (int)number(v, p + 14, 2);
    if (v->tag == TAG_EXTENSIBLE && size >= 40) {
        v->valid = (int)number(v, p + 18, 2);
        v->tag = (int)number(v, p + 24, 4); /* the first field of the subformat is the classic format tag */
    }
}

/* ---- chunks ---- */

static void read_riff(wav *v, mert_bytes *b)
{
    unsigned char head[12], chunk[8], big[8];
    uint64_t size, long_size = 0;
    int64_t at = 12;
    if (!mert_bytes_read(b, 0, head, 12) || memcmp(head + 8, "WAVE", 4))
        return;
    v->big = !memcmp(head, "RIFX", 4);
    for (; mert_bytes_read(b, at, chunk, 8); at += (int64_t)(size + (size & 1))) {
        at += 8;
        size = number(v, chunk + 4, 4);
        if (!memcmp(chunk, "fmt ", 4))
            take_format(v, b, at, size);
        if (!memcmp(chunk, "ds64", 4) && mert_bytes_read(b, at + 8, big, 8))
            long_size = mert_little(big, 8);
        if (!memcmp(chunk, "data", 4)) {
            v->data = at;
            v->size = size == 0xffffffff && long_size ? long_size : size >= PIPE_SIZE_MIN || !size ? UINT64_MAX : size;
            return;
        }
    }
}

/* W64: like RIFF, but names have 16 bytes, sizes have 8 and include these 24, and chunks are aligned to 8 bytes. */
static void read_w64(wav *v, mert_bytes *b)
{
    unsigned char chunk[24];
    uint64_t size;
    for (int64_t at = 40; mert_bytes_read(b, at, chunk, 24) && !v->data; at += (int64_t)((size + 7) & ~UINT64_C(7))) {
        size = mert_little(chunk + 16, 8);
        if (!memcmp(chunk, "data", 4)) {
            v->data = at + 24;
            v->size = size <= 24 || size >> 56 ? UINT64_MAX : size - 24;
        }
        if (size >= 24 && !memcmp(chunk, "fmt ", 4))
            take_format(v, b, at + 24, size - 24);
        if (size < 24 || size > (uint64_t)b->size)
            return;
    }
}

static void read_any(wav *v, mert_bytes *b)
{
    const unsigned char *p = mert_bytes_at(b, 0, 4);
    memset(v, 0, sizeof *v);
    if (p && !memcmp(p, "riff", 4))
        read_w64(v, b);
    else if (p)
        read_riff(v, b);
}

static void hold_data(mert_bytes *b, mert_whole *w)
{
    wav v;
    read_any(&v, b);
    if (v.data)
        mert_whole_hold(w, b, "its data chunk", v.data, v.size);
}

void mert_check_wav(mert_bytes *b, mert_whole *w) { hold_data(b, w); }
void mert_check_w64(mert_bytes *b, mert_whole *w) { hold_data(b, w); }

/* A sequence of RIFF chunks, each with a list "movi" of packets. The size of RIFF itself is often wrong by a few
 * bytes. */
void mert_check_avi(mert_bytes *b, mert_whole *w)
{
    unsigned char head[12];
    uint64_t size;
    for (int64_t at = 0; mert_bytes_read(b, at, head, 12); at += 8 + (int64_t)(size + (size & 1))) {
        size = mert_little(head + 4, 4);
        if (!memcmp(head, "RIFF", 4))
            size = 4; /* into it */
        else if (!memcmp(head, "LIST", 4) && !memcmp(head + 8, "movi", 4))
            mert_whole_hold(w, b, "its list of packets", at + 8, size < PIPE_SIZE_MIN ? size : UINT64_MAX);
    }
}

/* ---- the layout of samples ---- */

static enum AVCodecID pcm_codec(const wav *v, int width)
{
    static const enum AVCodecID of[2][9] = {
        {[1] = AV_CODEC_ID_PCM_U8, AV_CODEC_ID_PCM_S16LE, AV_CODEC_ID_PCM_S24LE, AV_CODEC_ID_PCM_S32LE,
         [8] = AV_CODEC_ID_PCM_S64LE},
        {[1] = AV_CODEC_ID_PCM_U8, AV_CODEC_ID_PCM_S16BE, AV_CODEC_ID_PCM_S24BE, AV_CODEC_ID_PCM_S32BE,
         [8] = AV_CODEC_ID_PCM_S64BE}};
    switch (v->tag) {
    case TAG_PCM: return width <= 8 ? of[v->big][width] : AV_CODEC_ID_NONE;
    case TAG_FLOAT:
        return width == 4 ? v->big ? AV_CODEC_ID_PCM_F32BE : AV_CODEC_ID_PCM_F32LE
             : width == 8 ? v->big ? AV_CODEC_ID_PCM_F64BE : AV_CODEC_ID_PCM_F64LE
                          : AV_CODEC_ID_NONE;
    case TAG_ALAW: return width == 1 ? AV_CODEC_ID_PCM_ALAW : AV_CODEC_ID_NONE;
    default: return width == 1 ? AV_CODEC_ID_PCM_MULAW : AV_CODEC_ID_NONE;
    }
}

static int is_plain(const wav *v)
{
    return v->channels && (v->tag == TAG_PCM || v->tag == TAG_FLOAT || v->tag == TAG_ALAW || v->tag == TAG_MULAW);
}

static int settle(const wav *v, AVCodecParameters *p, mert_error *e)
{
    const char *kind = v->tag == TAG_PCM ? "integers" : v->tag == TAG_FLOAT ? "floats" : "A-law or mu-law";
    int width = v->block / v->channels;
    enum AVCodecID codec;
    if (v->block % v->channels || (v->bits + 7) / 8 != width)
        return mert_fail(e, "its header contradicts itself: samples of %d bits, but %d bytes for a frame of %d "
                         "channel%s", v->bits, v->block, v->channels, v->channels > 1 ? "s" : "");
    if (v->valid > v->bits)
        return mert_fail(e, "its header contradicts itself: %d valid bits in samples of %d bits", v->valid, v->bits);
    codec = pcm_codec(v, width);
    if (codec == AV_CODEC_ID_NONE)
        return mert_fail(e, "its header says samples of %d bits that are %s: there is no such format", v->bits, kind);
    if (codec == p->codec_id)
        return 0;
    p->codec_id = codec;
    p->bits_per_coded_sample = 8 * width;
    p->block_align = v->block;
    return 1;
}

int mert_wav_look(AVIOContext *pipe, mert_error *e)
{
    mert_bytes *b = mert_bytes_of_pipe(pipe);
    wav v;
    if (!b)
        return mert_fail(e, "out of memory");
    read_any(&v, b);
    mert_bytes_close(b);
    return 0;
}

int mert_wav_settle(const char *path, AVIOContext *pipe, AVCodecParameters *p, int64_t *frames, mert_error *e)
{
    mert_bytes *b;
    wav v = {0};
    errno = 0;
    b = pipe ? mert_bytes_of_pipe(pipe) : mert_bytes_open(path);
    if (!b && errno)
        return mert_fail(e, "cannot be looked at: %s", strerror(errno));
    if (b)
        read_any(&v, b);
    mert_bytes_close(b);
    *frames = v.data && v.size < INT64_MAX && v.block && is_plain(&v) ? (int64_t)v.size / v.block : -1;
    return is_plain(&v) ? settle(&v, p, e) : 0;
}
