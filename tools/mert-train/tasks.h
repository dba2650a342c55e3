/* mert-train --task: fine-tuning on a table of labels. Reads the table, opens the corpora of its parts, and at the end
 * tests the model, prints scores and writes predictions. */
#ifndef MERT_TRAIN_TASKS_H
#define MERT_TRAIN_TASKS_H

#include "libcommon/train/session.h"
#include "tools/mert-train/corpora.h"

typedef struct tasks {
    const char *table, *column, *predictions; /* as given */
    int chords;                               /* a mert_chord_rule */
    corpus_names test;                        /* manifest NULL: the table, or folds, say which items are tested */
    mert_task task;
    mert_corpus corpus;                       /* of the test part */
    mert_task_answers columns;                /* names of the scores alone */
} tasks;

/* Sets the recipe's model: that of `init`, or (NULL) of checkpoint `newest` of SAVE. given: the assignments of --set;
 * one of another value than the model's is an error. */
int tasks_take_model(mert_recipe *r, const char *init, const char *save, int64_t newest, const mert_strings *given,
                     mert_error *e);
/* Before anything is packed: reads the table, and s has the task. Names of validation and test that were not given
 * become those of training. */
int tasks_read(tasks *t, mert_session *s, const corpus_names *train, corpus_names *valid, mert_error *e);
/* Packs the audio, as corpora_pack. */
int tasks_pack(tasks *t, corpus_names *train, corpus_names *valid, const mert_recipe *r, const char *save,
               corpora_packing packing, mert_error *e);
/* Opens the corpora of all parts, and settles which examples they have. */
int tasks_open(tasks *t, mert_session *s, const corpus_names *train, const corpus_names *valid,
               mert_index_keeping keeping, mert_error *e);
/* At the end of a run: tests SAVE/best, or without it SAVE/model. */
int tasks_test(tasks *t, mert_session *s, mert_error *e);
void tasks_close(tasks *t);

#endif
