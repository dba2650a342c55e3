/* Checkpoints of a run: what it takes to go on bit for bit. Random numbers are counter-based (contract A4), so that is
 * little: the weights, the optimiser's moments, and where the run stands.
 *
 *     SAVE/checkpoint-N/   after update N: model.safetensors, config.json, preprocessor_config.json (a model directory
 *                          as any other), known_answer.safetensors, optimizer.safetensors (exp_avg.NAME,
 *                          exp_avg_sq.NAME), recipe, state.json, and the hashes of all these (formats/hashes.h)
 *     SAVE/last            symbolic link to the newest, for people; programs look for the largest N
 *     SAVE/model           the newest model alone, by hard links: stays when checkpoints are removed
 *
 * A checkpoint is written under another name, synced and renamed when whole (contract F4): one with its final name is
 * complete. SAVE/last, SAVE/model and the removal of old ones follow from the newest checkpoint alone: a run that was
 * killed before they were done does them when it is resumed (mert_state_settle).
 */
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
    int metric;     /* the recipe's best_metric that it was chosen by; 0: none was */
    double figure;  /* smaller is better */
    int64_t update; /* -1: there is none yet */
    int64_t since;  /* validations after it, none of which was better */
} mert_best;

typedef struct mert_state {
    mert_position position;
    int64_t skipped, skipped_in_row; /* updates left out because a loss or a gradient was not finite */
    uint64_t data;                   /* mert_corpus_hash() of what it was trained on */
    mert_loss_scale loss_scale;      /* scale 0: of a checkpoint that has none, as once they all were */
    int64_t batches;                 /* of an update, over all processes; 0: the recipe's update_freq */
    mert_best best;
    int passing;                     /* of the checkpoint that is to be written: for safety alone (after some time, or
                                        before an early end), the next one takes its place */
    int64_t heard;                   /* samples of all batches so far; -1: not known, as older versions wrote none */
} mert_state;

#define MERT_STATE_BEST "best" /* SAVE/best: the model of the best validation */
#define MERT_STATE_FORMAT "mert-train 2" /* of state.json; "mert-train 1" had neither inputs nor hashes beside it */

/* Where the moments come from: `tensor` is asked for those of one parameter after the other, in the layout's order,
 * first for all of the first moment, then for all of the second; what it returns is good until the next call. NULL on
 * error. */
typedef struct mert_moment_source {
    const float *(*tensor)(void *arg, int which, const mert_parameter *p, mert_error *e);
    void *arg;
    const float *ema; /* the moving mean of the weights (ema.h), which is saved beside them; NULL: none */
} mert_moment_source;
/* Before anything is opened there: whether what stands in SAVE under the names that a run writes (packed audio, recipe,
 * logs, lock, checkpoints, model, last) can be what it has to be: a file, a folder of files, a link. A FIFO would be
 * waited for; what a save or a clean-up could not replace would be found by the first of them, after hours. No SAVE:
 * fine. */
int mert_state_check_names(const char *save, mert_error *e) MERT_MUST_USE;
/* Writes checkpoint s->position.update; then SAVE/model and SAVE/last are its, what runs that died have left half
 * written goes, and so do the checkpoints that the recipe does not keep: one stays that is among the newest `keep`,
 * whose update is a multiple of keep_interval, or that was written in the last keep_hours (one dated in the future
 * was); the newest always does. All three 0: all stay. One that is `passing` stays only while it is the newest. */
int mert_state_save(const char *save, const mert_state *s, const mert_run_inputs *inputs, const mert_changes *changes,
                    const mert_recipe *r, const mert_weights *w, const mert_moment_source *moments, mert_error *e)
    MERT_MUST_USE;
/* The second half of that, for a run that may have been killed in it; but no checkpoint is too old. */
int mert_state_settle(const char *save, int64_t update, const mert_recipe *r, mert_error *e) MERT_MUST_USE;
#define MERT_STATE_EMA "ema" /* SAVE/ema: a model of the moving mean */
/* Makes SAVE/best the model of checkpoint `update`, as SAVE/model is that of the newest. */
int mert_state_place_best(const char *save, int64_t update, mert_error *e) MERT_MUST_USE;
char *mert_state_path(const char *save, int64_t update); /* SAVE/checkpoint-N, to be freed; NULL: no memory */
/* The largest N of SAVE/checkpoint-N, and the largest below `update`; -1: there is none. */
int64_t mert_state_newest(const char *save);
int64_t mert_state_before(const char *save, int64_t update);
/* Reads all of checkpoint `update` and holds it against its hashes. 0: it is what was written; 1: it has none (version
 * 0.1 wrote none); -1: damaged: the error names the file, and which older checkpoint is whole. */
int mert_state_verify(const char *save, int64_t update, mert_error *e) MERT_MUST_USE;
/* The same for whatever --init may name: 1 for everything that has no hashes beside it. */
int mert_state_verify_model(const char *from, mert_error *e) MERT_MUST_USE;
/* Reads checkpoint `update` into *s, *r, and, as far as they are not NULL, begun (zeroed: what it was begun with), w
 * (allocated, of the same configuration), m and v. */
int mert_state_load(const char *save, int64_t update, mert_state *s, mert_run_inputs *begun, mert_recipe *r,
                    mert_weights *w, float *m, float *v, mert_error *e) MERT_MUST_USE;
/* Copies what `from` (of any run or publication) has in common with w, name by name; returns how many tensors were
 * taken, in *fresh how many of w's keep their random values, and in names, with blanks between, which (as many as there
 * is room for). A tensor outside of the heads that is missing or of another shape is an error. */
int mert_state_init(mert_weights *w, const char *from, int *fresh, char *names, size_t size, mert_error *e)
    MERT_MUST_USE;
/* Whether `from` is a model of which it could take the encoder of one of that configuration: before the long work. */
int mert_state_init_check(const char *from, const mert_config *model, mert_error *e) MERT_MUST_USE;

#endif
