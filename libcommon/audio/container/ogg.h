/* What the pages of an Ogg file say (RFC 3533), of which FFmpeg passes on only a part: where the file is damaged, where
 * one link of a chain ends and the next begins, and which of a stream's decoded samples its granule positions count.
 * Internal to audio. */
#ifndef MERT_AUDIO_OGG_H
#define MERT_AUDIO_OGG_H

#include "formats/error.h"

#include <libavformat/avio.h>
#include <stdint.h>

/* A logical stream. Of what its packets decode to, from the first one on, `skip` samples are to be dropped, and `total`
 * samples are to be kept behind them; total -1: not told (it is not `counted`, or its last page was not there yet). */
typedef struct mert_ogg_stream {
    uint32_t serial;
    int audio;          /* Vorbis, Opus, Speex or FLAC */
    int counted;        /* Vorbis or Opus, with headers that tell how many samples a packet has */
    int last;           /* its last page is there */
    int64_t skip, total;
} mert_ogg_stream;

/* A link of a chain: streams beside each other, in the order of their first pages. */
typedef struct mert_ogg_link {
    int64_t begin, end; /* bytes of the file */
    int n;
    mert_ogg_stream *streams;
} mert_ogg_link;

typedef struct mert_ogg {
    int64_t n;
    mert_ogg_link *links;
    int64_t fault_at;   /* the byte where the first fault lies; -1: none. The links end with the one that it is in. */
    mert_error fault;   /* what it is */
} mert_ogg;

/* Walks the pages of a file: checksums, page numbers, a last page of each audio stream. -1: the file cannot be read,
 * or there is no memory. Free it in any case. */
int mert_ogg_read(const char *path, mert_ogg *to, mert_error *e) MERT_MUST_USE;
void mert_ogg_free(mert_ogg *o);

/* The same of a pipe, while FFmpeg reads it: *to grows with the pages that pass, and is ahead of what FFmpeg has. */
typedef struct mert_ogg_pipe mert_ogg_pipe;

mert_ogg_pipe *mert_ogg_pipe_new(AVIOContext *from, mert_ogg *to, mert_error *e);
/* The next link, alone, to be read to its end; the pipe's own, and valid until the next call. It ends in front of a
 * fault, too. NULL on error. */
AVIOContext *mert_ogg_pipe_next(mert_ogg_pipe *p, mert_error *e);
int mert_ogg_pipe_more(mert_ogg_pipe *p); /* at the end of a link: whether another one follows */
void mert_ogg_pipe_free(mert_ogg_pipe *p); /* NULL is fine */

/* Samples of a packet of Opus at 48 kHz (RFC 6716, 3.1 and 3.2), from its first two bytes; 0: none, or no such
 * packet. */
int mert_opus_samples(const unsigned char *packet, int64_t size);

#endif
