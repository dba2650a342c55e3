/* Opens a file by FFmpeg and decodes the frames of one audio stream. Internal to audio. */
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
    AVFrame *frame;          /* the last result of mert_input_next */
    int64_t promised;        /* the stream's length in the header, in its time base; AV_NOPTS_VALUE: not known */
    int loose;               /* `promised` may be too large by a quarter of a second */
    char *path;
    int wanted;              /* the argument `stream` of mert_input_open */
    mert_whole whole;        /* missing bytes according to the container, and where the audio ends */
    int is_span;             /* io reads only a part of the file (span.h) */
    int64_t base;            /* the position in the file of the first byte that io reads */
    mert_ogg ogg;            /* Ogg: its links */
    mert_ogg_pipe *pipe;     /* Ogg without seeking: the reader below it; io returns one link at a time */
    AVIOContext *from;       /* an input without seeking (pipe.h); io is the same, or one link of `pipe` */
    int64_t link;            /* the number of the open link */
    int64_t skip, keep;      /* the first `skip` decoded samples are dropped, the next `keep` kept; keep -1: FFmpeg
                                decides */
    int64_t packets;         /* packets sent to the decoder so far */
    int64_t given;           /* decoded samples so far, of the current link */
    int64_t fault_at;        /* position in io from which on data are not trusted (ogg.fault); -1: none */
    int drained;             /* no more packets: the decoder is being flushed */
    int unreadable;          /* the last fault was in reading the file, not in a packet: cannot continue */
    int no_memory;           /* there was an "out of memory" fault */
} mert_input;

/* stream: number of the audio stream, from 0; negative: the best one. On error everything is closed. */
int mert_input_open(mert_input *in, const char *path, int stream, mert_error *e) MERT_MUST_USE;
void mert_input_close(mert_input *in);

/* The number of samples according to the container, at the stream's rate; -1: not known. */
int64_t mert_input_total(const mert_input *in);
/* For a file whose first frame cannot be decoded: replaces *e by a better reason if there is one: damage at the
 * beginning of an Ogg file, free-format MP3, bytes in front of the container. */
void mert_input_say_better(mert_input *in, mert_error *e);
/* Fills *e with the reason why there is no sample. */
void mert_input_say_empty(const mert_input *in, mert_error *e);

/* 1: a frame, 0: the end, -1: a fault (the caller adds the position). */
int mert_input_next(mert_input *in, mert_error *e) MERT_MUST_USE;
/* After a fault, for files that are a plain sequence of frames (MP3, AAC, PCM): 1 if no further frame follows. Then the
 * bytes that cannot be decoded are tags, zeros or a truncated last frame, which many such files have. */
int mert_input_only_remains(mert_input *in);
/* The next packet of the stream, with the same returns. */
int mert_input_packet(mert_input *in, mert_error *e) MERT_MUST_USE;

/* Mixes a frame to one channel of floats: the mean of all channels. to: [frame->nb_samples]. -1: unknown sample
 * format. */
int mert_frame_mean(const AVFrame *frame, float *to);

#endif
