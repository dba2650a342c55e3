/* mert-train without training: the estimate of a run's cost (--plan), and the comparison with a reference run
 * (--compare). Both print on standard output. */
#ifndef MERT_TRAIN_WATCH_H
#define MERT_TRAIN_WATCH_H

#include "libcommon/train/monitor/device.h"
#include "libcommon/train/session.h"

/* s: recipe and open corpora; ops: the backend whose speed is measured; on: the device to plan for (NULL: the backend
 * itself). Returns the exit status. */
int watch_plan(const mert_session *s, mert_ops *ops, const mert_device_rates *on, int ranks, mert_sharding sharding,
               const char *offload);

/* Compares the run in the folder `save` with the log of another one. Exit status 0: all values are within their
 * bands. */
int watch_compare(const char *save, const char *reference);

#endif
