/* ASF, FLV, Matroska, Musepack SV8: packets with sizes, and a header that may have their number. */
#include "libcommon/audio/container/bytes.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- ASF: a header object with file properties, then the data object with packets of one size ---- */

static const unsigned char asf_file[16] = {0xa1, 0xdc, 0xab, 0x8c, 0x47, 0xa9, 0xcf, 0x11,
                                           0x8e, 0xe4, 0, 0xc0, 0x0c, 0x20, 0x53, 0x65};
static const unsigned char asf_data[16] = {0x36, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11,
                                           0xa6, 0xd9, 0, 0xaa, 0, 0x62, 0xce, 0x6c};

enum { ASF_OBJECT = 24, ASF_HEADER = 30, ASF_PROPERTIES = 104, ASF_DATA = 50, ASF_BROADCAST = 1 };

/* The size of its packets; 0: not known, or a broadcast, which has no sizes. */
static uint64_t asf_packet_size(mert_bytes *b, int64_t end)
{
    unsigned char head[ASF_PROPERTIES];
    uint64_t size;
    for (int64_t at = ASF_HEADER; at < end && mert_bytes_read(b, at, head, ASF_OBJECT); at += (int64_t)size) {
        size = mert_little(head + 16, 8);
        if (size < ASF_OBJECT || size > (uint64_t)b->size)
            return 0;
        if (!memcmp(head, asf_file, 16) && mert_bytes_read(b, at, head, ASF_PROPERTIES))
            return mert_little(head + 88, 4) & ASF_BROADCAST ? 0 : mert_little(head + 92, 4);
    }
    return 0;
}

void mert_check_asf(mert_bytes *b, mert_whole *w)
{
    unsigned char head[ASF_DATA];
    uint64_t size, packet, packets;
    int64_t at;
    if (!mert_bytes_read(b, 0, head, ASF_OBJECT))
        return;
    at = (int64_t)(size = mert_little(head + 16, 8));
    if (size > (uint64_t)b->size || !(packet = asf_packet_size(b, at)) || !mert_bytes_read(b, at, head, ASF_DATA) ||
        memcmp(head, asf_data, 16))
        return;
    size = mert_little(head + 16, 8);
    packets = mert_little(head + 40, 8);
    if (packets < UINT64_C(1) << 40 && packets > (uint64_t)(b->size - at - ASF_DATA) / packet)
        mert_fail(&w->cut, "its data object promises %" PRIu64 " packets of %" PRIu64 " bytes, %" PRId64 " are there",
                  packets, packet, (b->size - at - ASF_DATA) / (int64_t)packet);
    mert_whole_hold(w, b, "its data object", at, size);
}

/* ---- FLV: tags, each after the size of the previous one; the first has metadata ---- */

enum { FLV_TAG = 11, FLV_AUDIO = 8, FLV_VIDEO = 9, FLV_SCRIPT = 18 };

/* A number in the metadata, by its name; 0: missing. */
static double flv_number(mert_bytes *b, int64_t at, uint64_t size, const char *name)
{
    size_t n = strlen(name), room = size < sizeof b->window ? size : sizeof b->window;
    const unsigned char *p = mert_bytes_at(b, at, room);
    for (size_t i = 0; p && i + n + 11 <= room; i++)
        if (mert_big(p + i, 2) == n && !memcmp(p + i + 2, name, n) && !p[i + 2 + n]) { /* type 0: a number */
            uint64_t bits = mert_big(p + i + 3 + n, 8);
            double x;
            memcpy(&x, &bits, 8);
            return isfinite(x) && x > 0 && x < 1e15 ? x : 0;
        }
    return 0;
}

void mert_check_flv(mert_bytes *b, mert_whole *w)
{
    unsigned char head[FLV_TAG];
    double file_size = 0, duration = 0, last = 0;
    int64_t at;
    int video = 0;
    if (!mert_bytes_read(b, 0, head, 9))
        return;
    at = (int64_t)mert_big(head + 5, 4) + 4;
    while (mert_bytes_read(b, at, head, FLV_TAG)) {
        uint64_t size = mert_big(head + 1, 3);
        if (head[0] != FLV_AUDIO && head[0] != FLV_VIDEO && head[0] != FLV_SCRIPT) { /* a tag of another kind, or
                                                                                        zeros */
            w->end = b->base + at;
            break;
        }
        if (head[0] == FLV_SCRIPT && !file_size && !duration) {
            file_size = flv_number(b, at + FLV_TAG, size, "filesize");
            duration = flv_number(b, at + FLV_TAG, size, "duration");
        }
        video |= head[0] == FLV_VIDEO;
        if (head[0] != FLV_SCRIPT)
            last = (double)(mert_big(head + 4, 3) | (uint64_t)head[7] << 24) / 1000;
        mert_whole_hold(w, b, "its last tag", at + FLV_TAG, size);
        at += FLV_TAG + (int64_t)size + 4;
    }
    if (!*w->cut.text && file_size > (double)b->size)
        mert_fail(&w->cut, "its metadata promise a file of %.0f bytes, %" PRId64 " are there", file_size, b->size);
    if (!*w->cut.text && !video && duration > last + 1)
        mert_fail(&w->cut, "its metadata promise %.3f s, its last tag begins at %.3f s", duration, last);
}

/* ---- Matroska: elements; the segment's and its clusters' sizes may be unknown ---- */

enum { EBML_HEAD = 0x1a45dfa3, MATROSKA_SEGMENT = 0x18538067 };

/* Whether an element can be in a segment. */
static int is_of_segment(uint64_t id)
{
    static const uint32_t ids[] = {0x1f43b675, 0x1c53bb6b, 0x114d9b74, 0x1549a966, 0x1654ae6b, 0x1254c367,
                                   0x1941a469, 0x1043a770, 0xec, 0xbf};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (id == ids[i])
            return 1;
    return 0;
}

/* Reads an element's id and size (UINT64_MAX: unknown). Returns the bytes of both, 0: not an element. */
static int ebml_element(mert_bytes *b, int64_t at, uint64_t *id, uint64_t *size)
{
    unsigned char p[8];
    int names = 1, n = 1;
    if (!mert_bytes_read(b, at, p, 1) || !p[0])
        return 0;
    while (!(p[0] & 0x80 >> (names - 1)))
        names++;
    if (names > 4 || !mert_bytes_read(b, at, p, (size_t)names))
        return 0;
    *id = mert_big(p, names);
    if (!mert_bytes_read(b, at + names, p, 1) || !p[0])
        return 0;
    while (!(p[0] & 0x80 >> (n - 1)))
        n++;
    if (!mert_bytes_read(b, at + names, p, (size_t)n))
        return 0;
    p[0] &= (unsigned char)(0xff >> n);
    *size = mert_big(p, n);
    if (*size == (UINT64_C(1) << 7 * n) - 1)
        *size = UINT64_MAX;
    return names + n;
}

void mert_check_matroska(mert_bytes *b, mert_whole *w)
{
    uint64_t id, size;
    int n;
    for (int64_t at = 0; (n = ebml_element(b, at, &id, &size)) > 0; at += n + (int64_t)size) {
        if (at == 0 ? id != EBML_HEAD : id != MATROSKA_SEGMENT && !is_of_segment(id))
            return;
        mert_whole_hold(w, b, id == MATROSKA_SEGMENT ? "its segment" : "its last element", at + n, size);
        if (id == MATROSKA_SEGMENT && size != UINT64_MAX)
            return;
        if (id == MATROSKA_SEGMENT)
            size = 0; /* descend into it */
        if (size > (uint64_t)b->size)
            return;
    }
}

/* ---- RealMedia: chunks, whose sizes include their headers; some programs count that of DATA twice ---- */

enum { REAL_SLACK = 18 };

void mert_check_real(mert_bytes *b, mert_whole *w)
{
    unsigned char chunk[8];
    uint64_t size;
    for (int64_t at = 0; mert_bytes_read(b, at, chunk, 8); at += (int64_t)size) {
        size = mert_big(chunk + 4, 4);
        if (size < 8 || size >= 0x7ffff000)
            return;
        if (!memcmp(chunk, "DATA", 4)) {
            if (size > REAL_SLACK)
                mert_whole_hold(w, b, "its DATA chunk", at, size - REAL_SLACK);
            return;
        }
    }
}

/* ---- Musepack SV8: packets: two letters, a size that includes these bytes; the last packet is SE ---- */

enum { MUSEPACK_DELAY = 481 }; /* delay of the decoder in samples, which the header does not count */

/* Reads a number with 7 bits per byte, most significant first, the last byte below 128. Returns the position of its
 * end. */
static int64_t musepack_number(mert_bytes *b, int64_t at, uint64_t *x)
{
    unsigned char byte = 0;
    int n = 0;
    *x = 0;
    do {
        if (!mert_bytes_read(b, at++, &byte, 1))
            byte = 0;
        *x = *x << 7 | (byte & 127);
    } while (byte & 128 && ++n < 9);
    return at;
}

/* The stream header: checksum, version, number of samples, and how many samples of silence at the beginning must not be
 * played. */
static void take_musepack_header(mert_bytes *b, mert_whole *w, int64_t at)
{
    uint64_t samples, silence;
    musepack_number(b, musepack_number(b, at + 5, &samples), &silence);
    if (samples && samples < UINT64_C(1) << 40 && silence < samples) {
        w->skip = MUSEPACK_DELAY + (int64_t)silence;
        w->keep = (int64_t)(samples - silence);
    }
}

void mert_check_musepack(mert_bytes *b, mert_whole *w)
{
    unsigned char head[2];
    uint64_t size;
    int64_t at = 4;
    int n;
    while (mert_bytes_read(b, at, head, 2) && head[0] >= 'A' && head[0] <= 'Z' && head[1] >= 'A' && head[1] <= 'Z') {
        n = (int)(musepack_number(b, at + 2, &size) - at);
        if (size < (uint64_t)n)
            return;
        if (!memcmp(head, "SH", 2))
            take_musepack_header(b, w, at + n);
        mert_whole_hold(w, b, "its last packet", at, size);
        if (size > (uint64_t)b->size)
            return;
        at += (int64_t)size;
        if (!memcmp(head, "SE", 2)) {
            w->end = b->base + at;
            return;
        }
    }
    if (!*w->cut.text && at + 2 > b->size)
        mert_fail(&w->cut, "it has no last packet (SE): its bytes end at %" PRId64, b->base + b->size);
}
