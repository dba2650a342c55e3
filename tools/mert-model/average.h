/* mert-model average: the mean of the weights of models. */
#ifndef MERT_MODEL_AVERAGE_H
#define MERT_MODEL_AVERAGE_H

#include "formats/error.h"
#include "libcommon/models/weights/weights.h"

/* *mean: the mean of the weights of n models of the same configuration, summed in float64; with heads if all models
 * have them. Another configuration is an error that names the difference. The caller frees it. */
int average_models(mert_weights *mean, char *const *paths, int n, mert_error *e) MERT_MUST_USE;

#endif
