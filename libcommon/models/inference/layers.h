/* The list of hidden states that a user asks for: "all", "last", "last-raw", or numbers and ranges ("0,4-6"); and
 * factors for their weighted sum. */
#ifndef MERT_LAYERS_H
#define MERT_LAYERS_H

#include "libcommon/models/config/config.h"

typedef struct mert_layers {
    int n, index[MERT_LAYERS_MAX + 2]; /* in the order of the list; 0: input of layer 1, N: output of the last layer, N
                                          + 1: this output before the final norm (last-raw) */
    int weighted;
    float factors[MERT_LAYERS_MAX + 2]; /* [n] */
} mert_layers;

/* Parses a list for a model of N layers. It may also contain last (as in 4-last) and, for pre-LN models, last-raw. A
 * state that is listed twice is an error. */
int mert_layers_parse(mert_layers *l, const char *list, int N, mert_error *e) MERT_MUST_USE;
/* Reads one factor for each layer of l. list: numbers separated by commas, or the name of a file with numbers separated
 * by commas, blanks or newlines. The factors are used as they are, without a softmax. */
int mert_layers_weigh(mert_layers *l, const char *list, mert_error *e) MERT_MUST_USE;
/* "layers=0,6 weights=0.5,0.5": the same text for the same choice (contract S3). The caller frees it. NULL: out of
 * memory. */
char *mert_layers_print(const mert_layers *l, int N);

#endif
