/* Audio files of any kind that FFmpeg knows, as one channel of floats at one rate: the only part of the library that
 * decodes. This is one file, in two halves that may run on two threads; ahead.h is their driver, for many files.
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
 * What comes out, sample for sample, depends on the file and the settings alone (contract A1):
 *
 *   stream    The one FFmpeg holds for the best audio stream, or the N-th audio stream; pictures, video, text are
 *             passed over.
 *   length    What the decoder gives, without the encoder's delay and padding where the file tells of them (LAME's
 *             tag in MP3, also between other bytes; Opus pre-skip; the granule positions of Vorbis and Opus; edit lists
 *             in MP4; the count of Musepack SV8). A chained Ogg is its links, one behind the other, each
 *             decoded alone. n samples at rate r become ceil(n * rate / r), as torchaudio counts, too.
 *   channels  Their plain mean, (c1 + ... + cn) / n, as `wav.mean(dim=0)`; every channel weighs the same, also in
 *             surround. Integer samples are divided by half their range: 16 bits by 32768.
 *   rate      libswresample's own engine after the mean: a sinc of 32 taps at the lower of both rates, cut off at 0.97
 *             of its Nyquist frequency, Kaiser window with beta 9, one filter phase for every phase that the ratio of
 *             the rates has (nothing is interpolated), float arithmetic, no dither, no delay. Before its beginning and
 *             after its end the signal is taken to go on as its mirror image.
 *   segment   start and duration in seconds, each rounded to the nearest sample of the output. The samples are those
 *             of the whole file's decode, bit for bit, in every format: what precedes the segment is decoded, too, and
 *             dropped. A segment that goes beyond the end is cut there; one that begins beyond it is an error.
 *
 * A fault ends the item, with an error that says where, in seconds: a packet that does not decode; a sample that is no
 * finite number; a change of the sample rate, also between links; a FLAC frame or an Ogg page with a wrong checksum; an
 * Ogg page cut off or missing (the last one of each link, too); a file that ends before what its container promises
 * (whole.h: in bytes; WAV, FLAC, AIFF, AU, APE, WavPack, TTA: by a sample; MP3: by a quarter of a second, or by a frame
 * where bytes that were told are missing, too). A WAV header that contradicts itself is refused (riff.h). What does not
 * decode behind the last frame of an MP3, AAC or PCM file (tags, zeros) is no fault. With `salvage` the item ends at
 * the fault instead, and mert_audio_salvaged says why. A file without a single sample is an error.
 *
 * Only the file itself is ever opened: no playlist, no network address, no second file that it might name.
 * One piece of global state: the first open sets FFmpeg's log callback, so that its messages become part of errors and
 * are printed by nobody. Handles are not shared between threads; different handles are independent. */
#ifndef MERT_AUDIO_DECODE_H
#define MERT_AUDIO_DECODE_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

enum { MERT_AUDIO_RATE_MIN = 1000, MERT_AUDIO_RATE_MAX = 192000 }; /* what `rate` may be */

typedef struct mert_audio_settings {
    int rate;         /* Hz; 0: the file's own */
    double start;     /* seconds */
    double duration;  /* seconds; negative: to the end */
    int stream;       /* which audio stream, from 0; negative: the best */
    int salvage;
} mert_audio_settings;

/* A growing row of samples. */
typedef struct mert_samples {
    float *data;
    int64_t n, room;
} mert_samples;

typedef enum mert_piece_how { MERT_PIECE_MORE, MERT_PIECE_LAST, MERT_PIECE_FAULT } mert_piece_how;

/* Some of an item on its way. The caller's, with its memory (samples.data, by free), and used again and again. */
typedef struct mert_audio_piece {
    mert_samples samples;
    mert_piece_how how;   /* whether more will come */
    mert_error why;       /* MERT_PIECE_FAULT. Errors do not name the file: callers know its key */
} mert_audio_piece;

typedef struct mert_audio mert_audio;

/* Opens and decodes the first frame, so that what is known then is true. NULL on error. */
mert_audio *mert_audio_open(const char *path, const mert_audio_settings *s, mert_error *e);
/* The next second or so, as one channel at the file's own rate. One thread at a time; not after an end or a fault. */
void mert_audio_decode(mert_audio *a, mert_audio_piece *to);
/* A decoded piece, each in its turn, as samples of the output; there may be none yet. One thread at a time, which may
 * be another than decodes the next one. A segment that is complete has its MERT_PIECE_LAST, whatever else is decoded.
 */
void mert_audio_resample(mert_audio *a, const mert_audio_piece *decoded, mert_audio_piece *to);
void mert_audio_close(mert_audio *a); /* NULL is fine */

int mert_audio_rate(const mert_audio *a);              /* of the output */
/* Whether enough is decoded for the segment: if mert_audio_resample asks for more all the same, there is more. Of the
 * thread that decodes. */
int mert_audio_enough(const mert_audio *a);
const char *mert_audio_salvaged(const mert_audio *a);  /* after the last piece: the fault where it was cut, or NULL */

typedef enum mert_audio_count_how {
    MERT_COUNT_EXACT,   /* FLAC and integer WAV by their header, once their last frame is seen to be where the header
                           has it; everything else by decoding */
    MERT_COUNT_DECODE,  /* by decoding: also finds damage in the middle of a FLAC */
    MERT_COUNT_HEADER   /* an estimate: what the header says, or decoding where it says nothing */
} mert_audio_count_how;

/* How many samples come out for the whole file with these settings (start and duration aside); -1 on
 * error. */
int64_t mert_audio_count(const char *path, const mert_audio_settings *s, mert_audio_count_how how, mert_error *e);

/* The range of a segment in samples of the output: what `start` and `duration` mean at a rate. *count -1: to the
 * end. */
void mert_audio_segment(const mert_audio_settings *s, int rate, int64_t *first, int64_t *count);

/* "libavformat=59.27.100 libavcodec=59.37.100 libswresample=4.7.100": what else decides the samples, for provenance. */
void mert_audio_versions(char *to, size_t size);

#endif
