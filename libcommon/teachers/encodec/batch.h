/* Many items through EnCodec's encoder or decoder, the LSTM in lock-step (seanet_lstm.h). Rows wait as they come;
 * when enough items are together, or as many frames as may wait, all of them go through what stands before the LSTM,
 * the LSTM, and what stands behind it (seanet.h). So an item of any length takes bounded memory: the part that has
 * come goes on, with its state kept. Bits are those of one item alone (contract A1). */
#ifndef MERT_ENCODEC_BATCH_H
#define MERT_ENCODEC_BATCH_H

#include "libcommon/teachers/encodec/encodec.h"

typedef struct mert_encodec_batch mert_encodec_batch;

/* decode 0: samples -> embeddings [n, D]; 1: embeddings -> samples [n, 1]. items: at most so many together; frames:
 * as many may wait (65536 at EnCodec's size: 250 MiB in all, a quarter of an hour of audio). The model must outlive
 * it. */
mert_encodec_batch *mert_encodec_batch_new(const mert_encodec *m, int decode, int64_t items, int64_t frames,
                                           mert_error *e);
void mert_encodec_batch_free(mert_encodec_batch *b); /* NULL is fine */

/* A next item; the one before it has ended. There must be room: not full. */
int mert_encodec_batch_begin(mert_encodec_batch *b, mert_error *e) MERT_MUST_USE;
/* n rows of the item that began last. */
int mert_encodec_batch_add(mert_encodec_batch *b, const float *x, int64_t n, mert_error *e) MERT_MUST_USE;
void mert_encodec_batch_end(mert_encodec_batch *b);
void mert_encodec_batch_drop(mert_encodec_batch *b); /* the item that began last, ended or not, is forgotten */

/* 1: it is time to run: as many frames wait as may, or as many items are there and have ended, or
 * one that has not ended is long. */
int mert_encodec_batch_full(const mert_encodec_batch *b);
/* Everything that waits goes through, but for what is too little to begin with. For each item in order `give` is
 * called with what came out of it, and `ended` behind that for an item that has ended (it is then forgotten). -1
 * from either ends the run. */
int mert_encodec_batch_run(mert_encodec_batch *b, mert_encodec_give give, int (*ended)(void *arg, mert_error *e),
                           void *arg, mert_error *e) MERT_MUST_USE;

#endif
