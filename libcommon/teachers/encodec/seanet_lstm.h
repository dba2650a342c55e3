/* The LSTM of a SEANet, for several items in lock-step: at each time step the states of all items that still have rows
 * are the rows of one product, so that the recurrent weights (4 MB per layer at EnCodec's size) are read once for all
 * of them. The arithmetic of each row is that of one item alone (rows.h), so the bits are the same (contract A1).
 *
 * Each step needs the previous one, so the units of a layer are divided among the threads, which synchronise after
 * every step. Each thread keeps its share of the weights in its own cache, which may be too small for all of them. */
#ifndef MERT_SEANET_LSTM_H
#define MERT_SEANET_LSTM_H

#include "libcommon/teachers/encodec/seanet.h"

/* For at most `items` items. NULL: out of memory. */
typedef struct mert_seanet_lstm mert_seanet_lstm;
mert_seanet_lstm *mert_seanet_lstm_new(const mert_seanet_stage *g, int64_t items);
void mert_seanet_lstm_free(mert_seanet_lstm *l); /* NULL is fine */

/* One item: its next rows x [rows, width], which become lstm(x) + x, and its state [layers][2][width], h and c. */
typedef struct mert_seanet_lane {
    float *x, *state;
    int64_t rows;
} mert_seanet_lane;

/* Runs n lanes, on the pool; changes the order of the array. */
void mert_seanet_lstm_run(mert_seanet_lstm *l, mert_seanet_lane *lane, int64_t n);

#endif
