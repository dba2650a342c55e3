/* Settings that were changed while a run was going on (mert-train --resume --change NAME=VALUE). They are part of its
 * checkpoints, so that a run that is resumed by its first command keeps them.
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
    int64_t update; /* after which it was made */
    char *name, *from, *to;
} mert_change;

typedef struct mert_changes {
    mert_change *items;
    int n, room;
} mert_changes;

#define MERT_CHANGED_CORPUS "corpus"

void mert_changes_free(mert_changes *c); /* a zeroed one is fine */
int mert_changes_add(mert_changes *c, int64_t update, const char *name, const char *from, const char *to,
                     mert_error *e) MERT_MUST_USE;
/* As JSON, and back from a checkpoint's folder (an older version wrote none: it has none). */
int mert_changes_write(const mert_changes *c, FILE *f); /* -1: out of memory */
int mert_changes_read(mert_changes *c, const char *checkpoint, mert_error *e) MERT_MUST_USE;

/* Sets in r what was changed: each setting that has the value that the run was begun with. */
int mert_changes_keep(const mert_changes *c, mert_recipe *r, mert_error *e) MERT_MUST_USE;
/* Sets all of it, whatever r has: makes the recipe that the run was begun with the present one. */
int mert_changes_apply(const mert_changes *c, mert_recipe *r, mert_error *e) MERT_MUST_USE;
/* Changes r by "NAME=VALUE", and adds that to c if NAME had another value in `before`, the checkpoint's recipe. A
 * setting that cannot change is an error that gives both values. */
int mert_changes_make(mert_changes *c, int64_t update, const char *assignment, const mert_recipe *before,
                      mert_recipe *r, mert_error *e) MERT_MUST_USE;
/* Whether one of those made after `update` changes the batches of an epoch, which then begins anew. */
int mert_changes_of_batches(const mert_changes *c, int64_t update);

#endif
