/* Audio that is decoded while a run needs it: by processes of mert-decode --crops (tools/mert-decode/crops.h describes
 * requests and answers). So the trainer does not link FFmpeg, and if FFmpeg crashes on a file, only its item fails. */
#ifndef MERT_DECODERS_H
#define MERT_DECODERS_H

#include "formats/error.h"

#include <stdint.h>

/* Samples [first, first + n) of a file, of `whole` samples at the rate of the decoders. */
typedef struct mert_decoding {
    char *path; /* the caller's */
    int64_t whole, first, n;
    float *to; /* [n]: int16 scaled by 2^-15, the samples that packed i16 pcm of the file has */
    int bad;
    mert_error why; /* bad: without the file's name */
} mert_decoding;

typedef struct mert_decoders mert_decoders;

/* Up to `processes` of them, which are started when there is work. patience: seconds without a byte of an answer after
 * which a process counts as hanging; 0: for ever. NULL: out of memory. */
mert_decoders *mert_decoders_new(int processes, int64_t sample_rate, double patience, mert_error *e);
/* Decodes all of them, each by one process. One that cannot be decoded is `bad`. -1: decoders cannot be started, end by
 * themselves, or hang; the error names the file. A hang fails the whole, because it may be the fault of a disk: without
 * its items the model would be another one. One thread at a time. */
int mert_decoders_run(mert_decoders *d, mert_decoding *of, int64_t n, mert_error *e) MERT_MUST_USE;
/* Ends the processes; one that does not end by itself in 2 seconds is killed. *use (may be NULL): what they have used.
 * NULL is fine. */
typedef struct mert_decoders_use {
    double cpu;     /* seconds, of all together */
    int64_t memory; /* bytes: the peak of the largest process */
} mert_decoders_use;
void mert_decoders_free(mert_decoders *d, mert_decoders_use *use);

#endif
