/* Parses the pages of an Ogg file (RFC 3533) for facts that FFmpeg does not report: where the file is damaged, where
 * the links of a chained file begin and end, and which decoded samples the granule positions keep. Internal to
 * audio. */
#ifndef MERT_AUDIO_OGG_H
#define MERT_AUDIO_OGG_H

#include "formats/error.h"

#include <libavformat/avio.h>
#include <stdint.h>

/* A logical stream. Of the decoded samples, the first `skip` are dropped and the next `total` are kept. total -1: not
 * known (the stream is not `counted`, or its last page is still to come). */
typedef struct mert_ogg_stream {
    uint32_t serial;
    int audio;          /* Vorbis, Opus, Speex or FLAC */
    int counted;        /* Vorbis or Opus, and its headers give the number of samples per packet */
    int last;           /* its last page was read */
    int64_t skip, total;
} mert_ogg_stream;

/* A link of a chained file: its multiplexed streams, in the order of their first pages. */
typedef struct mert_ogg_link {
    int64_t begin, end; /* bytes of the file */
    int n;
    mert_ogg_stream *streams;
} mert_ogg_link;

typedef struct mert_ogg {
    int64_t n;
    mert_ogg_link *links;
    int64_t fault_at;   /* position of the first fault; -1: none. The link with the fault is the last one in the
                           list. */
    mert_error fault;   /* its description */
} mert_ogg;

/* Reads all pages of a file and checks checksums, page numbers, and that each audio stream has a last page. -1: the
 * file cannot be read, or out of memory. Free *to in any case. */
int mert_ogg_read(const char *path, mert_ogg *to, mert_error *e) MERT_MUST_USE;
void mert_ogg_free(mert_ogg *o);

/* The same for a pipe, while FFmpeg reads it: each page is added to *to before FFmpeg gets it. */
typedef struct mert_ogg_pipe mert_ogg_pipe;

mert_ogg_pipe *mert_ogg_pipe_new(AVIOContext *from, mert_ogg *to, mert_error *e);
/* The next link, to be read to its end. Owned by the pipe, valid until the next call. It also ends before a fault. NULL
 * on error. */
AVIOContext *mert_ogg_pipe_next(mert_ogg_pipe *p, mert_error *e);
int mert_ogg_pipe_more(mert_ogg_pipe *p); /* at the end of a link: 1 if another one follows */
void mert_ogg_pipe_free(mert_ogg_pipe *p); /* NULL is fine */

/* The number of samples in an Opus packet at 48 kHz (RFC 6716, 3.1 and 3.2), from its first two bytes; 0: none, or not
 * a valid packet. */
int mert_opus_samples(const unsigned char *packet, int64_t size);

#endif
