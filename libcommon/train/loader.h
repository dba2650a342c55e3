/* Batches: which crops of which items are used together, and in which order. They depend only on (seed, epoch), so it
 * does not matter which process reads them or how often a run was resumed (contract A4):
 *
 * - Each item gives `crops_per_item` crops in an epoch, of at most max_sample_size samples (dynamic_crops: as many as
 *   the epoch has); items shorter than min_sample_size are left out.
 * - Crops are sorted by size, ties at random, and grouped into batches of at most max_tokens samples; a batch larger
 *   than `multiple` is cut to a multiple of it. All crops of a batch are as long as its shortest. The batches of an
 *   epoch come in random order.
 * - A crop begins at a random position in its item, on the grid of frames, so that labels fit exactly (crop_jitter: at
 *   any sample).
 * - Validation with valid_sample_size: all crops have this length and begin at a whole second. Start and mask are
 *   keyed by item and number of its crop, and no mask depends on the other crops of a batch, so that runs with other
 *   crops and batches in training validate on the same frames.
 * - With shards, an epoch uses the items of one shard.
 * - With an old corpus (mert_corpus_join), crops of it are drawn anew for each epoch; their number is such that they
 *   are replay_share of all crops.
 *
 * - With a labelled task, crops begin such that an example lies in them. For evaluation, each example is read as a
 *   whole, piece by piece (mert_plan_pieces).
 *
 * A loader makes batches ahead of time, on a thread of its own. They are complete: the trainer only uploads them. */
#ifndef MERT_LOADER_H
#define MERT_LOADER_H

#include "libcommon/train/data/corpus.h"
#include "libcommon/train/data/mask.h"
#include "libcommon/train/data/mixture.h"
#include "libcommon/train/prepared.h"
#include "libcommon/train/recipe/recipe.h"
#include "libcommon/train/task/task.h"
#include "libcommon/train/trainer.h"

#include <stdint.h>

typedef struct mert_crop {
    int64_t item;   /* of the corpus; numbers from its number of items on are items of the old corpus */
    int64_t number; /* global number of the crop, the same in every epoch: the key of its random numbers */
} mert_crop;

/* One epoch. */
typedef struct mert_epoch_plan {
    mert_crop *crops; /* batch after batch */
    struct mert_epoch_plan_batch {
        int64_t first, B, L; /* crops[first .. first + B), L samples each */
    } *batches;
    int64_t n; /* batches */
    int64_t crops_n;
    int64_t replayed;  /* how many crops of these are of the old corpus */
    int64_t too_short; /* items left out */
} mert_epoch_plan;

enum { MERT_VALIDATION = -1 }; /* the epoch number of validation, whose crops and masks never change */

int mert_epoch_plan_make(mert_epoch_plan *p, const mert_corpus *c, const mert_recipe *r, int64_t epoch, mert_error *e)
    MERT_MUST_USE;
void mert_epoch_plan_free(mert_epoch_plan *p);
/* Of a corpus with a task: each item in as few pieces of one length as crops allow, which are its crops 0, 1, ... Items
 * without a frame are left out. For mert_load_fill it is a plan of MERT_VALIDATION. */
int mert_plan_pieces(mert_epoch_plan *p, const mert_corpus *c, const mert_recipe *r, const mert_config *model,
                     mert_error *e)
    MERT_MUST_USE;

/* A batch in host memory, and its place in the run. */
typedef struct mert_load {
    mert_batch batch;
    mert_prepared prepared;
    mert_ops *ops;                 /* the backend that pinned audio and clean; NULL: they are ordinary memory */
    int64_t epoch, index, batches; /* batch `index` of the `batches` of the epoch */
    int64_t update, micro_batch;   /* the update of the run, and the number of the micro-batch in it */
    int64_t *corpus_items;         /* [B] */
    int64_t failed;                /* number of crops that are left out because they could not be read or have samples
                                    * that are not finite */
    struct mert_load_failure {
        int64_t item;
        char why[512];
    } *failures;                   /* [failed] */
    float *clean, *audio; /* the memory of batch */
    int32_t *labels;
    uint8_t *mask, *channels;
    int32_t *source;
    int64_t *items;
    mert_examples examples;
    size_t samples_room, frames_room, items_room, channels_room;
} mert_load;

void mert_load_free(mert_load *l); /* frees the buffers; l is zeroed or was filled */

/* Fills *l with batch `index` of plan p: audio, labels, mask and, unless the epoch is MERT_VALIDATION, the mixture.
 * Fails if memory is short or if no crop can be read. */
int mert_load_fill(mert_load *l, mert_corpus *c, const mert_recipe *r, const mert_config *model,
                   const mert_epoch_plan *p, int64_t epoch, int64_t index, int64_t update, int64_t micro_batch,
                   mert_error *e) MERT_MUST_USE;

/* The same batch without its audio: the mask, and the labels of codebook k only. */
int mert_load_fill_labels(mert_load *l, const mert_corpus *c, const mert_recipe *r, const mert_config *model,
                          const mert_epoch_plan *p, int64_t epoch, int64_t index, int64_t update, int k, mert_error *e)
                          MERT_MUST_USE;

/* The position of a run: `update` updates are done, and the next batch is `index` of `epoch`. */
typedef struct mert_position {
    int64_t update, epoch, index;
} mert_position;

/* How micro-batches are assigned: number i of the `batches` of an update goes to process i mod ranks. */
typedef struct mert_rank_assignment {
    int64_t batches;
    int rank, ranks;
} mert_rank_assignment;

typedef struct mert_loader mert_loader;

/* Starts to make batches from a position on: those of this process. assignment NULL: all batches of an update
 * (mert_recipe_batches). preparer NULL: batches are not prepared. c, r, model and preparer must outlive the loader; c
 * and preparer are used only by the loader's thread. NULL on error, also if an epoch has no batch. */
mert_loader *mert_loader_start(mert_corpus *c, const mert_recipe *r, const mert_config *model, mert_position from,
                               const mert_rank_assignment *assignment, mert_preparer *preparer, mert_error *e);
/* The next batch, valid until the call after the next one. *waited (may be NULL) += the seconds of waiting for it.
 * NULL: the loader failed. */
const mert_load *mert_loader_next(mert_loader *l, double *waited, mert_error *e);
void mert_loader_stop(mert_loader *l); /* l may be NULL */

#endif
