/* Targets of the regression heads: the CQT and the log mel spectrum of the clean waveform (man/model.md 3.3 and 3.4),
 * computed on the host, one clip per task of the pool. (cqt_device.h: the CQT on a device.) */
#ifndef MERT_TRAIN_TARGETS_H
#define MERT_TRAIN_TARGETS_H

#include "formats/error.h"
#include "libcommon/dsp/cqt.h"
#include "libcommon/models/config/config.h"

mert_cqt_config mert_train_cqt(const mert_config *c); /* the transform of the CQT target */

typedef struct mert_train_targets mert_train_targets;

mert_train_targets *mert_train_targets_new(const mert_config *c, mert_error *e);
void mert_train_targets_free(mert_train_targets *t);

/* audio [B, L]. For the first T frames of each clip: cqt [B, T, cqt_target_bins] in the form of the configuration, and
 * standardised if it has a deviation; mel [B, T, mel_target_bins], normalised to mean 0 and standard deviation 1 over
 * the whole batch (over all L / hop + 1 frames, as the official code does before it truncates). An output for which the
 * model has no head is not written (may be NULL). */
int mert_train_targets_compute(mert_train_targets *t, int64_t B, int64_t L, int64_t T, const float *audio, float *cqt,
                               float *mel, mert_error *e) MERT_MUST_USE;

#endif
