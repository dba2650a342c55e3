/* mert-train as one of many processes: who starts them, and how they agree on what went wrong. */
#ifndef MERT_TRAIN_PROCESSES_H
#define MERT_TRAIN_PROCESSES_H

#include "libcommon/train/parallel/exchange.h"

/* The processes of this run: `wanted` ones of this machine, or those that mpirun or srun have started, or this one.
 * Returns NULL if this process has nothing to compute: *status is then what it is to exit with, or minus the signal to
 * die by. save: the folder of the run, named when one has died. */
mert_exchange *processes_join(int wanted, const char *save, int *status);

/* Whether a step that every process has taken went wrong for one of them: -1 for all of them then, and the first of
 * them says why. told: what process 0 has to tell the others (size bytes); may be NULL. */
int processes_agree(mert_exchange *x, int bad, void *told, size_t size, mert_error *e);

#endif
