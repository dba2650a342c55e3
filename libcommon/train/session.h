/* A training run as a whole: corpora, model, trainer, loader and state, and the few things one does with them. When to
 * do what, and what to say, is the program's.
 *
 *     mert_session s = {.recipe = r, .save = "DIR"};
 *     open s.train and s.valid (corpus.h), then mert_session_begin(&s, ...)
 *     while (s.state.position.update < mert_session_last(&s)) mert_session_update(&s, &step, &e);
 *     mert_session_validate(&s, &sums, &stop, &e); mert_session_save(&s, &e); mert_session_end(&s); */
#ifndef MERT_SESSION_H
#define MERT_SESSION_H

#include "libcommon/train/parallel/exchange.h"
#include "libcommon/train/parallel/shards.h"
#include "libcommon/train/state.h"

typedef struct mert_session {
    mert_sharing sharing; /* with whom; zero: alone. All its processes make the same calls */
    int (*stop)(void); /* why this process is to end: bits of the caller's, 0: it is not. NULL: it never is */
    int save_now;      /* this process wants a checkpoint after the next update */
    mert_recipe recipe;
    const char *save; /* folder of the run, stays the caller's */
    mert_corpus train, valid;
    mert_corpus older; /* joined to train where there is one (mert_corpus_join) */
    mert_run_inputs inputs; /* what of these is part of the run's identity */
    mert_changes changes;   /* of this run so far */
    int other_corpus;       /* a resumed run may have other inputs: a corpus that has grown, other shards */
    mert_config model;
    mert_weights weights; /* until mert_session_begin; then the layout alone */
    mert_trainer *trainer;
    mert_loader *loader;
    mert_plan valid_plan;
    mert_state state;
    float *m, *v; /* the moments, likewise */
    float *ema;   /* the moving mean of the weights (ema.h), in process 0; NULL: none is wanted */
    uint8_t *said; /* [items of train, and of older]: it could not be read, and step.unreadable has counted it */
    struct mert_load_failure *unreadable; /* [step.unreadable] */
    int64_t unreadable_room;
    struct mert_norms *norms; /* the caller's: mert_session_update fills it; NULL: it is not wanted. In all processes or
                                 in none */
} mert_session;

/* Of each part of the model (models/weights/parameter_groups.h), before an update, and only in process 0: the norm of
 * the gradient, before clipping, and of the weights. */
typedef struct mert_norms {
    int n; /* parts */
    double gradient[MERT_LAYERS_MAX + 3], weight[MERT_LAYERS_MAX + 3];
} mert_norms;

mert_exchange *mert_session_exchange(const mert_session *s); /* its sharing's, or that of one process */

/* The model of the recipe and the labels, random as the recipe's seed makes it. An update is update_freq batches of
 * each process, or update_batches of all. */
int mert_session_model(mert_session *s, mert_error *e) MERT_MUST_USE;
/* Before the corpora are opened, for a run that has come to checkpoint `update`: sets in s->recipe what was changed
 * before, and makes the changes given [n], "NAME=VALUE"; all of it is in s->changes then. A setting that cannot change
 * is an error. "corpus=yes" sets other_corpus, as does a change of the shards. */
int mert_session_change(mert_session *s, int64_t update, const char *const *given, int n, mert_error *e) MERT_MUST_USE;
/* Instead of random weights: where checkpoint `update` of SAVE stands (its inputs and recipe must be the session's). An
 * update stays as many batches as it was, however many processes share them. With other inputs, or batches of another
 * kind, it goes on with the next epoch. Returns 1 where it went well with a
 * checkpoint that has no hashes. */
int mert_session_resume(mert_session *s, int64_t update, mert_error *e) MERT_MUST_USE;
/* Mean seconds of audio of an update, in the first epoch: what all processes hear together. */
int mert_session_update_seconds(const mert_session *s, double *seconds, mert_error *e) MERT_MUST_USE;
/* Before the long work, with corpora that may not be packed yet: whether they make a model of the recipe, and where
 * there is a checkpoint `update` (-1: none), whether it is whole and the run's. */
int mert_session_check(const mert_session *s, int64_t update, mert_error *e) MERT_MUST_USE;
/* The batches of validation; refuses to have none. */
int mert_session_plan_validation(mert_session *s, mert_error *e) MERT_MUST_USE;
/* Trainer and loader, from the present weights and state on. */
int mert_session_begin(mert_session *s, mert_ops *ops, mert_error *e) MERT_MUST_USE;
void mert_session_end(mert_session *s); /* a session in any state */

int64_t mert_session_last(const mert_session *s); /* the update after which it stops */

typedef struct mert_step {
    mert_sums sums;
    double norm, lr, waited;
    int skipped;  /* the update was left out: a loss or gradient was not finite, `why` names this process's items */
    int overflow; /* likewise, but the loss was scaled (loss_scale.h), and was too large: the update is tried again with
                     the next batches and a smaller scale */
    char why[1024];
    int stop;           /* a process is to end: session.stop's bits, of all of them */
    int save;           /* a process wants a checkpoint */
    int64_t unreadable; /* this process's items whose audio could not be read for the first time, and are left out:
                           session.unreadable says which and why */
} mert_step;

/* One update: state.batches batches, dealt out. Sums are those of all processes. The number of the update, and with it
 * the schedule, goes on when it is skipped, not when it overflows. Random numbers go on in both cases: they are keyed
 * by how often an update was tried. */
int mert_session_update(mert_session *s, mert_step *step, mert_error *e) MERT_MUST_USE;

/* Before mert_session_begin: what the two nearest unmasked labels (neighbours.h) tell of the masked ones that
 * mert_session_validate asks for, learnt from crops of the training corpus. bits [K]: per masked frame. */
int mert_session_neighbours(mert_session *s, double *bits, mert_error *e) MERT_MUST_USE;

/* The loss on the validation corpus, always on the same crops with the same masks. *stop: not 0 (session.stop's bits,
 * of all processes) if it was broken off, and *sums are worth nothing. */
int mert_session_validate(mert_session *s, mert_sums *sums, int *stop, mert_error *e) MERT_MUST_USE;

/* Whether a validation is the best so far by the recipe's best_metric; s->state.best is it then. */
int mert_session_judge(mert_session *s, const mert_sums *sums);

/* used [K]: the number of classes of each codebook that were predicted for any masked frame, by all processes together,
 * since the last call: by updates (training), or by validations. All processes call it. */
int mert_session_used(mert_session *s, int training, int64_t *used, mert_error *e) MERT_MUST_USE;

/* mert_session_update's: fills s->norms from the gradients as they are summed. divisor: sample size and loss scale. */
int mert_session_measure(mert_session *s, double divisor, mert_error *e) MERT_MUST_USE;

/* Writes a checkpoint and removes old ones: process 0 does, the others help. */
int mert_session_save(mert_session *s, mert_error *e) MERT_MUST_USE;

void mert_sums_add(mert_sums *to, const mert_sums *from);

#endif
