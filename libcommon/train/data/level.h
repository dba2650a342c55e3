/* Mean and deviation of whole items: what normalised training (the recipe's `normalize`) subtracts and divides by, as
 * HuBERT Large and models with LayerNorm in the extractor do. Each item is read once as a whole, when a crop of it is
 * first wanted. */
#ifndef MERT_LEVEL_H
#define MERT_LEVEL_H

#include "libcommon/train/data/corpus.h"

/* x[n], a crop of the item, becomes (x - mean) / sqrt(variance + eps), of the whole item. -1: it cannot be read. One
 * thread at a time. */
int mert_level_crop(mert_corpus *c, int64_t item, double eps, float *x, int64_t n, mert_error *e) MERT_MUST_USE;

#endif
