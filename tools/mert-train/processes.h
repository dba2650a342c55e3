/* mert-train with many processes: starting them, and agreeing on errors. */
#ifndef MERT_TRAIN_PROCESSES_H
#define MERT_TRAIN_PROCESSES_H

#include "libcommon/train/parallel/exchange.h"

/* Connects the processes of this run: `wanted` processes on this machine, or those that mpirun or srun have started, or
 * this one alone. Returns NULL if this process does not compute: *status is then its exit status, or minus the signal
 * that should end it. save: the folder of the run, for the message if a process has died. */
mert_exchange *processes_join(int wanted, const char *save, int *status);

/* Prints why a run of many processes has ended, and the checkpoint from which it can go on. why: "" prints nothing. */
void processes_report(const char *why, const char *save);

/* To be called by all processes after a step: if it failed in one of them, returns -1 in all of them, and the first one
 * that failed prints why. told: data that process 0 sends to the others (size bytes); may be NULL. */
int processes_agree(mert_exchange *x, int bad, void *told, size_t size, mert_error *e);

#endif
