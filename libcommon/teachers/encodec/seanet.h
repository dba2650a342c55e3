/* SEANet, the causal convolutional network of EnCodec's encoder and decoder (man/model.md 12.1), computed along time in
 * constant memory. A net is a sequence of stages on rows [T, C] (time first):
 *
 *     conv       (ELU first or not) kernel k, stride s, dilation d; left padding (k - 1) d + 1 - s by reflection,
 *                right padding what completes the last output
 *     upsampler  (ELU first) transposed conv, kernel 2 r, stride r, extra rows on the right are removed: output
 *                rows r t + j = W[j] x[t] + W[j + r] x[t - 1], so it is a product of [x[t-1], x[t]] with r * C' outputs
 *     residual   y = shortcut(x) + conv k 1 (ELU (conv k 3 (ELU x)))
 *     lstm       y = lstm(x) + x
 *
 * All products use rows.h, so a row's value depends only on the rows inside its receptive field. Time can be cut
 * anywhere, and the rows before a cut computed again, without changing a bit (contract A1). */
#ifndef MERT_SEANET_H
#define MERT_SEANET_H

#include "formats/error.h"
#include "libcommon/nn/cpu/rows.h"

#include <stdint.h>

typedef struct mert_seanet_conv {
    mert_rows *product;   /* n = up * out, k = kernel * in */
    int64_t in, out;      /* channels */
    int64_t stride, up;   /* input rows per step, output rows per step */
    int64_t left;         /* past rows that a step needs before its own */
    int zero_past;        /* 1: zeros before the beginning (upsampler), 0: reflection */
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

void mert_seanet_free(mert_seanet *s); /* frees its contents */

int64_t mert_seanet_in(const mert_seanet *s);  /* channels */
int64_t mert_seanet_out(const mert_seanet *s);
int64_t mert_seanet_stride(const mert_seanet *s); /* input rows per output row (decoder: 1) */
int mert_seanet_lstm_stage(const mert_seanet *s); /* the index of the LSTM; a net has at most one; s->n: none */

/* ---- the stages before or after the LSTM ----
 *
 * seanet_part.c: runs stages [first, end) of a net, without an LSTM, on the pool. Stretches (consecutive rows) of any
 * number of items are divided in time into pieces; each thread computes all stages of a piece, in blocks that fit in
 * its cache. */
typedef struct mert_seanet_part mert_seanet_part;

/* NULL: out of memory. The net must outlive it. */
mert_seanet_part *mert_seanet_part_new(const mert_seanet *s, int first, int end);
void mert_seanet_part_free(mert_seanet_part *p); /* NULL is fine */

int64_t mert_seanet_part_out(const mert_seanet_part *p);    /* channels */
int64_t mert_seanet_part_stride(const mert_seanet_part *p); /* input rows per step */
int64_t mert_seanet_part_up(const mert_seanet_part *p);     /* output rows per step */
/* The number of past input rows that an output depends on, which callers must keep for each item; a multiple of the
 * stride. */
int64_t mert_seanet_part_past(const mert_seanet_part *p);
/* The minimum length of an item's first stretch, unless the item ends with it: reflection needs these rows; a multiple
 * of the stride. */
int64_t mert_seanet_part_least(const mert_seanet_part *p);

/* x [before + rows, in] -> y [ceil(rows / stride) * up, out], the output of the last `rows` only. rows: a multiple of
 * the stride, unless the item ends with them. before: a multiple of the stride, at least `past`, or all earlier rows;
 * then `begins` is set, and x[0] is the item's first row. */
typedef struct mert_seanet_stretch {
    const float *x;
    int64_t before, rows;
    int begins;
    float *y;
} mert_seanet_stretch;

int64_t mert_seanet_part_out_rows(const mert_seanet_part *p, int64_t rows);
/* -1: out of memory. One call at a time. */
int mert_seanet_part_run(mert_seanet_part *p, const mert_seanet_stretch *s, int64_t n);

/* seanet_plain.c: the readable version, for a whole item at once: [*out_rows, out], to be freed by the caller. For
 * tests: it does not check for failed allocations. */
float *mert_seanet_plain(const mert_seanet *s, const float *x, int64_t rows, int64_t *out_rows);

#endif
