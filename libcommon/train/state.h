/* Checkpoints of a run: all that is needed to continue bit for bit. Random numbers are counter-based (contract A4), so
 * these are only the weights, the optimiser's moments, and the position of the run.
 *
 *     SAVE/checkpoint-N/   after update N: model.safetensors, config.json, preprocessor_config.json (a model directory
 *                          as any other), known_answer.safetensors, optimizer.safetensors (exp_avg.NAME,
 *                          exp_avg_sq.NAME), recipe, state.json, and the hashes of all these (formats/hashes.h)
 *     SAVE/last            symbolic link to the newest, for people; programs look for the largest N
 *     SAVE/model           the newest model alone, by hard links: stays when checkpoints are removed
 *
 * A checkpoint is written under another name, synced, and renamed when it is complete (contract F4). So a checkpoint
 * that has its final name is complete. SAVE/last, SAVE/model and the removal of old checkpoints depend only on the
 * newest checkpoint. If a run is killed before these are done, they are done when it is resumed (mert_state_settle). */
#ifndef MERT_STATE_H
#define MERT_STATE_H

#include "formats/error.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/train/changes.h"
#include "libcommon/train/loader.h"
#include "libcommon/train/loss_scale.h"
#include "libcommon/train/run_inputs.h"

/* The best validation so far. */
typedef struct mert_best {
    int metric;     /* the best_metric of the recipe that chose it; 0: none has */
    double figure;  /* smaller is better */
    int64_t update; /* -1: none yet */
    int64_t since;  /* number of validations since then; none of them was better */
} mert_best;

typedef struct mert_state {
    mert_position position;
    int64_t skipped, skipped_in_row; /* updates left out because a loss or a gradient was not finite */
    uint64_t data;                   /* mert_corpus_hash() of the training corpus */
    mert_loss_scale loss_scale;      /* scale 0: the checkpoint has no loss scale, as those of older versions */
    int64_t batches;                 /* of an update, over all processes; 0: the recipe's update_freq */
    mert_best best;
    int passing;                     /* the checkpoint to write is only for safety (after some time, or before an early
                                      * end): the next one replaces it */
    int64_t samples;                 /* samples of all batches so far; -1: not known (older versions) */
} mert_state;

#define MERT_STATE_BEST "best" /* SAVE/best: the model of the best validation */
#define MERT_STATE_FORMAT "mert-train 2" /* the format in state.json; "mert-train 1" had neither inputs nor hashes */

/* Gives the moments. `tensor` is called for one parameter after the other, in the layout's order: first for all of the
 * first moment, then for all of the second. The array that it returns is valid until the next call. NULL on error. */
typedef struct mert_moment_source {
    const float *(*tensor)(void *arg, int which, const mert_parameter *p, mert_error *e);
    void *arg;
    const float *ema; /* the moving mean of the weights (ema.h), which is saved with them; NULL: none */
} mert_moment_source;
/* To be called before any file in SAVE is opened. Checks everything in SAVE that has a name that a run writes (packed
 * audio, recipe, logs, lock, checkpoints, model, last): whether it is of the right type, a file, a folder of files, or
 * a link. Otherwise the run would wait for a FIFO, or fail hours later at its first save or removal. A SAVE that does
 * not exist is no error. */
int mert_state_check_names(const char *save, mert_error *e) MERT_MUST_USE;
/* Writes checkpoint s->position.update. Then replaces SAVE/model and SAVE/last, and removes files of interrupted saves
 * and checkpoints that the recipe does not keep. The newest checkpoint is always kept. Another one is kept if it is
 * among the newest `keep`, if its update is a multiple of keep_interval, or if it was written in the last keep_hours
 * (or has a date in the future). If all three are 0, all are kept. A `passing` checkpoint is kept only while it is the
 * newest. */
int mert_state_save(const char *save, const mert_state *s, const mert_run_inputs *inputs, const mert_changes *changes,
                    const mert_recipe *r, const mert_weights *w, const mert_moment_source *moments, mert_error *e)
    MERT_MUST_USE;
/* The steps of mert_state_save after the checkpoint is written, for a run that may have been killed before they were
 * done. No checkpoint is removed because of its age. */
int mert_state_settle(const char *save, int64_t update, const mert_recipe *r, mert_error *e) MERT_MUST_USE;
#define MERT_STATE_EMA "ema" /* SAVE/ema: a model with the moving mean as weights */
/* Makes SAVE/best the model of checkpoint `update`, as SAVE/model is that of the newest. */
int mert_state_place_best(const char *save, int64_t update, mert_error *e) MERT_MUST_USE;
char *mert_state_path(const char *save, int64_t update); /* SAVE/checkpoint-N, to be freed; NULL: no memory */
/* The largest N of SAVE/checkpoint-N, and the largest below `update`; -1: there is none. */
int64_t mert_state_newest(const char *save);
int64_t mert_state_before(const char *save, int64_t update);
/* Reads all of checkpoint `update` and compares it with its hashes. 0: it is unchanged. 1: it has no hashes (version
 * 0.1 wrote none). -1: it is damaged; the error names the file, and an older checkpoint that is not. */
int mert_state_verify(const char *save, int64_t update, mert_error *e) MERT_MUST_USE;
/* The same for any argument of --init. Returns 1 if there are no hashes beside it. */
int mert_state_verify_model(const char *from, mert_error *e) MERT_MUST_USE;
/* Reads checkpoint `update` into *s, *r and, where not NULL, begun (zeroed; becomes the inputs of the start of the
 * run), w (allocated, of the same configuration), m and v. */
int mert_state_load(const char *save, int64_t update, mert_state *s, mert_run_inputs *begun, mert_recipe *r,
                    mert_weights *w, float *m, float *v, mert_error *e) MERT_MUST_USE;
/* Copies the tensors that `from` (a checkpoint of any run, or a published model) has in common with w, by name. Returns
 * the number of tensors copied; *fresh: how many tensors of w keep their random values; names: their names, separated
 * by blanks, as many as fit. Outside of the heads, a missing tensor or another shape is an error. */
int mert_state_init(mert_weights *w, const char *from, int *fresh, char *names, size_t size, mert_error *e)
    MERT_MUST_USE;
/* Whether the encoder of `from` fits a model of this configuration. To be called before the long work. */
int mert_state_init_check(const char *from, const mert_config *model, mert_error *e) MERT_MUST_USE;

#endif
