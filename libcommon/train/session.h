/* A training run as a whole: corpora, model, trainer, loader and state, and the few things one does with them. When to
 * do what, and what to say, is the program's.
 *
 *     mert_session s = {.recipe = r, .save = "DIR"};
 *     open s.train and s.valid (corpus.h), then mert_session_begin(&s, ...)
 *     while (s.state.position.update < mert_session_last(&s)) mert_session_update(&s, &step, &e);
 *     mert_session_validate(&s, &sums, &e); mert_session_save(&s, &e); mert_session_end(&s); */
#ifndef MERT_SESSION_H
#define MERT_SESSION_H

#include "state.h"

typedef struct mert_session {
    mert_recipe recipe;
    const char *save; /* folder of the run, stays the caller's */
    mert_corpus train, valid;
    mert_config model;
    mert_weights weights; /* host copy: as of the last begin or save */
    mert_trainer *trainer;
    mert_loader *loader;
    mert_plan valid_plan;
    mert_state state;
    float *m, *v; /* host copies of the moments, likewise */
} mert_session;

/* The model of the recipe and the labels, random as the recipe's seed makes it. */
int mert_session_model(mert_session *s, mert_error *e);
/* Instead of random weights: where checkpoint `update` of SAVE stands (its data and recipe must be the session's). */
int mert_session_resume(mert_session *s, int64_t update, mert_error *e);
/* Trainer and loader, from the present weights and state on. */
int mert_session_begin(mert_session *s, mert_ops *ops, mert_error *e);
void mert_session_end(mert_session *s); /* a session in any state */

int64_t mert_session_last(const mert_session *s); /* the update after which it stops */

typedef struct mert_step {
    mert_sums sums;
    double norm, lr, waited;
    int skipped; /* the update was left out: a loss or gradient was not finite, `why` names the items */
    char why[1024];
    int64_t unreadable; /* crops left out because their audio could not be read, ... */
    const char *unreadable_key;
    char unreadable_why[1024]; /* ... the last of them */
} mert_step;

/* One update: update_freq batches. The number of the update, and with it the schedule, goes on when it is left out. */
int mert_session_update(mert_session *s, mert_step *step, mert_error *e);

/* The loss on the validation corpus, always on the same crops with the same masks. */
int mert_session_validate(mert_session *s, mert_sums *sums, mert_error *e);

/* Writes a checkpoint and removes old ones. */
int mert_session_save(mert_session *s, mert_error *e);

void mert_sums_add(mert_sums *to, const mert_sums *from);

#endif
