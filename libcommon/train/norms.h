/* Norms of each parameter group (models/weights/parameter_groups.h), before an update: of the gradient, before
 * clipping, and of the weights. */
#ifndef MERT_NORMS_H
#define MERT_NORMS_H

#include "libcommon/train/trainer.h"

typedef struct mert_norms {
    int n; /* number of groups */
    double gradient[MERT_LAYERS_MAX + 3], weight[MERT_LAYERS_MAX + 3];
} mert_norms;

/* From the summed gradients of the trainer, which are divided by divisor: sample size times loss scale. All processes
 * call it; only the one with here 1 gets the norms. */
int mert_norms_measure(mert_norms *norms, mert_trainer *t, int here, double divisor, mert_error *e) MERT_MUST_USE;

#endif
