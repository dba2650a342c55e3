/* The exchange between devices (ops.h): a stream beside the device's own, which is watched. Only here does a device
 * wait for other processes, so this code notices a process that is lost or late. */
#ifndef MERT_CUDA_EXCHANGE_H
#define MERT_CUDA_EXCHANGE_H

#include "libcommon/nn/ops.h"
#include "portable.h"

struct peers;

/* Connects the processes' devices. Returns 0, 1 or -1 as join() of ops.h; with 1 and -1, e says why. */
int peers_join(peers **to, const mert_peers *with, int device, const cudaDeviceProp *about, mert_error *e);
void peers_leave(peers *p); /* NULL is fine */

/* Queues an exchange; it begins after all that is on `stream` now. -1: error. n 0: does nothing. */
int peers_exchange(peers *p, cudaStream_t stream, mert_exchange_what what, float *data, int64_t n, int64_t each,
                   mert_error *e);
int64_t peers_queued(const peers *p); /* the number of the last exchange; p NULL: 0 */
/* Operations that are queued on `stream` after this call begin when exchange `number`, and those before it, are
 * complete. */
cudaError_t peers_finish(peers *p, cudaStream_t stream, int64_t number);

/* Waits for exchange `number`, or for an event, as cudaEventSynchronize does, and watches the other processes
 * meanwhile. -1: a process is lost or late, and e names it. The exchange is then ended: operations that wait for it
 * run, with invalid data. */
int peers_await(peers *p, int64_t number, cudaError_t *bad, mert_error *e);
int peers_await_event(peers *p, cudaEvent_t event, cudaError_t *bad, mert_error *e);

#endif
