/* Decodes audio files of any format that FFmpeg supports to one channel of floats at one rate. This module handles one
 * file, in two steps (decode, resample) that may run on two threads; ahead.h drives them for many files.
 *
 *     mert_audio_settings s = {.rate = 24000, .duration = -1, .stream = -1};
 *     mert_audio_piece decoded = {0}, ready = {0};
 *     mert_audio *a = mert_audio_open("x.mp3", &s, &e);
 *     do {
 *         mert_audio_decode(a, &decoded);             // FFmpeg, mean of the channels
 *         mert_audio_resample(a, &decoded, &ready);   // resampling, the segment
 *         use(ready.samples.data, ready.samples.n);
 *     } while (ready.how == MERT_PIECE_MORE);         // then MERT_PIECE_LAST, or MERT_PIECE_FAULT: ready.why
 *     mert_audio_close(a);
 *
 * The output depends only on the file and the settings, bit for bit (contract A1):
 *
 *   stream    The one that FFmpeg considers the best audio stream, or the N-th one; pictures, video and text are
 *             ignored.
 *   length    The decoder's output without the encoder's delay and padding, if the file has these (LAME's tag in MP3,
 *             also between other bytes; Opus pre-skip; granule positions of Vorbis and Opus; edit lists in MP4; the
 *             count of Musepack SV8). A chained Ogg is the concatenation of its links, each decoded alone. n samples at
 *             rate r become ceil(n * rate / r), as in torchaudio.
 *   channels  Their mean, (c1 + ... + cn) / n, like `wav.mean(dim=0)`; every channel has the same weight, also in
 *             surround. Integer samples are divided by half their range: 16 bits by 32768.
 *   rate      After the mean, libswresample's own engine: a sinc of 32 taps at the lower of both rates, cut off at 0.97
 *             of its Nyquist frequency, Kaiser window with beta 9, one filter phase for every phase of the ratio of the
 *             rates (nothing is interpolated), float arithmetic, no dither, no delay. The signal is continued at both
 *             ends by its mirror image.
 *   segment   start and duration in seconds, each rounded to the nearest sample of the output. The samples are those of
 *             the decoded whole file, bit for bit, in every format: what precedes the segment is decoded and dropped
 *             (with `seek` it may not be decoded at all). A segment that goes beyond the end is cut there; one that
 *             begins beyond it is an error.
 *
 * A fault ends the item with an error that has the position in seconds. Faults are: a packet that cannot be decoded; a
 * sample that is NaN or infinite; a change of the sample rate, also between links; a FLAC frame or an Ogg page with a
 * wrong checksum; an Ogg page that is cut off or missing (also the last one of each link); a file that is shorter than
 * its container declares (whole.h: in bytes; WAV, FLAC, AIFF, AU, APE, WavPack, TTA: by one sample or more; MP3: by a
 * quarter of a second or, if declared bytes are missing as well, by a frame). A WAV header that contradicts itself is
 * refused (riff.h). Bytes that cannot be decoded (tags, zeros) after the last frame of an MP3, AAC or PCM file are not
 * a fault. With `salvage` the item ends at the fault instead, and mert_audio_salvaged returns the reason. A file
 * without any sample is an error.
 *
 * Only the file itself is opened: no playlists, network addresses or other files that it refers to. Global state: the
 * first open sets FFmpeg's log callback, so that FFmpeg prints nothing and its messages become part of errors. A handle
 * must not be used by several threads except as described below; different handles are independent. */
#ifndef MERT_AUDIO_DECODE_H
#define MERT_AUDIO_DECODE_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

enum { MERT_AUDIO_RATE_MIN = 1000, MERT_AUDIO_RATE_MAX = 192000 }; /* bounds of `rate` */

typedef struct mert_audio_settings {
    int rate;         /* Hz; 0: the file's own */
    double start;     /* seconds */
    double duration;  /* seconds; negative: to the end */
    int stream;       /* number of the audio stream, from 0; negative: the best one */
    int salvage;
    int seek;         /* 1: what precedes `start` is not resampled, and not decoded either in formats where the samples
                         are certain to be the same (FLAC, WAV of integers). Damage in it is not always found */
    int regular;      /* 1: a FIFO or a device is refused, and not opened: that would wait for a writer */
} mert_audio_settings;

/* A growing array of samples. */
typedef struct mert_samples {
    float *data;
    int64_t n, room;
} mert_samples;

typedef enum mert_piece_how { MERT_PIECE_MORE, MERT_PIECE_LAST, MERT_PIECE_FAULT } mert_piece_how;

/* A part of an item. Owned by the caller, who frees samples.data by free; reusable. */
typedef struct mert_audio_piece {
    mert_samples samples;
    mert_piece_how how;   /* whether more follows */
    mert_error why;       /* MERT_PIECE_FAULT. Errors do not name the file; callers add its key */
} mert_audio_piece;

typedef struct mert_audio mert_audio;

/* Opens a file and decodes its first frame, so that its rate is known. NULL on error. */
mert_audio *mert_audio_open(const char *path, const mert_audio_settings *s, mert_error *e);
/* Decodes the next piece (about a second) to one channel at the file's own rate. One thread at a time; not after an end
 * or a fault. */
void mert_audio_decode(mert_audio *a, mert_audio_piece *to);
/* Resamples the decoded pieces, in order; the result may be empty. One thread at a time, but another thread may decode
 * the next piece meanwhile. When the segment is complete, the result is MERT_PIECE_LAST, even if there are more decoded
 * pieces.
 */
void mert_audio_resample(mert_audio *a, const mert_audio_piece *decoded, mert_audio_piece *to);
void mert_audio_close(mert_audio *a); /* NULL is fine */

int mert_audio_rate(const mert_audio *a);              /* of the output, Hz */
/* The number of output samples of the whole file, as its header or its pages say; -1: not known. */
int64_t mert_audio_total(const mert_audio *a);
/* Whether enough is decoded for the segment. If mert_audio_resample still returns MERT_PIECE_MORE, decode more. For the
 * decoding thread. */
int mert_audio_enough(const mert_audio *a);
const char *mert_audio_salvaged(const mert_audio *a);  /* after the last piece: the fault at which the item was cut, or
                                                          NULL */

typedef enum mert_audio_count_how {
    MERT_COUNT_EXACT,   /* FLAC and integer WAV: from the header, after checking the position of the last frame; others:
                           by decoding */
    MERT_COUNT_DECODE,  /* by decoding; also finds damage inside a FLAC file */
    MERT_COUNT_HEADER   /* an estimate: from the header, or by decoding if it has no length */
} mert_audio_count_how;

/* The number of output samples of the whole file with these settings (without start and duration); -1 on error. */
int64_t mert_audio_count(const char *path, const mert_audio_settings *s, mert_audio_count_how how, mert_error *e);

/* Converts `start` and `duration` to a range of samples at a rate. *count -1: to the end. */
void mert_audio_segment(const mert_audio_settings *s, int rate, int64_t *first, int64_t *count);

/* "libavformat=59.27.100 libavcodec=59.37.100 libswresample=4.7.100": versions that the samples depend on, for
 * provenance. */
void mert_audio_versions(char *to, size_t size);

#endif
