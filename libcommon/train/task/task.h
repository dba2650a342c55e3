/* A labelled task for fine-tuning: which spans of which items have which answer, and which part is trained on. The
 * table of labels, the kinds of tasks and the split are those of probes (probe/table.h, targets.h, folds.h); an example
 * is a row of the table whose item has audio.
 *
 *     mert_task_read(t, ...);  for each corpus: mert_task_meet(t, corpus);  mert_task_settle(t, ...)
 *     for each corpus and its part: mert_task_keep(t, corpus, part)
 *
 * Items are read in crops, as in pre-training. A crop has, as examples, the spans that are in it. All examples of an
 * item are in one part. */
#ifndef MERT_TASK_H
#define MERT_TASK_H

#include "libcommon/probe/folds.h"
#include "libcommon/train/data/batch.h"
#include "libcommon/train/data/corpus.h"

typedef struct mert_task {
    mert_probe_task kind;
    mert_probe_table table;
    mert_targets targets;  /* of the examples */
    int64_t *row;          /* [targets.n]: of the table, ascending */
    int64_t *example;      /* [table.n]: the example of a row; -1: its item has no audio */
    mert_probe_part *part; /* [targets.n] */
    int carved;            /* the validation part was taken from the training part */
    int folds, fold;       /* without a given split: of so many parts, this one is tested */
    float *mean, *size;    /* [outputs] regress: mean and standard deviation of the numbers of the training part */
    int64_t unknown;       /* items without a row */
    int64_t missing;       /* rows without audio */
    int64_t renamed;       /* rows of chords that the rule has no name for */
    int64_t outside;       /* rows of items that are in no manifest */
} mert_task;

typedef struct mert_task_source {
    const char *table;                  /* a file, or a folder of .lab files */
    const char *column;                 /* NULL: "label" */
    mert_probe_task kind;
    mert_chord_rule chords;
    const char *manifest[MERT_PROBE_OUT]; /* of the parts; test NULL: the table splits, or folds do */
} mert_task_source;

int mert_task_read(mert_task *t, const mert_task_source *from, mert_error *e) MERT_MUST_USE;
void mert_task_free(mert_task *t); /* a zeroed one is fine */
/* Takes the rows of the corpus's items as examples. */
int mert_task_meet(mert_task *t, const mert_corpus *c, mert_error *e) MERT_MUST_USE;
/* Numbers and splits the examples: as mert-probe does in round `fold` of `folds` with this seed, or as given. */
int mert_task_settle(mert_task *t, int folds, int fold, uint64_t seed, mert_error *e) MERT_MUST_USE;
/* Keeps only the items of a part in the corpus, which has the task from now on. */
void mert_task_keep(const mert_task *t, mert_corpus *c, mert_probe_part part);
/* Of keys, times, answers and parts of the examples. */
uint64_t mert_task_hash(const mert_task *t);
int64_t mert_task_count(const mert_task *t, mert_probe_part part); /* examples */

/* The first sample of a crop of L samples in training: at a random place (pick, place: in [0, 1)), on the grid, such
 * that an example is in it, as far as it fits. */
int64_t mert_task_start(const mert_task *t, const mert_corpus *c, int64_t item, int64_t L, double pick, double place);
/* The examples of B crops of T frames of `stride` samples, which begin at sample start[i] of items[i]: those of which a
 * frame's middle is in the crop; in training at least half of their frames, or half of the crop's. */
int mert_task_fill(const mert_task *t, const mert_corpus *c, const int64_t *items, const int64_t *start, int64_t B,
                   int64_t T, int training, mert_examples *to, mert_error *e) MERT_MUST_USE;
void mert_examples_free(mert_examples *x);

#endif
