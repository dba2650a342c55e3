/* A training run as a whole: corpora, model, trainer, loader and state, and the operations on them. The program decides
 * when to call which, and prints.
 *
 *     mert_session s = {.recipe = r, .save = "DIR"};
 *     open s.train and s.valid (corpus.h), then mert_session_begin(&s, ...)
 *     while (s.state.position.update < mert_session_last(&s)) mert_session_update(&s, &step, &e);
 *     mert_session_validate(&s, &sums, &stop, &e); mert_session_save(&s, &e); mert_session_end(&s); */
#ifndef MERT_SESSION_H
#define MERT_SESSION_H

#include "formats/stream/mts.h"
#include "libcommon/probe/layers.h"
#include "libcommon/train/norms.h"
#include "libcommon/train/parallel/exchange.h"
#include "libcommon/train/parallel/shards.h"
#include "libcommon/train/state.h"
#include "libcommon/train/task/answers.h"

typedef struct mert_session {
    mert_sharing sharing; /* the other processes; zeroed: there are none. All processes make the same calls */
    int (*stop)(void); /* returns why this process has to end, as bits that the caller defines; 0: it does not. NULL:
                        * never */
    int save_now;      /* this process wants a checkpoint after the next update */
    mert_recipe recipe;
    const char *save; /* folder of the run; the caller owns the string */
    mert_corpus train, valid;
    mert_corpus replay; /* the old corpus; it is joined to train, if there is one (mert_corpus_join) */
    mert_task *task;   /* owned by the caller: train and valid have the labels of a task; NULL: pre-training */
    mert_run_inputs inputs; /* hashes of the inputs, as far as they identify the run */
    mert_changes changes;   /* changes of settings so far */
    int other_corpus;       /* a resumed run may have other inputs: a corpus that has grown, other shards */
    mert_config model;
    mert_weights weights; /* after mert_session_begin only the layout */
    mert_trainer *trainer;
    mert_loader *loader;
    mert_epoch_plan valid_plan;
    mert_state state;
    float *m, *v; /* the moments; until mert_session_begin */
    float *ema;   /* the moving mean of the weights (ema.h), in process 0; NULL: none */
    uint8_t *counted; /* [items of train and of replay]: 1: it could not be read, and was counted in step.unreadable */
    struct mert_load_failure *unreadable; /* [step.unreadable] */
    int64_t unreadable_room;
    mert_norms *norms; /* filled by mert_session_update; the caller owns it. NULL: not wanted. Set in all processes or
                        * in none */
} mert_session;

mert_exchange *mert_session_exchange(const mert_session *s); /* the exchange with the other processes, or that of one
                                                              * process */

/* Makes the model of the recipe and the labels, with random weights from the recipe's seed. An update has update_freq
 * batches of each process, or update_batches of all processes. */
int mert_session_model(mert_session *s, mert_error *e) MERT_MUST_USE;
/* To be called before the corpora are opened, for a run with checkpoint `update`. Sets earlier changes in s->recipe,
 * and makes the changes given [n], "NAME=VALUE"; s->changes then has all of them. A setting that cannot change is an
 * error. "corpus=yes", and a change of the shards, set other_corpus. */
int mert_session_change(mert_session *s, int64_t update, const char *const *given, int n, mert_error *e) MERT_MUST_USE;
/* In place of random weights: continues from checkpoint `update` of SAVE; its inputs and recipe must be those of the
 * session. An update keeps its number of batches, with any number of processes. With other inputs, or settings that
 * change the batches, the run continues with the next epoch. Returns 1 if the checkpoint has no hashes. */
int mert_session_resume(mert_session *s, int64_t update, mert_error *e) MERT_MUST_USE;
/* Mean seconds of audio of an update, of all processes together, in the first epoch. */
int mert_session_update_seconds(const mert_session *s, double *seconds, mert_error *e) MERT_MUST_USE;
/* A check before the long work; the corpora may not be packed yet. Checks whether they and the recipe make a model, and
 * whether checkpoint `update` (-1: there is none) is complete and belongs to this run. */
int mert_session_check(const mert_session *s, int64_t update, mert_error *e) MERT_MUST_USE;
/* Plans the batches of validation; an error if there are none. */
int mert_session_plan_validation(mert_session *s, mert_error *e) MERT_MUST_USE;
/* Makes trainer and loader, for the present weights and state. */
int mert_session_begin(mert_session *s, mert_ops *ops, mert_error *e) MERT_MUST_USE;
void mert_session_end(mert_session *s); /* s may be in any state */

int64_t mert_session_last(const mert_session *s); /* the number of the last update */

typedef struct mert_step {
    mert_sums sums;
    double norm, lr, waited;
    int skipped;  /* the update was left out because a loss or a gradient was not finite; `why` names this process's
                   * items */
    int overflow; /* the same, with a loss scale (loss_scale.h) that was too large: the update is tried again with the
                   * next batches and a smaller scale */
    char why[1024];
    int stop;           /* a process has to end: the bits of session.stop of all processes */
    int save;           /* a process wants a checkpoint */
    int64_t unreadable; /* number of this process's items whose audio could not be read for the first time. They are
                         * left out; session.unreadable has names and reasons */
} mert_step;

/* Does one update: state.batches batches, divided among the processes. Sums are those of all processes. The number of
 * the update, and with it the schedule, advances when an update is skipped, but not after an overflow. Random numbers
 * advance in both cases: their key is the number of attempts. */
int mert_session_update(mert_session *s, mert_step *step, mert_error *e) MERT_MUST_USE;

/* To be called before mert_session_begin. How well the two nearest unmasked labels (neighbours.h) predict the masked
 * labels of mert_session_validate; the counts are from crops of the training corpus. bits [K]: per masked frame. */
int mert_session_neighbours(mert_session *s, double *bits, mert_error *e) MERT_MUST_USE;

/* The loss on the validation corpus, always on the same crops with the same masks. *stop: not 0 (the bits of
 * session.stop, of all processes) if validation was interrupted; *sums are then incomplete and must not be used. */
int mert_session_validate(mert_session *s, mert_sums *sums, int *stop, mert_error *e) MERT_MUST_USE;

/* Returns 1 if a validation is the best so far by the recipe's best_metric, and stores it in s->state.best. */
int mert_session_judge(mert_session *s, const mert_sums *sums);

/* used [K]: for each codebook, how many classes were predicted for any masked frame, by all processes together, since
 * the last call; in updates (training), or in validations. All processes call it. */
int mert_session_used(mert_session *s, int training, int64_t *used, mert_error *e) MERT_MUST_USE;

/* Writes the stream `path`: what the model predicts for the beginnings of the first n items of validation, one crop
 * each, from sample 0, with the masks of a validation with valid_sample_size. Records of kind codes [T, 2 K + 1]: the K
 * labels, the K most probable classes, and 1 for a masked frame. Process 0 writes it; the others do nothing. Not for
 * weights that processes share, nor for more than MERT_PREDICTED_MAX codebooks. session_predict.c */
enum { MERT_PREDICTED_MAX = (MTS_CODEBOOKS_MAX - 1) / 2 };
int mert_session_predict(mert_session *s, int n, const char *path, mert_error *e) MERT_MUST_USE;

/* ---- of a task ---- */

/* What the model answers for the examples of a part, which c has left. *stop: as in mert_session_validate. All
 * processes call it, and get the same. a: zeroed; to be freed in any case. */
int mert_session_answer(mert_session *s, mert_corpus *c, mert_probe_part part, mert_task_answers *a, int *stop,
                        mert_error *e) MERT_MUST_USE;
/* As mert_session_judge, by the recipe's best_metric: loss, or the task's first score. */
int mert_session_judge_answers(mert_session *s, const mert_task_answers *a);
/* Before the first update: gives the head mean and deviation of the hidden states of examples of the training part, and
 * with the recipe's head_init = probe the weights of a linear probe (probe/linear.h) on them, if it is linear. */
int mert_session_begin_head(mert_session *s, mert_error *e) MERT_MUST_USE;
/* Evaluates batch `index` of a plan of pieces: the trainer has its scores and features then. */
int mert_session_piece(mert_session *s, mert_corpus *c, const mert_epoch_plan *p, int64_t index, mert_load *load,
                       mert_sums *sums, mert_error *e) MERT_MUST_USE;
/* The weights of the model directory `path`, of this run, take the place of the present ones; process 0 writes its head
 * as a saved probe (probe/trained.h) to `probe`. For the end of a run. */
int mert_session_take_model(mert_session *s, const char *path, const char *probe, mert_error *e) MERT_MUST_USE;
/* What the head is given, as tables of scores call it: "6", "weighted". */
void mert_session_layer(const mert_session *s, mert_layer_name name);

/* Writes a checkpoint and removes old ones. Process 0 writes, the others send their part. */
int mert_session_save(mert_session *s, mert_error *e) MERT_MUST_USE;

void mert_sums_add(mert_sums *to, const mert_sums *from);

#endif
