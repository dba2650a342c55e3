/* The log-mel spectra of a batch, which are the input of a Conformer. They are computed on the host, one clip per task
 * of the pool. */
#ifndef MERT_MEL_BATCH_H
#define MERT_MEL_BATCH_H

#include "libcommon/models/weights/weights.h"

typedef struct mert_mel_batch mert_mel_batch;

/* Copies the tables (window, filters) of w. w->values NULL: uses the standard tables (for --plan). NULL on error. */
mert_mel_batch *mert_mel_batch_new(const mert_weights *w, mert_error *e);
void mert_mel_batch_free(mert_mel_batch *m); /* m may be NULL */
/* audio [B, L] -> rows [B, mert_config_mel_frames(L), mels] */
int mert_mel_batch_run(mert_mel_batch *m, int64_t B, int64_t L, const float *audio, float *rows, mert_error *e)
    MERT_MUST_USE;

#endif
