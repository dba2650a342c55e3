/* The time of each kind of operation on the device, between two events on its stream (MERT_CUDA_TIMES of mert(7)). */
#ifndef MERT_CUDA_TIMES_H
#define MERT_CUDA_TIMES_H

#include "libcommon/nn/ops.h"
#include "portable.h"

struct times;

/* NULL: not wanted, or out of memory. All other functions accept NULL. */
times *times_open(void);
/* To be called before and after an operation. The host waits only if a few hundred operations have not run yet. */
void times_begin(times *t, mert_op op, const char *name, cudaStream_t s);
void times_end(times *t, cudaStream_t s);
/* To be called when all operations have run. Appends a table to the file, the largest sums first. */
void times_close(times *t, const char *device);

#endif
