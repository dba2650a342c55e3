#include "libcommon/audio/container/mp3.h"

#include "libcommon/audio/container/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ID3V2 = 10, ID3V1 = 128, ID3V1_EXTENDED = 227, APE = 32, /* bytes of: the header; the whole tags; the footer */
    JUNK_MAX = 1 << 20,  /* the first frame is searched for within so many bytes after the tags, the next one after a
                            damaged one */
    FREE_MAX = 8192,     /* most bytes from one free-format frame to the next */
    WINDOW = 1 << 16
};

static uint32_t big(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static uint32_t little(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- bytes of the file ---- */

typedef struct reader {
    int fd, failed;
    int64_t origin;            /* of the file's first byte in fd, which may be a tar file */
    int64_t size, pos, n;      /* size: of the file; data: its bytes [pos, pos + n) */
    unsigned char data[WINDOW];
} reader;

/* n bytes at `at` (n: at most half a window); NULL if the file has fewer. */
static const unsigned char *bytes(reader *r, int64_t at, int64_t n)
{
    if (at < 0 || n > r->size - at)
        return NULL;
    if (at < r->pos || at + n > r->pos + r->n) {
        ssize_t got;
        r->pos = at;
        r->n = 0;
        while (r->n < n && ((got = pread(r->fd, r->data + r->n, (size_t)(WINDOW - r->n), r->origin + at + r->n)) > 0 ||
                            (got < 0 && errno == EINTR)))
            r->n += got > 0 ? got : 0;
        if (r->n < n) {
            r->failed = 1;
            return NULL;
        }
    }
    return r->data + (at - r->pos);
}

static reader *reader_open(const char *path)
{
    mert_place file;
    mert_error unsaid;
    reader *r = malloc(sizeof *r);
    if (!r)
        return NULL;
    r->pos = r->n = r->failed = 0;
    if (mert_place_open(&file, path, &unsaid)) {
        free(r);
        return NULL;
    }
    r->fd = file.fd;
    r->origin = file.begin;
    r->size = file.size;
    return r;
}

static void reader_close(reader *r)
{
    close(r->fd);
    free(r);
}

/* ---- frame headers (ISO 11172-3, 2.4.1.3; 13818-3; MPEG-2.5) ---- */

typedef struct frame {
    int mpeg2, layer, rate, mono, samples;
    int64_t size;   /* bytes; 0: free format */
} frame;

/* Version, layer and sample rate, which are equal in all frames of a file. */
enum { COMMON = 0xfffe0c00 };

static int parse_frame(uint32_t h, frame *f)
{
    static const short kbit[5][15] = {{0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
                                      {0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
                                      {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
                                      {0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
                                      {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}};
    static const int rates[3] = {44100, 48000, 32000};
    int version = h >> 19 & 3, layer = 4 - (h >> 17 & 3), bits = h >> 12 & 15, rate = h >> 10 & 3, pad = h >> 9 & 1, k;
    if (h >> 21 != 0x7ff || version == 1 || layer == 4 || bits == 15 || rate == 3)
        return 0;
    f->mpeg2 = version != 3;
    f->layer = layer;
    f->rate = rates[rate] >> (version == 3 ? 0 : version == 2 ? 1 : 2);
    f->mono = (h >> 6 & 3) == 3;
    f->samples = layer == 1 ? 384 : layer == 3 && f->mpeg2 ? 576 : 1152;
    k = kbit[!f->mpeg2 ? layer - 1 : layer == 1 ? 3 : 4][bits];
    f->size = layer == 1 ? (12000LL * k / f->rate + pad) * 4 : f->samples / 8 * 1000LL * k / f->rate + pad;
    if (!k)
        f->size = 0;
    return 1;
}

/* Whether a complete frame with a bit rate is at `at`. */
static int frame_at(reader *r, int64_t at, int64_t end, uint32_t like, frame *f)
{
    const unsigned char *p = bytes(r, at, 4);
    return p && parse_frame(big(p), f) && f->size > 4 && at + f->size <= end && (!like || (big(p) & COMMON) == like);
}

static uint32_t common_at(reader *r, int64_t at)
{
    const unsigned char *p = bytes(r, at, 4);
    return p ? big(p) & COMMON : 0;
}

/* The first position from `at` on of a frame that is followed by another one or by the end; -1: none within
 * JUNK_MAX. */
static int64_t find_frame(reader *r, int64_t at, int64_t end, uint32_t like)
{
    frame f, next;
    for (int64_t last = at + JUNK_MAX; at < end && at < last; at++) {
        const unsigned char *p = bytes(r, at, 1);
        if (!p)
            return -1;
        if (*p != 0xff || !frame_at(r, at, end, like, &f))
            continue;
        if (at + f.size == end || frame_at(r, at + f.size, end, common_at(r, at), &next))
            return at;
    }
    return -1;
}

/* ---- tags ---- */

static int64_t behind_id3v2(reader *r)
{
    int64_t at = 0;
    const unsigned char *p;
    while ((p = bytes(r, at, ID3V2)) && !memcmp(p, "ID3", 3) && p[3] < 255 && p[4] < 255 &&
           !((p[6] | p[7] | p[8] | p[9]) & 128))
        at += ID3V2 + ((int64_t)p[6] << 21 | p[7] << 14 | p[8] << 7 | p[9]) + (p[5] & 16 ? ID3V2 : 0);
    return at < r->size ? at : r->size;
}

/* The size of the tag that ends at `end`; 0: none. */
static int64_t tag_before(reader *r, int64_t end)
{
    const unsigned char *p;
    int64_t n = 0;
    if ((p = bytes(r, end - ID3V1, 3)) && !memcmp(p, "TAG", 3))
        return ID3V1;
    if ((p = bytes(r, end - ID3V1_EXTENDED, 4)) && !memcmp(p, "TAG+", 4))
        return ID3V1_EXTENDED;
    if ((p = bytes(r, end - APE, APE)) && !memcmp(p, "APETAGEX", 8)) /* bit 31: the tag also has a header */
        return (int64_t)little(p + 12) + (little(p + 20) >> 31 ? APE : 0);
    if ((p = bytes(r, end - 15, 15)) && !memcmp(p + 6, "LYRICS200", 9)) {
        for (int i = 0; i < 6; i++)
            n = n * 10 + (p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : 0);
        return n + 15;
    }
    if ((p = bytes(r, end - ID3V2, ID3V2)) && !memcmp(p, "3DI", 3))
        return 2 * ID3V2 + ((int64_t)(p[6] & 127) << 21 | (p[7] & 127) << 14 | (p[8] & 127) << 7 | (p[9] & 127));
    return 0;
}

static int64_t before_tags(reader *r, int64_t head)
{
    int64_t end = r->size, n;
    while ((n = tag_before(r, end)) > 0 && n <= end - head)
        end -= n;
    return end;
}

/* ---- the info frame ---- */

/* Xing or Info: flags, then the fields that the flags select, then LAME's tag, which other encoders also write. */
static void take_xing(const unsigned char *p, int64_t left, mert_mp3 *to)
{
    uint32_t flags = big(p + 4);
    int64_t at = 8;
    if (flags & 1) {
        to->told = big(p + at);
        at += 4;
    }
    if (flags & 2) {
        to->told_bytes = big(p + at);
        at += 4;
    }
    at += (flags & 4 ? 100 : 0) + (flags & 8 ? 4 : 0);
    if (at + 24 > left || (memcmp(p + at, "LAME", 4) && memcmp(p + at, "Lavf", 4) && memcmp(p + at, "Lavc", 4)))
        return;
    to->delay = p[at + 21] << 4 | p[at + 22] >> 4;
    to->padding = (p[at + 22] & 15) << 8 | p[at + 23];
}

/* Whether the first frame is an info frame: looks for its marks where FFmpeg does. */
static int take_telling(reader *r, const frame *f, mert_mp3 *to)
{
    int xing = 4 + (f->mpeg2 ? (f->mono ? 9 : 17) : f->mono ? 17 : 32), vbri = 36;
    const unsigned char *p = f->layer == 3 ? bytes(r, to->begin, f->size) : NULL;
    if (p && f->size >= xing + 16 && (!memcmp(p + xing, "Xing", 4) || !memcmp(p + xing, "Info", 4))) {
        take_xing(p + xing, f->size - xing, to);
        return 1;
    }
    if (!p || f->size < vbri + 18 || memcmp(p + vbri, "VBRI", 4))
        return 0;
    to->told_bytes = big(p + vbri + 10);
    to->told = big(p + vbri + 14);
    return 1;
}

static int read_frames(reader *r, mert_mp3 *to)
{
    frame f = {0};
    uint32_t like;
    int64_t at, tags;
    to->size = r->size;
    to->head = behind_id3v2(r);
    tags = before_tags(r, to->head);
    if ((to->begin = at = find_frame(r, to->head, tags, 0)) < 0)
        return 0;
    like = common_at(r, at);
    frame_at(r, at, tags, like, &f);
    to->rate = f.rate;
    to->samples = f.samples;
    if (take_telling(r, &f, to))
        at += f.size;
    to->end = at;
    while (at >= 0 && at < tags) {
        if (!frame_at(r, at, tags, like, &f)) {
            at = find_frame(r, at, tags, like);
            continue;
        }
        to->frames++;
        to->end = at += f.size;
    }
    return 1;
}

int mert_mp3_read(const char *path, mert_mp3 *to, mert_error *e)
{
    reader *r = reader_open(path);
    int got;
    *to = (mert_mp3){.told = -1, .told_bytes = -1, .delay = -1, .padding = -1};
    if (!r)
        return mert_fail(e, "cannot read: %s", strerror(errno));
    got = read_frames(r, to);
    if (r->failed)
        got = mert_fail(e, "cannot read: %s", strerror(errno ? errno : EIO));
    reader_close(r);
    return got;
}

/* ---- free format ---- */

/* Looks for three headers at equal distances, apart from the byte of padding. */
static int is_free(reader *r)
{
    int64_t at = behind_id3v2(r), distance = 0;
    uint32_t like = common_at(r, at);
    frame f;
    const unsigned char *p = bytes(r, at, 4);
    if (!p || !parse_frame(big(p), &f) || f.size)
        return 0;
    for (int found = 0; found < 2;) {
        int64_t next = at + (distance ? distance - 1 : 5), last = at + (distance ? distance + 1 : FREE_MAX);
        while (next <= last && (common_at(r, next) != like || !parse_frame(big(bytes(r, next, 4)), &f) || f.size))
            next++;
        if (next > last)
            return 0;
        distance = next - at;
        at = next;
        found++;
    }
    return 1;
}

int mert_mp3_is_free_format(const char *path)
{
    reader *r = reader_open(path);
    int yes = r && is_free(r);
    if (r)
        reader_close(r);
    return yes;
}
