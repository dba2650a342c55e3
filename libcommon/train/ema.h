/* The moving mean of a run's weights (the recipe's ema_decay). Process 0 has it, in host memory, in the layout of the
 * weights. After each update
 *
 *     mean += (1 - decay) * (weights - mean)
 *
 * and it begins with the first weights. A checkpoint has it as ema.safetensors (ema.NAME), and SAVE/ema is a model of
 * it. */
#ifndef MERT_EMA_H
#define MERT_EMA_H

#include "formats/error.h"
#include "formats/hashes.h"
#include "libcommon/models/weights/weights.h"

#define MERT_EMA_FILE "ema.safetensors"

void mert_ema_add(float *mean, const float *weights, int64_t n, double decay);
int mert_ema_save(const float *mean, const mert_layout *l, const char *dir, mert_hashes *h, mert_error *e)
    MERT_MUST_USE;
/* mean [l->size]. 1: the checkpoint has none. */
int mert_ema_load(float *mean, const mert_layout *l, const char *dir, mert_error *e) MERT_MUST_USE;

#endif
