/* The moving mean of a run's weights (ema_decay of the recipe). Process 0 has it, in host memory, in the layout of the
 * weights. It begins with the first weights. After each update
 *
 *     mean += (1 - decay) * (weights - mean)
 *
 * A checkpoint stores it as ema.safetensors (ema.NAME). SAVE/ema is a model directory with these weights. */
#ifndef MERT_EMA_H
#define MERT_EMA_H

#include "formats/error.h"
#include "formats/hashes.h"
#include "libcommon/models/weights/weights.h"

#define MERT_EMA_FILE "ema.safetensors"

void mert_ema_add(float *mean, const float *weights, int64_t n, double decay);
int mert_ema_save(const float *mean, const mert_layout *l, const char *dir, mert_hashes *h, mert_error *e)
    MERT_MUST_USE;
/* Reads mean [l->size]. Returns 1 if the checkpoint has none. */
int mert_ema_load(float *mean, const mert_layout *l, const char *dir, mert_error *e) MERT_MUST_USE;

#endif
