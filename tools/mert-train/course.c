#include "tools/mert-train/course.h"

#include "formats/file.h"
#include "libcommon/base/clock.h"
#include "libcommon/program/log.h"
#include "libcommon/program/report.h"
#include "tools/mert-train/limits.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SKIPS_MAX = 10 }; /* after so many updates in a row without a finite loss, the run ends */

static double hours_heard(const mert_session *s)
{
    return s->state.samples < 0 ? NAN : (double)s->state.samples / (double)s->recipe.sample_rate / 3600;
}

static int one_update(course *c, mert_session *s, mert_step *out, mert_error *e)
{
    mert_step step;
    mert_train_row *row = &c->row;
    double began = mert_seconds();
    if (mert_session_update(s, &step, e)) {
        c->same_failure = step.overflow; /* the loss scale cannot become smaller */
        return -1;
    }
    *out = step;
    row->seconds += mert_seconds() - began;
    row->waited += step.waited;
    row->audio_seconds += (double)step.sums.samples / (double)s->recipe.sample_rate;
    mert_sums_add(&row->sums, &step.sums);
    if (!step.overflow)
        row->grad_norm = step.norm;
    row->lr = step.lr;
    mert_report_item((double)step.sums.samples / (double)s->recipe.sample_rate);
    for (int64_t i = 0; i < step.unreadable; i++)
        if (mert_report_failed(mert_corpus_key(&s->train, s->unreadable[i].item), s->unreadable[i].why, 1))
            return mert_fail(e, "stopped at the first failure (--fail-fast)");
    if (step.overflow)
        mert_log_note("update %" PRId64 ": the gradient is not finite: trying again with loss scale %g",
                      s->state.position.update + 1, s->state.loss_scale.scale);
    if (step.skipped) {
        if (*step.why)
            mert_log_error("update %" PRId64 " left out, not finite: %s", s->state.position.update, step.why);
        c->same_failure = s->state.skipped_in_row >= SKIPS_MAX;
        if (c->same_failure)
            return mert_fail(e, "%d updates in a row were not finite, the last is update %" PRId64 "%s%s", SKIPS_MAX,
                             s->state.position.update, *step.why ? " with " : "", step.why);
    }
    return 0;
}

static int log_row(course *c, mert_session *s, mert_metrics *j, mert_error *e)
{
    mert_train_row *row = &c->row;
    int here = mert_session_exchange(s)->rank == 0;
    char line[1024];
    int64_t used[MERT_CODEBOOKS_MAX], update = s->state.position.update, last = mert_session_last(s);
    row->update = update;
    row->epoch = s->state.position.epoch;
    row->skipped = s->state.skipped;
    row->loss_scale = s->state.loss_scale.scale;
    row->overflows = s->state.loss_scale.overflows;
    row->used = used;
    row->hours_heard = hours_heard(s);
    row->wall_seconds = limits_elapsed();
    row->eta_seconds = (row->wall_seconds - c->since) / (double)(update - c->first) * (double)(last - update);
    row->time = time(NULL);
    if (!s->task && mert_session_used(s, 1, used, e))
        return -1;
    if (here && (mert_metrics_train(j, row, last, line, sizeof line, e) ||
                 (s->norms && mert_metrics_norms(j, update, s->norms, e))))
        return -1;
    if (here)
        mert_log_note("%s", line);
    *row = (mert_train_row){0};
    return 0;
}

static int due(int64_t update, int64_t interval)
{
    return interval && update % interval == 0;
}

/* Writes a checkpoint. passing: the next checkpoint replaces it. */
static int save_now(course *c, mert_session *s, int passing, mert_error *e)
{
    s->state.passing = passing;
    if (mert_session_save(s, e))
        return -1;
    c->saved = s->state.position.update;
    c->saved_at = limits_elapsed();
    return 0;
}

/* The model is the best so far: writes a checkpoint, and SAVE/best. */
static int keep_best(course *c, mert_session *s, mert_error *e)
{
    int64_t update = s->state.position.update;
    int regular = due(update, s->recipe.save_interval) || update == mert_session_last(s);
    if (save_now(c, s, !regular, e))
        return -1;
    return mert_session_exchange(s)->rank ? 0 : mert_state_place_best(s->save, update, e);
}

static int out_of_patience(const mert_session *s)
{
    return s->recipe.patience && s->state.best.since >= s->recipe.patience;
}

/* SAVE/predictions.mts, of the newest validation. */
static int write_predictions(const course *c, mert_session *s, mert_error *e)
{
    char *path = mert_path_join(s->save, "predictions.mts");
    int bad = path ? mert_session_predict(s, c->pieces, path, e) : mert_fail(e, "out of memory");
    free(path);
    return bad ? mert_fail_in(e, "predictions") : 0;
}

/* Validates. c->stop: not 0 if validation was interrupted. */
static int validate_frames(course *c, mert_session *s, mert_metrics *j, mert_error *e)
{
    double entropy[MERT_CODEBOOKS_MAX], unigram[MERT_CODEBOOKS_MAX];
    int64_t used[MERT_CODEBOOKS_MAX];
    mert_valid_row row = {.update = s->state.position.update,
                          .entropy = entropy,
                          .unigram = unigram,
                          .neighbours = c->neighbours,
                          .used = used,
                          .hours_heard = hours_heard(s)};
    char line[1024];
    for (int k = 0; k < s->train.K; k++) {
        entropy[k] = mert_corpus_entropy(&s->valid, k);
        unigram[k] = mert_corpus_cross_entropy(&s->train, &s->valid, k);
    }
    if (mert_session_validate(s, &row.sums, &c->stop, e) || mert_session_used(s, 0, used, e))
        return mert_fail_in(e, "validation");
    if (c->stop)
        return 0;
    if (!mert_session_exchange(s)->rank) {
        if (mert_metrics_valid(j, &row, line, sizeof line, e))
            return mert_fail_in(e, "validation");
        mert_log_note("%s", line);
    }
    if (c->pieces && write_predictions(c, s, e))
        return -1;
    return row.update > 0 && mert_session_judge(s, &row.sums) ? keep_best(c, s, e) : 0;
}

/* The same for a task. */
static int validate_task(course *c, mert_session *s, mert_metrics *j, mert_error *e)
{
    mert_task_answers a = {0};
    mert_valid_row row = {.update = s->state.position.update, .answers = &a, .hours_heard = hours_heard(s)};
    char line[1024];
    int bad = mert_session_answer(s, &s->valid, MERT_PROBE_VALID, &a, &c->stop, e);
    if (!bad && !c->stop && !mert_session_exchange(s)->rank) {
        bad = mert_metrics_valid(j, &row, line, sizeof line, e);
        if (!bad)
            mert_log_note("%s", line);
    }
    if (bad)
        mert_fail_in(e, "validation");
    else if (!c->stop && row.update > 0 && mert_session_judge_answers(s, &a))
        bad = keep_best(c, s, e);
    mert_task_answers_free(&a);
    return bad;
}

static int validate(course *c, mert_session *s, mert_metrics *j, mert_error *e)
{
    return s->task ? validate_task(c, s, j, e) : validate_frames(c, s, j, e);
}

/* Logs, validates and saves as the recipe says. If the run has to end now, the validation is left to the run that
 * resumes it. */
static int after_update(course *c, mert_session *s, mert_metrics *j, int asked_to_save, mert_error *e)
{
    const mert_recipe *r = &s->recipe;
    int64_t update = s->state.position.update, last = mert_session_last(s);
    int over = update == last;
    if ((due(update, r->log_interval) || over) && log_row(c, s, j, e))
        return -1;
    if (!c->stop && (due(update, r->validate_interval) || over) && validate(c, s, j, e))
        return -1;
    c->owes = over && c->stop;
    if (c->saved == update) /* it was saved as the best model */
        return 0;
    if (due(update, r->save_interval))
        return save_now(c, s, 0, e);
    return asked_to_save && !over ? save_now(c, s, 1, e) : 0;
}

int course_run(course *c, mert_session *s, mert_metrics *j, mert_error *e)
{
    const mert_exchange *x = mert_session_exchange(s);
    const mert_recipe *r = &s->recipe;
    mert_norms room, *norms = c->log_norms ? &room : NULL;
    int64_t last = mert_session_last(s), *update = &s->state.position.update;
    int due_now = *update == 0 || *update == last || due(*update, r->validate_interval);
    c->saved = *update;
    c->saved_at = limits_elapsed();
    if (due_now && c->validated < *update && validate(c, s, j, e))
        return -1;
    c->first = *update;
    c->since = limits_elapsed();
    while (*update < last && !c->stop && !out_of_patience(s) && !(x->ranks == 1 && limits_reached())) {
        mert_step step;
        s->norms = due(*update + 1, r->log_interval) || *update + 1 == last ? norms : NULL;
        s->save_now = !x->rank && r->save_minutes > 0 && limits_elapsed() - c->saved_at >= 60 * r->save_minutes;
        limits_arm();
        if (one_update(c, s, &step, e))
            return -1;
        c->stop = step.stop;
        if (!step.overflow && after_update(c, s, j, step.save, e))
            return -1;
    }
    c->ended = out_of_patience(s);
    c->stop |= x->ranks == 1 ? limits_reached() : 0;
    if (c->saved != *update && save_now(c, s, *update < last && !c->ended, e))
        return -1;
    if (c->ended && !x->rank)
        mert_log_note("ended after update %" PRId64 ": %" PRId64 " validations were not better than that of update %"
                      PRId64 ", whose model is %s/" MERT_STATE_BEST,
                      *update, s->state.best.since, s->state.best.update, s->save);
    else if ((*update < last || c->owes) && !x->rank)
        mert_log_note("stopped %s after update %" PRId64 ", which is saved: --resume goes on",
                      c->stop & LIMITS_SIGNAL ? "by a signal" : "by --stop-after", *update);
    return 0;
}
