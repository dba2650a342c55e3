/* A file opened by FFmpeg, one of its audio streams, and that stream's decoded frames. Internal to audio. */
#ifndef MERT_AUDIO_INPUT_H
#define MERT_AUDIO_INPUT_H

#include "libcommon/audio/container/ogg.h"
#include "libcommon/audio/container/whole.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdint.h>

typedef struct mert_input {
    AVIOContext *io;
    AVFormatContext *format;
    AVStream *stream;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;          /* what mert_input_next decoded last */
    int64_t promised;        /* the stream's length by its header, in its time base; AV_NOPTS_VALUE: not told */
    int loose;               /* `promised` may be a quarter of a second too much */
    char *path;
    int wanted;              /* the `stream` of mert_input_open */
    mert_whole whole;        /* what is missing of the file by its container, and where its audio ends */
    int is_span;             /* io reads some bytes of the file only (span.h) */
    int64_t base;            /* and this is the place in the file of their first one */
    mert_ogg ogg;            /* of Ogg, its links */
    mert_ogg_pipe *pipe;     /* of Ogg that cannot be sought in: it comes through this; io gives the links */
    AVIOContext *from;       /* what cannot be sought in (pipe.h); io is the same, or what `pipe` makes of it */
    int64_t link;            /* the one that is open */
    int64_t skip, keep;      /* of what the decoder gives: so many samples are dropped, then so many kept; keep -1: what
                                FFmpeg itself lets through */
    int64_t packets;         /* given to the decoder so far */
    int64_t given;           /* by the decoder so far; of the link at hand */
    int64_t fault_at;        /* byte of what io reads from which on nothing is to be trusted (ogg.fault); -1: none */
    int drained;             /* no more packets: the decoder gives what it still holds */
    int unreadable;          /* the last fault was the file's, not a packet's: there is no going on */
    int no_memory;           /* a fault was that: nothing after it is what the file says */
} mert_input;

/* stream: which audio stream, from 0; negative: the best. On error nothing is left open. */
int mert_input_open(mert_input *in, const char *path, int stream, mert_error *e) MERT_MUST_USE;
void mert_input_close(mert_input *in);

/* How many samples there are by the container's own count, at the stream's rate; -1: not told. */
int64_t mert_input_total(const mert_input *in);
/* A better reason than *e for a file that gives not even its first frame, where there is one: damage at an Ogg file's
 * very beginning, free format, bytes in front of the container. */
void mert_input_say_better(mert_input *in, mert_error *e);
/* Why there is not one sample. */
void mert_input_say_empty(const mert_input *in, mert_error *e);

/* 1: a frame, 0: the end, -1: a fault (without where it is: that is the caller's to say). */
int mert_input_next(mert_input *in, mert_error *e) MERT_MUST_USE;
/* After a fault, in files that are a row of frames and nothing else (MP3, AAC, PCM): 1 if not one more frame follows.
 * Then what does not decode are tags, zeros, a last frame cut off: remains, as many such files have them. */
int mert_input_only_remains(mert_input *in);
/* The next packet of the stream, with the same returns. */
int mert_input_packet(mert_input *in, mert_error *e) MERT_MUST_USE;

/* Frames as one channel: the mean of all, as floats. to: frame->nb_samples. -1: a sample format that nobody knows. */
int mert_frame_mean(const AVFrame *frame, float *to);

#endif
