/* Loss scaling: the loss is multiplied by `scale`, so that float16 can represent the gradients of activations. It works
 * as fairseq's DynamicLossScaler with the defaults of its options (fp16_init_scale 128, no fp16_scale_tolerance,
 * min_loss_scale 1e-4). A gradient that is not finite is an overflow: the update is left out, and the scale is halved.
 * After a window of updates without overflow the scale is doubled. bfloat16 and float32 have the range that gradients
 * need: their scale is always 1. */
#ifndef MERT_LOSS_SCALE_H
#define MERT_LOSS_SCALE_H

#include "formats/error.h"
#include "libcommon/nn/ops.h"

typedef struct mert_loss_scale {
    double scale;
    int64_t good;      /* updates since the last overflow or since the start */
    int64_t overflows; /* updates that were left out because of an overflow */
} mert_loss_scale;

#define MERT_LOSS_SCALE_FIRST 128.0
#define MERT_LOSS_SCALE_LEAST 1e-4 /* the smallest scale */

mert_loss_scale mert_loss_scale_first(mert_element_type type);
/* The number of updates in a window, for updates of `batches` batches over all processes: fairseq's 2^14 / processes /
 * update_freq, at least 1. */
int64_t mert_loss_scale_window(int64_t batches);
void mert_loss_scale_good(mert_loss_scale *s, int64_t window);
/* -1: the scale would be smaller than the smallest one; *s is unchanged. */
int mert_loss_scale_overflow(mert_loss_scale *s, mert_error *e) MERT_MUST_USE;

#endif
