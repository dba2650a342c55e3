/* One at a time: a lock file in a folder that only one program may write into. It says who has it ("process 1234 on
 * HOST"), and a dead owner's lock is taken over. */
#ifndef MERT_LOCK_H
#define MERT_LOCK_H

#include "formats/error.h"

typedef struct mert_lock mert_lock;

/* Takes the lock of that name, or says who has it. The file is locked by flock(2), which ends with the process,
 * whatever ended it: what a dead owner left is nobody's. NULL on error: "PATH: in use by process 1234 on HOST". */
mert_lock *mert_lock_take(const char *path, mert_error *e);
/* For file systems that have no flock (mert_lock_take comes here by itself): the file's being there is the lock. An
 * owner on this machine that no longer runs has lost it; of one on another machine nothing is known, and the error says
 * which file to remove. */
mert_lock *mert_lock_take_by_name(const char *path, mert_error *e);
/* Removes the file, if it is this process that took it. NULL is fine. */
void mert_lock_release(mert_lock *l);

#endif
