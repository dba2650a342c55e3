/* Which hidden states are wanted, as people write it: "all", "last", "last-raw", or numbers and ranges ("0,4-6"); and
 * factors for a weighted sum of them. */
#ifndef MERT_LAYERS_H
#define MERT_LAYERS_H

#include "libcommon/models/config/config.h"

typedef struct mert_layers {
    int n, index[MERT_LAYERS_MAX + 2]; /* in the order given; 0: input of layer 1, N: output of the last, N + 1: that
                                          before the final norm (last-raw) */
    int weighted;
    float factors[MERT_LAYERS_MAX + 2]; /* [n] */
} mert_layers;

/* For a model of N layers; in a list may also stand last (4-last, too) and, of a pre-LN model, last-raw. Not more than
 * one of each. */
int mert_layers_parse(mert_layers *l, const char *list, int N, mert_error *e) MERT_MUST_USE;
/* One factor per layer of l: numbers joined by commas, or else the name of a file that has them, with commas, blanks or
 * newlines between. They are taken as they are: no softmax. */
int mert_layers_weigh(mert_layers *l, const char *list, mert_error *e) MERT_MUST_USE;
/* "layers=0,6 weights=0.5,0.5": the same for the same choice (contract S3), to be freed by the caller; NULL: out of
 * memory. */
char *mert_layers_print(const mert_layers *l, int N);

#endif
