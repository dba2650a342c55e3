/* Exchanges that go on while this process computes: a thread of its own does them, in the order in which they were put.
 * One queue per process, and all processes put the same. While something is in the queue, nobody else may use its
 * exchange. */
#ifndef MERT_EXCHANGE_QUEUE_H
#define MERT_EXCHANGE_QUEUE_H

#include "libcommon/train/parallel/exchange.h"

typedef struct mert_exchange_queue mert_exchange_queue;

typedef enum mert_exchange_what {
    MERT_REDUCE_SCATTER, /* as the exchange's own */
    MERT_ALL_GATHER,
    MERT_ALL_REDUCE /* both: every process gets all sums */
} mert_exchange_what;

mert_exchange_queue *mert_exchange_queue_new(mert_exchange *x, mert_error *e);
void mert_exchange_queue_free(mert_exchange_queue *q); /* does what is in it first; NULL is fine */

/* data [n], host memory, is the queue's until it is done. Returns a number to wait for. */
int64_t mert_exchange_queue_put(mert_exchange_queue *q, mert_exchange_what what, float *data, int64_t n);
/* Until that one, and all put before it, are done. -1: one of them has failed; nothing is done any more. */
int mert_exchange_queue_wait(mert_exchange_queue *q, int64_t number, mert_error *e) MERT_MUST_USE;

#endif
