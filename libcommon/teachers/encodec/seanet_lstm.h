/* The LSTM of a SEANet, for several items in lock-step: at each time step the states of all items that still have
 * rows are the rows of one product, so that the recurrent weights (4 MB a layer at EnCodec's size) are read once for
 * all of them. Row by row the arithmetic is that of one item alone (rows.h), so the bits are the same (contract A1).
 *
 * A step waits for the one before it, so a layer's units are shared among the threads: each keeps its share of the
 * weights in its own cache (a half of them fits where all do not), and all meet after every step. */
#ifndef MERT_SEANET_LSTM_H
#define MERT_SEANET_LSTM_H

#include "libcommon/teachers/encodec/seanet.h"

/* Room for at most `items` items. NULL: out of memory. */
typedef struct mert_seanet_lstm mert_seanet_lstm;
mert_seanet_lstm *mert_seanet_lstm_new(const mert_seanet_stage *g, int64_t items);
void mert_seanet_lstm_free(mert_seanet_lstm *l); /* NULL is fine */

/* One item: its next rows x [rows, width], which become lstm(x) + x, and its state [layers][2][width], h and c. */
typedef struct mert_seanet_lane {
    float *x, *state;
    int64_t rows;
} mert_seanet_lane;

/* n lanes, which are put into another order. By the pool. */
void mert_seanet_lstm_run(mert_seanet_lstm *l, mert_seanet_lane *lane, int64_t n);

#endif
