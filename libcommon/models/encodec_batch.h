/* Many items through EnCodec's encoder, the LSTM in lock-step (seanet_lstm.h). What stands before the LSTM is computed
 * as samples come and waits there, [frames, width of the LSTM]; when enough items are together, or as many frames as
 * may wait, all of them go through the LSTM and on to the embeddings. So an item of any length takes bounded memory:
 * the part that has come goes on, with its state kept. Bits are those of one item alone (A1). */
#ifndef MERT_ENCODEC_BATCH_H
#define MERT_ENCODEC_BATCH_H

#include "encodec.h"

typedef struct mert_encodec_batch mert_encodec_batch;

/* items: at most so many together; frames: as many may wait (131072 at EnCodec's size: 256 MiB, half an hour of audio).
 * The model must outlive it. */
mert_encodec_batch *mert_encodec_batch_new(const mert_encodec *m, int64_t items, int64_t frames, mert_error *e);
void mert_encodec_batch_free(mert_encodec_batch *b); /* NULL is fine */

/* A next item; the one before it has ended. There must be room: not full. */
int mert_encodec_batch_begin(mert_encodec_batch *b, mert_error *e);
/* Samples of the item that began last. */
int mert_encodec_batch_add(mert_encodec_batch *b, const float *samples, int64_t n, mert_error *e);
int mert_encodec_batch_end(mert_encodec_batch *b, mert_error *e);
void mert_encodec_batch_drop(mert_encodec_batch *b); /* the item that began last, ended or not, is forgotten */

/* 1: it is time to run: as many frames wait as may, or as many items are there and have ended, or
 * one that has not ended is long. */
int mert_encodec_batch_full(const mert_encodec_batch *b);
/* Everything that waits goes through. For each item in order `give` is called with its embeddings [n, D], some at a
 * time, and `ended` after the last of an item that has ended (it is then forgotten). -1 from either ends the run. */
int mert_encodec_batch_run(mert_encodec_batch *b, mert_encodec_give give, int (*ended)(void *arg, mert_error *e),
                           void *arg, mert_error *e);

#endif
