/* What a model answers for the examples of one part of a task, and the scores of that: those of probes (probe/score.h).
 * An example that is evaluated in several pieces has the mean of their answers (probabilities, or numbers), each with
 * its number of frames as weight. */
#ifndef MERT_TASK_ANSWERS_H
#define MERT_TASK_ANSWERS_H

#include "libcommon/probe/score.h"
#include "libcommon/train/task/task.h"

typedef struct mert_task_answers {
    const mert_task *task;
    double *sums;      /* [examples, outputs, 3]: what mert_answer_add sums, times frames; then frames */
    double loss, heard; /* the sum of losses of the pieces of examples, and how many there were */
    float *answers;    /* [examples, outputs]: log-odds, or numbers */
    int32_t *round;    /* [examples] 0; -1: not answered */
    int64_t answered, silent; /* examples of the part; those without a frame */
    int scores;
    char names[MERT_SCORES_MAX][MERT_SCORE_NAME_MAX];
    double value[MERT_SCORES_MAX]; /* [scores]; NAN: not defined */
} mert_task_answers;

int mert_task_answers_make(mert_task_answers *a, const mert_task *t, mert_error *e) MERT_MUST_USE;
void mert_task_answers_free(mert_task_answers *a); /* a zeroed one is fine */
int64_t mert_task_answers_size(const mert_task_answers *a); /* numbers in sums */
/* scores [x->n, outputs]: of the head, for the examples of a batch. */
int mert_task_answers_add(mert_task_answers *a, const mert_examples *x, const float *scores, mert_error *e)
    MERT_MUST_USE;
/* After the last of the part: answers and scores. */
int mert_task_answers_score(mert_task_answers *a, mert_probe_part part, mert_error *e) MERT_MUST_USE;
/* The same for a prediction that is equal for all examples: the frequency of each label, or the mean of the numbers, in
 * the training part (and in the validation part, if that was taken from it). */
int mert_task_answers_guess(mert_task_answers *a, mert_probe_part part, mert_error *e) MERT_MUST_USE;

#endif
