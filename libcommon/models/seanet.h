/* SEANet, the causal convolution network on both sides of EnCodec's quantiser (REFERENCE section 5), run along time in
 * constant memory. A net is a row of stages on rows [T, C] (time first):
 *
 * conv       (ELU first, or not) kernel k, stride s, dilation d; left padding (k - 1) d + 1 - s by reflection, right
 * padding
 *                what completes the last output
 * upsampler  (ELU first) transposed conv, kernel 2 r, stride r, what hangs over on the right is trimmed: output rows
 *                r t + j = W[j] x[t] + W[j + r] x[t - 1], so it is a product of [x[t-1], x[t]] with r * C' outputs
 *     residual   y = shortcut(x) + conv k 1 (ELU (conv k 3 (ELU x)))
 *     lstm       y = lstm(x) + x
 *
 * Weights are shared; what a net remembers of an item (the last input rows of each conv, the LSTM's state) is the
 * item's. Blocks of rows go through all stages; all arithmetic is by rows.h, so where blocks begin changes no bit
 * (A1). */
#ifndef MERT_SEANET_H
#define MERT_SEANET_H

#include "../../formats/error.h"
#include "../nn/rows.h"

#include <stdint.h>

typedef struct mert_seanet_conv {
    mert_rows *product;   /* n = up * out, k = kernel * in */
    int64_t in, out;      /* channels */
    int64_t stride, up;   /* input rows per step, output rows per step */
    int64_t left;         /* rows of the past that a step sees before its own */
    int zero_past;        /* before the beginning: zeros (upsampler) instead of reflection */
} mert_seanet_conv;

typedef enum mert_seanet_kind { MERT_SEANET_CONV, MERT_SEANET_RESIDUAL, MERT_SEANET_LSTM } mert_seanet_kind;

enum { MERT_SEANET_STAGES = 64, MERT_SEANET_LSTM_LAYERS = 4 };

typedef struct mert_seanet_stage {
    mert_seanet_kind kind;
    int elu;                             /* conv: ELU first */
    /* residual: all three (shortcut.product NULL: identity); conv: the first */
    mert_seanet_conv conv, second, shortcut;
    int64_t width;                       /* lstm */
    int layers;
    /* [4 width, width], bias in `input` */
    mert_rows *input[MERT_SEANET_LSTM_LAYERS], *recurrent[MERT_SEANET_LSTM_LAYERS];
} mert_seanet_stage;

typedef struct mert_seanet {
    int n;
    mert_seanet_stage stages[MERT_SEANET_STAGES];
} mert_seanet;

void mert_seanet_free(mert_seanet *s); /* what it holds */

int64_t mert_seanet_in(const mert_seanet *s);  /* channels */
int64_t mert_seanet_out(const mert_seanet *s);
int64_t mert_seanet_stride(const mert_seanet *s); /* input rows per output row (decoder: 1) */
int64_t mert_seanet_up(const mert_seanet *s);     /* output rows per input row (encoder: 1) */
/* Input rows that a first block must have, unless it is the only one, for reflection to find its rows; a multiple of
 * the stride. */
int64_t mert_seanet_least_block(const mert_seanet *s);

/* What a net remembers of one item. NULL: out of memory. */
typedef struct mert_seanet_item mert_seanet_item;
mert_seanet_item *mert_seanet_item_new(const mert_seanet *s);
void mert_seanet_item_free(mert_seanet_item *i);
void mert_seanet_item_reset(mert_seanet_item *i); /* as new */

/* Buffers for blocks of at most `rows` input rows; one for any number of items that are run one after another. lanes:
 * as many items at most go through the LSTM in lock-step (seanet_lstm.h). */
typedef struct mert_seanet_work mert_seanet_work;
mert_seanet_work *mert_seanet_work_new(const mert_seanet *s, int64_t rows, int64_t lanes);
struct mert_seanet_lstm *mert_seanet_work_lstm(mert_seanet_work *w); /* NULL: the net has none */
void mert_seanet_work_free(mert_seanet_work *w);

/* The next `rows` rows x[rows, in] of an item; a multiple of the stride unless `last`. Returns y (the workspace's,
 * valid until its next use) and its number of rows in *out_rows. */
const float *mert_seanet_run(const mert_seanet *s, mert_seanet_item *i, mert_seanet_work *w, const float *x,
                             int64_t rows, int last, int64_t *out_rows);

/* The same by parts: stages [first, end) alone. The LSTM between two parts is then the caller's (seanet_lstm.h), with
 * the item's state [layers][2][width] for it. A net has one LSTM stage at most; without one, its number is s->n. */
const float *mert_seanet_run_part(const mert_seanet *s, int first, int end, mert_seanet_item *i, mert_seanet_work *w,
                                  const float *x, int64_t rows, int last, int64_t *out_rows);
int mert_seanet_lstm_stage(const mert_seanet *s);
float *mert_seanet_lstm_state(const mert_seanet *s, mert_seanet_item *i);

/* The readable version, of a whole item at once, by the definitions: [*out_rows, out], to be freed by the caller.
 * For tests: it does not look after memory that cannot be had. (seanet_plain.c) */
float *mert_seanet_plain(const mert_seanet *s, const float *x, int64_t rows, int64_t *out_rows);

#endif
