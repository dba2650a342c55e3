/* Settings that were changed during a run (mert-train --resume --change NAME=VALUE). They are part of its checkpoints,
 * so that a run that is resumed with its first command keeps them.
 *
 *     "changes": [{"update": 5, "name": "lr", "from": "0.003", "to": "0.001"}, ...]    in state.json, in order of time
 *
 * The name "corpus" stands for manifests, labels and audio; its values are hashes of them. */
#ifndef MERT_CHANGES_H
#define MERT_CHANGES_H

#include "formats/error.h"
#include "libcommon/train/recipe/recipe.h"

#include <stdint.h>
#include <stdio.h>

typedef struct mert_change {
    int64_t update; /* the change was made after this update */
    char *name, *from, *to;
} mert_change;

typedef struct mert_changes {
    mert_change *items;
    int n, room;
} mert_changes;

#define MERT_CHANGED_CORPUS "corpus"

void mert_changes_free(mert_changes *c); /* c may be zeroed */
int mert_changes_add(mert_changes *c, int64_t update, const char *name, const char *from, const char *to,
                     mert_error *e) MERT_MUST_USE;
/* Writes the changes as JSON, and reads them from a checkpoint's folder. A checkpoint of an older version has none. */
int mert_changes_write(const mert_changes *c, FILE *f); /* -1: out of memory */
int mert_changes_read(mert_changes *c, const char *checkpoint, mert_error *e) MERT_MUST_USE;

/* Sets the changed settings in r. Only settings that have the value of the start of the run are set. */
int mert_changes_keep(const mert_changes *c, mert_recipe *r, mert_error *e) MERT_MUST_USE;
/* Sets the changed settings in r, whatever their values: makes the present recipe from that of the start of the run. */
int mert_changes_apply(const mert_changes *c, mert_recipe *r, mert_error *e) MERT_MUST_USE;
/* Sets "NAME=VALUE" in r, and adds the change to c if NAME had another value in `before`, the recipe of the checkpoint.
 * A setting that cannot change is an error that gives both values. */
int mert_changes_make(mert_changes *c, int64_t update, const char *assignment, const mert_recipe *before,
                      mert_recipe *r, mert_error *e) MERT_MUST_USE;
/* Whether a change that was made after `update` changes the batches of an epoch. The run then continues with a new
 * epoch. */
int mert_changes_of_batches(const mert_changes *c, int64_t update);

#endif
