/* What mert-train says of a run that it does not do: what it would take (--plan), and whether it is on track
 * (--compare). Both on standard output. */
#ifndef MERT_TRAIN_WATCH_H
#define MERT_TRAIN_WATCH_H

#include "libcommon/train/monitor/budget.h"
#include "libcommon/train/session.h"

/* s: recipe and corpora, opened; ops: what the run would compute on. Returns the exit status. */
int watch_plan(const mert_session *s, mert_ops *ops, int ranks, mert_sharding sharding, const char *offload);

/* The run in the folder `save` against the log of another one. Exit status 0: on track. */
int watch_compare(const char *save, const char *reference);

#endif
