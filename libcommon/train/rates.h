/* The learning rates of fine-tuning, as multiples of the update's, for ranges of the flat array. With `top` the hidden
 * state that the head is given (the last one, if it is given all):
 *
 *     the head                                           head_lr
 *     layer l, which makes hidden state l, l <= top      layer_decay ^ (top - l)
 *     what comes before the layers                       layer_decay ^ top
 *
 * What has no gradient is not updated, so that weight decay does not change it: layers above top, mask_emb, constants
 * of the head, and the extractor if it is not trained. */
#ifndef MERT_RATES_H
#define MERT_RATES_H

#include "libcommon/models/weights/weights.h"
#include "libcommon/train/parallel/shards.h"
#include "libcommon/train/recipe/update.h"

/* *rates [*n], to be freed. head_alone: everything else is frozen. */
int mert_rates_make(mert_rate **rates, int *n, const mert_layout *l, const mert_task_config *c, int head_alone,
                    mert_error *e) MERT_MUST_USE;

#endif
