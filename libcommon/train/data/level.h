/* Mean and variance of whole items, for normalised training (the recipe's `normalize`), as for HuBERT Large and models
 * with LayerNorm in the extractor. Each item is read once as a whole, before the first crop of it is used. */
#ifndef MERT_LEVEL_H
#define MERT_LEVEL_H

#include "libcommon/train/data/corpus.h"

/* x[n], a crop of the item, becomes (x - mean) / sqrt(variance + eps), with mean and variance of the whole item. Fails
 * if the item cannot be read. One thread at a time. */
int mert_level_crop(mert_corpus *c, int64_t item, double eps, float *x, int64_t n, mert_error *e) MERT_MUST_USE;

#endif
