/* The exchange between devices (ops.h): a stream beside the device's own, and a watch over it. A device waits for
 * nothing but what other processes queue there, so a process that is lost or late is seen here. */
#ifndef MERT_CUDA_EXCHANGE_H
#define MERT_CUDA_EXCHANGE_H

#include "libcommon/nn/ops.h"
#include "portable.h"

struct peers;

/* Connects the processes' devices, as join() of ops.h does: 0, 1 or -1, and why. */
int peers_join(peers **to, const mert_peers *with, int device, const cudaDeviceProp *about, mert_error *e);
void peers_leave(peers *p); /* NULL is fine */

/* Queues an exchange behind what is on `stream` now. 0; -1: failed, and why. n 0: nothing. */
int peers_exchange(peers *p, cudaStream_t stream, mert_exchange_what what, float *data, int64_t n, int64_t each,
                   mert_error *e);
int64_t peers_queued(const peers *p); /* the number of the last one; p NULL: 0 */
/* What is queued on `stream` from now on finds the results of exchange `number` and of those before. */
cudaError_t peers_finish(peers *p, cudaStream_t stream, int64_t number);

/* Waits until exchange `number` is done, or an event: as cudaEventSynchronize, while it watches the others. -1: they
 * are lost or late, and why. The exchange is then ended: what waits for it goes on, with nothing. */
int peers_await(peers *p, int64_t number, cudaError_t *bad, mert_error *e);
int peers_await_event(peers *p, cudaEvent_t event, cudaError_t *bad, mert_error *e);

#endif
