/* Batches: which crops of which items are heard together, and when. Formed for the whole run from (seed, epoch) alone,
 * so that it does not matter who reads them or how often a run was resumed (contract A4):
 *
 * - Each item gives `crops_per_item` crops in an epoch, of at most max_sample_size samples (dynamic_crops: as
 *   many as the epoch has); items shorter than min_sample_size are left out.
 * - Crops are sorted by size, ties at random, and cut into batches of at most max_tokens samples; a batch larger than
 * `multiple` is cut to a multiple of it. All crops of a batch are as long as its shortest. The batches of an epoch come
 * in random order.
 * - Where in its item a crop begins is random, on the grid of frames, so that labels fit exactly (crop_jitter:
 *   anywhere).
 * - With shards, an epoch hears the items of one of them.
 * - With an old corpus (mert_corpus_join), so many of its crops are drawn anew for each epoch that they are
 * replay_share of all.
 *
 * A loader makes the batches on a thread of its own, some ahead of those in use, down to what is uploaded. */
#ifndef MERT_DATA_H
#define MERT_DATA_H

#include "libcommon/train/data/corpus.h"
#include "libcommon/train/data/mask.h"
#include "libcommon/train/data/mixture.h"
#include "libcommon/train/prepared.h"
#include "libcommon/train/recipe/recipe.h"
#include "libcommon/train/trainer.h"

#include <stdint.h>

typedef struct mert_crop {
    int64_t item;   /* of the corpus, or of the old one behind it */
    int64_t number; /* global number of the crop, the same in every epoch: what random numbers are keyed by */
} mert_crop;

/* One epoch. */
typedef struct mert_plan {
    mert_crop *crops; /* batch after batch */
    struct mert_plan_batch {
        int64_t first, B, L; /* crops[first .. first + B), L samples each */
    } *batches;
    int64_t n; /* batches */
    int64_t crops_n;
    int64_t replayed;  /* of these, how many are of the old corpus */
    int64_t too_short; /* items left out */
} mert_plan;

enum { MERT_VALIDATION = -1 }; /* the epoch whose crops and masks never change */

int mert_plan_make(mert_plan *p, const mert_corpus *c, const mert_recipe *r, int64_t epoch, mert_error *e)
    MERT_MUST_USE;
void mert_plan_free(mert_plan *p);

/* A batch in host memory and where it came from. */
typedef struct mert_load {
    mert_batch batch;
    mert_prepared prepared;
    mert_ops *ops;                 /* whose pinned memory audio and clean are; NULL: plain memory */
    int64_t epoch, index, batches; /* the index-th of so many batches of the epoch */
    int64_t update, micro_batch;   /* which update of the run it belongs to, and its place in it */
    int64_t *corpus_items;         /* [B] */
    int64_t failed;                /* crops that could not be read, or are no numbers, and are not in it */
    struct mert_load_failure {
        int64_t item;
        char why[512];
    } *failures;                   /* [failed] */
    float *clean, *audio; /* what batch points to */
    int32_t *labels;
    uint8_t *mask, *channels;
    int32_t *source;
    int64_t *items;
    size_t samples_room, frames_room, items_room, channels_room;
} mert_load;

void mert_load_free(mert_load *l); /* the buffers of a zeroed or filled one */

/* Fills *l with batch `index` of plan p: audio, labels, mask and, unless the epoch is MERT_VALIDATION, the mixture.
 * -1: memory, or not one crop could be read. */
int mert_load_fill(mert_load *l, mert_corpus *c, const mert_recipe *r, const mert_config *model, const mert_plan *p,
                   int64_t epoch, int64_t index, int64_t update, int64_t micro_batch, mert_error *e) MERT_MUST_USE;

/* The same batch without its audio: the mask, and the labels of codebook k only. */
int mert_load_fill_labels(mert_load *l, const mert_corpus *c, const mert_recipe *r, const mert_config *model,
                          const mert_plan *p, int64_t epoch, int64_t index, int64_t update, int k, mert_error *e)
                          MERT_MUST_USE;

/* Where a run stands: `update` updates are done, and the next batch is `index` of `epoch`. */
typedef struct mert_position {
    int64_t update, epoch, index;
} mert_position;

/* Who takes which: micro-batch i of an update's `batches` goes to process i mod ranks. */
typedef struct mert_rank_assignment {
    int64_t batches;
    int rank, ranks;
} mert_rank_assignment;

typedef struct mert_loader mert_loader;

/* Starts to make batches from the position on: those of an update that are this process's; assignment NULL: all of
 * mert_recipe_batches. preparer: what prepares them; NULL: nothing does. c, r, model and preparer must outlive it; c
 * and preparer are used by the loader's thread alone. NULL on error, also if an epoch has no batch. */
mert_loader *mert_loader_start(mert_corpus *c, const mert_recipe *r, const mert_config *model, mert_position from,
                               const mert_rank_assignment *assignment, mert_preparer *preparer, mert_error *e);
/* The next batch, valid until the call after the next one; *waited (may be NULL) += the seconds that it was not there.
 * NULL: the loader failed. */
const mert_load *mert_loader_next(mert_loader *l, double *waited, mert_error *e);
void mert_loader_stop(mert_loader *l); /* NULL is fine */

#endif
