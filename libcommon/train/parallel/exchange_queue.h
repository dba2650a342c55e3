/* Runs exchanges in a thread, in order, while this process computes. One queue per process, and all processes queue the
 * same exchanges. While the queue is not empty, only it may use its exchange. */
#ifndef MERT_EXCHANGE_QUEUE_H
#define MERT_EXCHANGE_QUEUE_H

#include "libcommon/nn/ops.h"
#include "libcommon/train/parallel/exchange.h"

typedef struct mert_exchange_queue mert_exchange_queue;

mert_exchange_queue *mert_exchange_queue_new(mert_exchange *x, mert_error *e);
void mert_exchange_queue_free(mert_exchange_queue *q); /* finishes its entries first; NULL is fine */

/* As exchange() of ops.h, in pieces of mert_exchange_piece. data [n], host memory, must not be used until the exchange
 * is done. Returns a number to wait for. */
int64_t mert_exchange_queue_put(mert_exchange_queue *q, mert_exchange_what what, float *data, int64_t n);
/* Waits until this exchange and all earlier ones are done. -1: one of them has failed; no further ones are run. */
int mert_exchange_queue_wait(mert_exchange_queue *q, int64_t number, mert_error *e) MERT_MUST_USE;

#endif
