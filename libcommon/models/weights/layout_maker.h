/* Internal to weights/: how a kind of model lists its parameters. The names are printf-style. */
#ifndef MERT_LAYOUT_MAKER_H
#define MERT_LAYOUT_MAKER_H

#include "libcommon/models/weights/weights.h"

typedef struct mert_layout_maker {
    mert_layout *l;
    int room, bad;
    int training_only; /* of the parameters that follow */
} mert_layout_maker;

void mert_layout_vector(mert_layout_maker *m, int64_t n, const char *format, ...) MERT_PRINTF(3, 4);
void mert_layout_matrix(mert_layout_maker *m, int64_t rows, int64_t columns, const char *format, ...) MERT_PRINTF(4, 5);
void mert_layout_cube(mert_layout_maker *m, int64_t a, int64_t b, int64_t c, const char *format, ...) MERT_PRINTF(5, 6);
/* Add NAME.weight and NAME.bias: a norm has shapes [n] and [n], a linear layer [out, in] and [out]. */
void mert_layout_norm(mert_layout_maker *m, int64_t n, const char *name);
void mert_layout_linear(mert_layout_maker *m, int64_t in, int64_t out, const char *name);

/* Adds the convolutions over the waveform; there may be none. */
void mert_layout_extractor(mert_layout_maker *m, const mert_config *c);
/* Add all parameters of a kind except the heads. */
void mert_layout_hubert(mert_layout_maker *m, const mert_config *c);
void mert_layout_conformer(mert_layout_maker *m, const mert_config *c);

#endif
