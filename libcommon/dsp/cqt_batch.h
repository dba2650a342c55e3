/* The CQT of many clips of equal length, one clip per task of the pool: for the training target, or as a second input
 * of a model. */
#ifndef MERT_CQT_BATCH_H
#define MERT_CQT_BATCH_H

#include "libcommon/dsp/cqt.h"

typedef struct mert_cqt_batch mert_cqt_batch;

mert_cqt_batch *mert_cqt_batch_new(const mert_cqt_config *c, mert_error *e);
void mert_cqt_batch_free(mert_cqt_batch *b); /* NULL is fine */

/* audio [B, L] -> rows [B, T, width]: the first T frames of each clip; T at most mert_cqt_frames(L). Clips are zero
 * outside. */
int mert_cqt_batch_run(mert_cqt_batch *b, int64_t B, int64_t L, int64_t T, const float *audio, float *rows,
                       mert_error *e) MERT_MUST_USE;

#endif
