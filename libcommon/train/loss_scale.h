/* What the gradient of the loss is multiplied by, so that float16 can hold the gradients of activations: as fairseq's
 * DynamicLossScaler with the defaults of its options (fp16_init_scale 128, no fp16_scale_tolerance, min_loss_scale
 * 1e-4). A gradient that is not finite is an overflow: its update is left out, and the scale is halved. After a window
 * of updates without one it is doubled. bfloat16 and float32 have the range that it takes: their scale is always 1. */
#ifndef MERT_LOSS_SCALE_H
#define MERT_LOSS_SCALE_H

#include "formats/error.h"
#include "libcommon/nn/ops.h"

typedef struct mert_loss_scale {
    double scale;
    int64_t good;      /* updates since the last overflow, or since the beginning */
    int64_t overflows; /* updates that were left out because of one */
} mert_loss_scale;

#define MERT_LOSS_SCALE_FIRST 128.0
#define MERT_LOSS_SCALE_LEAST 1e-4 /* nothing is left to gain when it is not larger than this */

mert_loss_scale mert_loss_scale_first(mert_element_type type);
/* Updates of so many batches, over all processes: as fairseq's 2^14 / processes / update_freq, at least 1. */
int64_t mert_loss_scale_window(int64_t batches);
void mert_loss_scale_good(mert_loss_scale *s, int64_t window);
/* -1: the scale has come to its least; *s is as before. */
int mert_loss_scale_overflow(mert_loss_scale *s, mert_error *e) MERT_MUST_USE;

#endif
