#define _GNU_SOURCE
#include "libcommon/audio/container/ogg.h"

#include "formats/array.h"
#include "libcommon/audio/container/span.h"

#include <errno.h>
#include <libavcodec/vorbis_parser.h>
#include <libavutil/error.h>
#include <libavutil/mem.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAD = 27,
    PAGE_MAX = HEAD + 255 + 255 * 255,
    CONTINUED = 1, FIRST = 2, LAST = 4, /* page flags */
    STREAMS_MAX = 64,                   /* in a link: further ones are ignored */
    SETUP_MAX = 1 << 20,                /* bytes of Vorbis headers; longer ones are not parsed */
    PADDING = 64,                       /* zeros that FFmpeg's parser needs after its input */
    WINDOW = 1 << 18
};

static uint32_t little(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int64_t granule_of(const unsigned char *page)
{
    return (int64_t)((uint64_t)little(page + 6) | (uint64_t)little(page + 10) << 32);
}

/* ---- packets ---- */

typedef enum codec { OTHER, VORBIS, OPUS, AUDIO } codec; /* AUDIO: another audio codec, whose packets are not parsed */

/* The state of a stream while parsing. A packet may span several pages. Only the first bytes of an audio packet are
 * kept, and all bytes of Vorbis headers. */
typedef struct track {
    codec codec;
    uint32_t next;                /* the expected number of its next page */
    int64_t packets;              /* packets so far, with headers */
    int open;                     /* the last packet continues on the next page */
    unsigned char first[2 + PADDING];
    int64_t size;                 /* bytes of the current packet so far */
    unsigned char *setup;         /* Vorbis: the first and third header, for FFmpeg's parser */
    int64_t setup_size, ident_size;
    AVVorbisParseContext *parser;
    int lacking;                  /* out of memory for setup */
    int primed;                   /* Vorbis: the first audio packet, which gives no samples, was read */
    int64_t raw;                  /* number of samples in the packets so far */
    int64_t at, raw_at;           /* the last granule position, and `raw` at it; at -1: none yet */
} track;

static int frame_of_opus(int config)
{
    static const int silk[] = {480, 960, 1920, 2880}, celt[] = {120, 240, 480, 960};
    if (config < 12)
        return silk[config & 3];
    return config < 16 ? 480 << (config & 1) : celt[config & 3];
}

int mert_opus_samples(const unsigned char *packet, int64_t size)
{
    int code, count;
    if (size < 1)
        return 0;
    code = packet[0] & 3;
    count = !code ? 1 : code < 3 ? 2 : size > 1 ? packet[1] & 63 : 0;
    count *= frame_of_opus(packet[0] >> 3);
    return count <= 5760 ? count : 0;
}

/* Builds FFmpeg's extradata: the sizes of three packets, then the packets; the second one may be empty. */
static AVVorbisParseContext *parser_of(track *t)
{
    AVVorbisParseContext *parser = NULL;
    unsigned char *extradata;
    int64_t size = 3 + t->setup_size;
    if (t->ident_size != 30 || t->setup_size <= t->ident_size)
        return NULL;
    if ((t->lacking = !(extradata = calloc(1, (size_t)size + PADDING))))
        return NULL;
    extradata[0] = 2;
    extradata[1] = 30;
    memcpy(extradata + 3, t->setup, (size_t)t->setup_size);
    parser = av_vorbis_parse_init(extradata, (int)size);
    free(extradata);
    return parser;
}

static int is_vorbis_header(const track *t)
{
    return t->codec == VORBIS && t->packets <= 3;
}

/* Adds bytes to the current packet. */
static int add_bytes(track *t, const unsigned char *p, int64_t n, mert_error *e)
{
    int64_t room = 2 - t->size;
    if (room > 0)
        memcpy(t->first + t->size, p, (size_t)(n < room ? n : room));
    t->size += n;
    if (is_vorbis_header(t) && t->packets != 2 && t->setup_size >= 0) {
        unsigned char *more = t->setup_size + n > SETUP_MAX ? NULL : realloc(t->setup, (size_t)(t->setup_size + n + 1));
        if (!more && t->setup_size + n <= SETUP_MAX)
            return mert_fail(e, "out of memory");
        if (!more) {
            t->setup_size = -1;
            return 0;
        }
        t->setup = more;
        memcpy(t->setup + t->setup_size, p, (size_t)n);
        t->setup_size += n;
    }
    return 0;
}

/* Ends the current packet. Returns 1 if it is an audio packet. */
static int end_packet(track *t)
{
    int n;
    if (t->packets <= (t->codec == VORBIS ? 3 : 2)) {
        if (t->codec == VORBIS && t->packets == 1)
            t->ident_size = t->size;
        if (t->codec == VORBIS && t->packets == 3 && t->setup_size > 0)
            t->parser = parser_of(t);
        return 0;
    }
    if (t->codec == OPUS)
        t->raw += mert_opus_samples(t->first, t->size);
    if (t->codec == VORBIS && t->parser && t->size > 0 &&
        (n = av_vorbis_parse_frame(t->parser, t->first, t->size < 2 ? 1 : 2)) > 0) {
        t->raw += t->primed ? n : 0;
        t->primed = 1;
    }
    return 1;
}

/* Reads the packets of a page. Returns the number of audio packets that end on it, -1: out of memory. */
static int take_packets(track *t, const unsigned char *page, mert_error *e)
{
    const unsigned char *size = page + HEAD, *p = size + page[26];
    int ended = 0, lost = page[5] & CONTINUED && !t->open; /* lost: the page continues a packet whose beginning is
                                                              missing */
    if (!(page[5] & CONTINUED))
        t->open = 0;
    for (int i = 0; i < page[26]; p += size[i++]) {
        if (lost) {
            lost = size[i] == 255;
            continue;
        }
        if (!t->open) {
            t->packets++;
            t->size = 0;
        }
        if (add_bytes(t, p, size[i], e))
            return -1;
        t->open = size[i] == 255;
        if (!t->open)
            ended += end_packet(t);
        if (t->lacking)
            return mert_fail(e, "out of memory");
    }
    return ended;
}

/* ---- granule positions: which decoded samples belong to the stream ---- */

static int64_t between(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* The first granule position gives the beginning of the stream: if that is negative, the samples before zero are
 * dropped; if it is positive, as in a part of a longer stream, nothing is dropped or inserted. A stream of one page
 * begins at zero, and its position gives its end (Vorbis I, A.2). The last position says how many samples of the last
 * page are used. */
static void take_granule(mert_ogg_stream *s, track *t, const unsigned char *page, int audio_packets)
{
    int64_t granule = granule_of(page);
    int last = page[5] & LAST;
    if (!s->counted || granule == -1 || (!audio_packets && !last))
        return;
    if (t->at < 0 && !last)
        s->skip += granule < 0 ? t->raw : between(t->raw - granule, 0, t->raw);
    if (last) {
        int64_t begin = t->at < 0 ? 0 : t->at, before = t->at < 0 ? 0 : t->raw_at, some = t->raw - before;
        int64_t counted = granule < begin ? 0 : granule - begin;
        s->total = before + (counted < some ? counted : some) - s->skip;
        if (s->total < 0)
            s->total = 0;
    }
    t->at = granule < 0 ? 0 : granule;
    t->raw_at = t->raw;
}

static codec codec_of(const unsigned char *packet, size_t size, mert_ogg_stream *s)
{
    if (size >= 19 && !memcmp(packet, "OpusHead", 8)) {
        s->skip = packet[10] | packet[11] << 8;
        return OPUS;
    }
    if (size >= 30 && !memcmp(packet, "\1vorbis", 7))
        return VORBIS;
    if (size >= 5 && !memcmp(packet, "\177FLAC", 5))
        return AUDIO;
    return size >= 8 && !memcmp(packet, "Speex   ", 8) ? AUDIO : OTHER;
}

/* ---- pages ---- */

/* CRC-32 with polynomial 0x04c11db7, most significant bit first, initial value zero; the checksum's own field counts as
 * zeros. */
static uint32_t page_crc(const uint32_t table[256], const unsigned char *page, size_t size)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < size; i++)
        crc = crc << 8 ^ table[(crc >> 24 ^ (i >= 22 && i < 26 ? 0 : page[i])) & 255];
    return crc;
}

static void make_crc_table(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i << 24;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] << 1 ^ (table[i] >> 31 ? 0x04c11db7 : 0);
    }
}

/* The size of a page; p has its header and segment table. */
static size_t page_size(const unsigned char *p)
{
    size_t size = HEAD + p[26];
    for (int i = 0; i < p[26]; i++)
        size += p[HEAD + i];
    return size;
}

/* The state of the parser: bytes that are read and not yet parsed, and the current link. */
typedef struct pages {
    AVIOContext *io;
    int failed;                   /* FFmpeg's error code of a failed read */
    int one_link;                 /* stop at the first page of the next link */
    size_t given;                 /* for a pipe: the next byte to return, of the page before data[at] */
    mert_ogg *ogg;
    mert_ogg_link *link;          /* the current one */
    track tracks[STREAMS_MAX];    /* the streams of the current link */
    int begun;                    /* the link has pages after the first pages of its streams */
    int last;                     /* its latest page is the last page of a stream */
    int64_t pos;                  /* position of data[at] in the file */
    size_t at, n;
    uint32_t table[256];
    unsigned char data[WINDOW];
} pages;

/* Reads until n bytes are available (from a pipe no more than these). Returns their number; fewer than n only at the
 * end. */
static size_t look(pages *w, size_t n)
{
    int got;
    if (w->n - w->at >= n)
        return w->n - w->at;
    memmove(w->data, w->data + w->at, w->n - w->at);
    w->n -= w->at;
    w->at = w->given = 0;
    while (w->n < n && (got = avio_read_partial(w->io, w->data + w->n, (int)(WINDOW - w->n))) != AVERROR_EOF && got) {
        if (got < 0) {
            w->failed = got;
            break;
        }
        w->n += (size_t)got;
    }
    return w->n;
}

static void pass(pages *w, size_t n)
{
    w->at += n;
    w->pos += (int64_t)n;
}

/* Finds the next page. Tags or zeros between pages or after the last one are allowed; a missing page is found by the
 * page numbers. 0: none. */
static int find_page(pages *w)
{
    size_t left;
    while ((left = look(w, 4)) >= 4) {
        const unsigned char *p = w->data + w->at, *found = memmem(p, left, "OggS", 4);
        pass(w, found ? (size_t)(found - p) : left - 3);
        if (found)
            return 1;
    }
    return 0;
}

static void fault(pages *w, const char *what)
{
    w->ogg->fault_at = w->pos;
    mert_fail(&w->ogg->fault, "%s at byte %" PRId64, what, w->pos);
}

/* ---- links ---- */

static void forget_tracks(pages *w)
{
    for (int i = 0; i < STREAMS_MAX; i++) {
        free(w->tracks[i].setup);
        av_vorbis_parse_free(&w->tracks[i].parser);
    }
    memset(w->tracks, 0, sizeof w->tracks);
}

/* Checks the end of the current link: each audio stream must have its last page. If the link has no known audio stream,
 * its latest page must be a last page. */
static void end_link(pages *w)
{
    int audio = 0, open = 0;
    if (!w->link)
        return;
    for (int i = 0; i < w->link->n; i++) {
        audio += w->link->streams[i].audio;
        open += w->link->streams[i].audio && !w->link->streams[i].last;
    }
    if (audio ? open : !w->last)
        fault(w, "an Ogg stream without its last page");
}

static int begin_link(pages *w, mert_error *e)
{
    mert_ogg *o = w->ogg;
    if (!(o->n & (o->n - 1))) { /* 0, 1, 2, 4, ... */
        mert_ogg_link *more = mert_array_resize(o->links, o->n ? 2 * o->n : 1, sizeof *more);
        if (!more)
            return mert_fail(e, "out of memory");
        o->links = more;
    }
    w->link = &o->links[o->n++];
    *w->link = (mert_ogg_link){.begin = o->n > 1 ? w->pos : 0};
    forget_tracks(w);
    w->begun = 0;
    return 0;
}

/* The index of a page's stream, which is added if it is new; n if there are too many. -1: out of memory. */
static int stream_of(pages *w, const unsigned char *page, mert_error *e)
{
    mert_ogg_link *link = w->link;
    uint32_t serial = little(page + 14);
    mert_ogg_stream *more;
    int i = 0;
    while (i < link->n && link->streams[i].serial != serial)
        i++;
    if (i < link->n || i == STREAMS_MAX)
        return i;
    if (!(more = mert_array_resize(link->streams, i + 1, sizeof *more)))
        return mert_fail(e, "out of memory");
    link->streams = more;
    more[i] = (mert_ogg_stream){.serial = serial, .total = -1};
    w->tracks[i].codec = codec_of(page + HEAD + page[26], page_size(page) - HEAD - page[26], &more[i]);
    more[i].audio = w->tracks[i].codec != OTHER;
    w->tracks[i].next = little(page + 18);
    w->tracks[i].at = -1;
    link->n++;
    return i;
}

static int begins_link(const pages *w, const unsigned char *page)
{
    return page[5] & FIRST && w->begun;
}

/* Handles a complete page with a correct checksum. */
static int take_page(pages *w, const unsigned char *page, mert_error *e)
{
    int i, packets;
    if (!w->link || begins_link(w, page)) {
        end_link(w);
        if (w->ogg->fault_at >= 0)
            return 0;
        if (begin_link(w, e))
            return -1;
    }
    w->begun |= !(page[5] & FIRST);
    w->last = page[5] & LAST;
    if ((i = stream_of(w, page, e)) < 0)
        return -1;
    if (i == STREAMS_MAX)
        return 0;
    if (w->tracks[i].next != little(page + 18)) {
        fault(w, "an Ogg page is missing");
        return 0;
    }
    w->tracks[i].next++;
    if ((packets = take_packets(&w->tracks[i], page, e)) < 0)
        return -1;
    w->link->streams[i].counted = w->tracks[i].codec == OPUS || w->tracks[i].parser;
    take_granule(&w->link->streams[i], &w->tracks[i], page, packets);
    w->link->streams[i].last |= w->last != 0;
    return 0;
}

/* Reads the current page and returns its size; 0 if it is cut off. */
static size_t look_at_page(pages *w)
{
    size_t size;
    if (look(w, HEAD) < HEAD || look(w, HEAD + w->data[w->at + 26]) < (size_t)HEAD + w->data[w->at + 26])
        return 0;
    size = page_size(w->data + w->at);
    return look(w, size) < size ? 0 : size;
}

/* Advances by one page, or over bytes that are not a page. 0: there is more, 1: the end or a fault, -1: out of
 * memory. */
static int step(pages *w, mert_error *e)
{
    size_t left = look(w, 4), size;
    int64_t here = w->pos;
    if (left < 4 || memcmp(w->data + w->at, "OggS", 4)) {
        if (find_page(w))
            return 0;
        if (!w->last) {
            w->pos = here;
            if (left)
                fault(w, "no Ogg page");
        }
        if (w->ogg->fault_at < 0)
            end_link(w);
        return 1;
    }
    if (!(size = look_at_page(w)))
        fault(w, "an Ogg page is cut off");
    else if (page_crc(w->table, w->data + w->at, size) != little(w->data + w->at + 22))
        fault(w, "an Ogg page with a wrong checksum");
    else if (w->one_link && begins_link(w, w->data + w->at)) {
        end_link(w);
        return 1;
    } else if (take_page(w, w->data + w->at, e))
        return -1;
    if (w->ogg->fault_at < 0) {
        w->given = w->at;
        pass(w, size);
        w->link->end = w->pos;
    }
    return w->ogg->fault_at >= 0;
}

static pages *pages_new(AVIOContext *io, mert_ogg *to, mert_error *e)
{
    pages *w = calloc(1, sizeof *w);
    *to = (mert_ogg){.fault_at = -1};
    if (!w) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    w->io = io;
    w->ogg = to;
    make_crc_table(w->table);
    return w;
}

static void pages_free(pages *w)
{
    if (w)
        forget_tracks(w);
    free(w);
}

int mert_ogg_read(const char *path, mert_ogg *to, mert_error *e)
{
    AVIOContext *io = mert_span_open(path, 0, INT64_MAX, e);
    pages *w = io ? pages_new(io, to, e) : NULL;
    int how = w ? 0 : -1;
    if (!io)
        *to = (mert_ogg){.fault_at = -1};
    while (!how)
        how = step(w, e);
    if (how > 0 && w->failed)
        how = mert_fail(e, "cannot read: %s", strerror(AVUNERROR(w->failed)));
    if (to->n) /* bytes after the last page belong to the last link */
        to->links[to->n - 1].end = INT64_MAX;
    pages_free(w);
    mert_span_close(&io);
    return how < 0 ? -1 : 0;
}

/* ---- pipes ---- */

struct mert_ogg_pipe {
    pages *pages;
    AVIOContext *link;   /* through which FFmpeg reads the current link */
    mert_error why;
    int broken;          /* out of memory: the error */
};

/* FFmpeg's read function: returns bytes of whole pages, each parsed before its first byte is returned. */
static int give(void *self, uint8_t *to, int n)
{
    mert_ogg_pipe *p = self;
    pages *w = p->pages;
    size_t some;
    int how = 0;
    while (!how && w->given == w->at && w->ogg->fault_at < 0 && !p->broken)
        how = step(w, &p->why);
    p->broken |= how < 0;
    if (w->given == w->at)
        return p->broken ? AVERROR(ENOMEM) : w->failed ? w->failed : AVERROR_EOF;
    some = w->at - w->given < (size_t)n ? w->at - w->given : (size_t)n;
    memcpy(to, w->data + w->given, some);
    w->given += some;
    return (int)some;
}

mert_ogg_pipe *mert_ogg_pipe_new(AVIOContext *from, mert_ogg *to, mert_error *e)
{
    mert_ogg_pipe *p = calloc(1, sizeof *p);
    if (!p || !(p->pages = pages_new(from, to, e))) {
        free(p);
        mert_fail(e, "out of memory");
        return NULL;
    }
    p->pages->one_link = 1;
    return p;
}

static void close_link(mert_ogg_pipe *p)
{
    if (p->link)
        av_freep(&p->link->buffer);
    avio_context_free(&p->link);
}

AVIOContext *mert_ogg_pipe_next(mert_ogg_pipe *p, mert_error *e)
{
    unsigned char *buffer = av_malloc(1 << 15);
    close_link(p);
    if (!buffer || !(p->link = avio_alloc_context(buffer, 1 << 15, 0, p, give, NULL, NULL))) {
        av_free(buffer);
        mert_fail(e, "out of memory");
        return NULL;
    }
    /* The page that ended the previous link is the first of this one. */
    p->pages->one_link = 0;
    if (p->pages->ogg->n && step(p->pages, e) < 0) {
        close_link(p);
        return NULL;
    }
    p->pages->one_link = 1;
    return p->link;
}

int mert_ogg_pipe_more(mert_ogg_pipe *p)
{
    pages *w = p->pages;
    return !p->broken && !w->failed && w->ogg->fault_at < 0 && look(w, 4) >= 4 && !memcmp(w->data + w->at, "OggS", 4);
}

void mert_ogg_pipe_free(mert_ogg_pipe *p)
{
    if (!p)
        return;
    close_link(p);
    pages_free(p->pages);
    free(p);
}

void mert_ogg_free(mert_ogg *o)
{
    for (int64_t i = 0; i < o->n; i++)
        free(o->links[i].streams);
    free(o->links);
    *o = (mert_ogg){.fault_at = -1};
}
