/* Resamples one channel, in pieces, with the settings that decode.h describes. Internal to audio. */
#ifndef MERT_AUDIO_RESAMPLE_H
#define MERT_AUDIO_RESAMPLE_H

#include "libcommon/audio/decode.h"

int mert_samples_grow(mert_samples *s, int64_t room,
                      mert_error *e) MERT_MUST_USE; /* makes room, and keeps the n samples */

typedef struct mert_resampler mert_resampler;

mert_resampler *mert_resampler_new(int from, int to, mert_error *e);
/* Adds n input samples, and appends the samples that are ready to *out. */
int mert_resampler_push(mert_resampler *r, const float *in, int64_t n, mert_samples *out, mert_error *e) MERT_MUST_USE;
/* Appends the rest: in total mert_resampled_count of the input. */
int mert_resampler_finish(mert_resampler *r, mert_samples *out, mert_error *e) MERT_MUST_USE;
void mert_resampler_free(mert_resampler *r);
int64_t mert_resampler_reach(const mert_resampler *r); /* the filter's longest reach in input samples */

/* The latest position at which a new resampler can begin so that its output from sample `first` on is that of a
 * resampler that began at 0, bit for bit. *in and *out: this position in the input and in the output, in samples. *in
 * 0: the beginning. */
void mert_resampler_begin_at(const mert_resampler *r, int64_t first, int64_t *in, int64_t *out);

int64_t mert_resampled_count(int64_t n, int from, int to); /* ceil(n * to / from) */

#endif
