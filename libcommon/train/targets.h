/* What the regression heads are to predict: the CQT and the log mel spectrum of the clean waveform (man/model.md 3.3
 * and 3.4), computed on the host, one clip per task of the pool. */
#ifndef MERT_TRAIN_TARGETS_H
#define MERT_TRAIN_TARGETS_H

#include "formats/error.h"
#include "libcommon/models/config/config.h"

typedef struct mert_train_targets mert_train_targets;

mert_train_targets *mert_train_targets_new(const mert_config *c, mert_error *e);
void mert_train_targets_free(mert_train_targets *t);

/* audio [B, L]. Of each clip the first T frames: cqt [B, T, cqt_target_bins], mel [B, T, mel_target_bins], the latter
 * normalised to mean 0 and standard deviation 1 over the whole batch (all its L / hop + 1 frames, as the official code
 * does before it cuts). What the model has no head for is left alone (may be NULL). */
int mert_train_targets_compute(mert_train_targets *t, int64_t B, int64_t L, int64_t T, const float *audio, float *cqt,
                               float *mel, mert_error *e) MERT_MUST_USE;

#endif
