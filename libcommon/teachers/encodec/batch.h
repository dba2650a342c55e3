/* Runs EnCodec's encoder or decoder on many items, with the LSTM in lock-step (seanet_lstm.h). Rows are queued; when
 * there are enough items or frames, all queued rows go through the stages before the LSTM, the LSTM, and the stages
 * after it (seanet.h). A long item is processed in parts, with its state kept, so memory is bounded. The bits are those
 * of one item alone (contract A1). */
#ifndef MERT_ENCODEC_BATCH_H
#define MERT_ENCODEC_BATCH_H

#include "libcommon/nn/ops.h"
#include "libcommon/teachers/encodec/encodec.h"

typedef struct mert_encodec_batch mert_encodec_batch;

/* decode 0: samples -> embeddings [n, D]; 1: embeddings -> samples [n, 1]. items: the most items at a time; frames: the
 * most waiting frames (65536 at EnCodec's size: 250 MiB in all, 15 minutes of audio). The model must outlive it. */
mert_encodec_batch *mert_encodec_batch_new(const mert_encodec *m, int decode, int64_t items, int64_t frames,
                                           mert_error *e);
/* The same on a device, for encoding: samples -> codes of the first `use` codebooks (device.h). `ops` has float32
 * elements; it must outlive the batch. */
mert_encodec_batch *mert_encodec_batch_new_on(const mert_encodec *m, mert_ops *ops, int64_t use, int64_t items,
                                              int64_t frames, mert_error *e);
void mert_encodec_batch_free(mert_encodec_batch *b); /* NULL is fine */

/* Begins the next item; the previous one must have ended, and the batch must not be full. */
int mert_encodec_batch_begin(mert_encodec_batch *b, mert_error *e) MERT_MUST_USE;
/* Adds n rows to the item that began last. */
int mert_encodec_batch_add(mert_encodec_batch *b, const float *x, int64_t n, mert_error *e) MERT_MUST_USE;
void mert_encodec_batch_end(mert_encodec_batch *b);
void mert_encodec_batch_drop(mert_encodec_batch *b); /* discards the item that began last, even if it has ended */

/* 1: the batch must run: it has the most frames, or the most items and all have ended, or one unfinished item is
 * long. */
int mert_encodec_batch_full(const mert_encodec_batch *b);
/* Processes all waiting rows, except those of an item that has too few to begin. For each item in order, `give` is
 * called with its output, and then, if the item has ended, `ended` (the item is then removed). -1 from either ends the
 * run. */
int mert_encodec_batch_run(mert_encodec_batch *b, mert_encodec_give give, int (*ended)(void *arg, mert_error *e),
                           void *arg, mert_error *e) MERT_MUST_USE;
/* For a batch on a device: codes [n, use] (device.h). If the device fails, all items are still there. */
typedef int (*mert_encodec_give_codes)(void *arg, const int32_t *codes, int64_t n, mert_error *e);
int mert_encodec_batch_run_on(mert_encodec_batch *b, mert_encodec_give_codes give,
                              int (*ended)(void *arg, mert_error *e), void *arg, mert_error *e) MERT_MUST_USE;

#endif
