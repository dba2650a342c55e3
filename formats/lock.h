/* A lock file for a folder that only one process may write into. The file names its owner ("process 1234 on HOST"). The
 * lock of a process that has ended is taken over. */
#ifndef MERT_LOCK_H
#define MERT_LOCK_H

#include "formats/error.h"

typedef struct mert_lock mert_lock;

/* Takes the lock file at `path`. The file is locked by flock(2), which the system releases when the process ends,
 * however it ends; a file that is left behind is free to take. NULL on error: "PATH: in use by process 1234 on
 * HOST". */
mert_lock *mert_lock_take(const char *path, mert_error *e);
/* For file systems without flock (mert_lock_take calls it then): the existence of the file is the lock. If its owner is
 * a process of this machine that has ended, the lock is taken over. An owner on another machine cannot be checked; the
 * error then names the file to remove. */
mert_lock *mert_lock_take_by_name(const char *path, mert_error *e);
/* Removes the file if this process still owns it. NULL is fine. */
void mert_lock_release(mert_lock *l);

#endif
