#include "libcommon/train/session.h"

#include "libcommon/train/ema.h"
#include "libcommon/train/head.h"
#include "libcommon/train/recipe/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t mert_session_last(const mert_session *s)
{
    int64_t stop = s->recipe.max_update, total = s->recipe.total_updates;
    return stop && stop < total ? stop : total;
}

mert_exchange *mert_session_exchange(const mert_session *s)
{
    return s->sharing.exchange ? s->sharing.exchange : mert_exchange_alone();
}

/* ---- start and end ---- */

static int describe_model(const mert_session *s, mert_config *model, mert_error *e)
{
    mert_labels_meta *metas;
    int bad;
    if (!s->task && s->recipe.best_metric == 4)
        return mert_fail(e, "best_metric = score: of a task alone (mert-train --task)");
    if (!(metas = calloc((size_t)s->train.K + 1, sizeof *metas)))
        return mert_fail(e, "out of memory");
    mert_corpus_metas(&s->train, metas);
    bad = mert_recipe_model(&s->recipe, metas, s->train.K, model, e) ||
          (s->task && mert_recipe_task_model(&s->recipe, s->task->targets.outputs, model, e));
    free(metas);
    return bad;
}

int mert_session_model(mert_session *s, mert_error *e)
{
    size_t bytes;
    if (describe_model(s, &s->model, e) || mert_recipe_weights(&s->recipe, &s->model, &s->weights, e))
        return -1;
    if (s->task)
        mert_head_reset(&s->weights);
    bytes = (size_t)s->weights.layout.size * sizeof(float);
    s->m = calloc(1, bytes);
    s->v = calloc(1, bytes);
    s->state = (mert_state){.data = mert_corpus_hash(&s->train),
                            .best = {.update = -1},
                            .loss_scale = mert_loss_scale_first((mert_element_type)s->recipe.precision),
                            .batches = mert_recipe_batches(&s->recipe, mert_session_exchange(s)->ranks)};
    if (s->state.batches < mert_session_exchange(s)->ranks)
        return mert_fail(e, "an update is %lld batches: too few for %d processes", (long long)s->state.batches,
                         mert_session_exchange(s)->ranks);
    return s->m && s->v ? 0
                        : mert_fail(e, "out of memory for the moments of %lld parameters",
                                    (long long)s->weights.layout.elements);
}

static const char way_on[] = "a new run needs another --save, and can start with this model by --init";

/* Whether "NAME=VALUE" sets the corpus. */
static int of_corpus(const char *given)
{
    size_t n = strlen(MERT_CHANGED_CORPUS);
    return !strncmp(given, MERT_CHANGED_CORPUS, n) && given[n] == '=';
}

static int change_one(mert_session *s, int64_t update, const char *given, const mert_recipe *before, mert_error *e)
{
    if (!of_corpus(given))
        return mert_changes_make(&s->changes, update, given, before, &s->recipe, e);
    if (strcmp(strchr(given, '=') + 1, "yes"))
        return mert_fail(e, "'%s': corpus=yes lets a run go on with other manifests, labels and audio", given);
    s->other_corpus = 1;
    return 0;
}

int mert_session_change(mert_session *s, int64_t update, const char *const *given, int n, mert_error *e)
{
    char *path = mert_state_path(s->save, update);
    mert_recipe before;
    mert_state state;
    int bad = !path ? mert_fail(e, "out of memory")
                    : mert_state_load(s->save, update, &state, NULL, &before, NULL, NULL, NULL, e) ||
                          mert_changes_read(&s->changes, path, e) || mert_changes_keep(&s->changes, &s->recipe, e);
    free(path);
    for (int i = 0; !bad && i < n; i++)
        bad = change_one(s, update, given[i], &before, e) ? mert_fail_in(e, "--change") : 0;
    if (bad) { /* a damaged checkpoint may be the cause */
        mert_error why = {{0}};
        if (mert_state_verify(s->save, update, &why) < 0)
            *e = why;
        return -1;
    }
    s->other_corpus |= s->recipe.sharding_data != before.sharding_data;
    return s->task ? mert_recipe_check_task(&s->recipe, e) : mert_recipe_check(&s->recipe, e);
}

/* The error for a recipe that differs: names the setting and gives both values. */
static int other_setting(const mert_session *s, const mert_recipe *begun, const char *name, mert_error *e)
{
    char *was = mert_recipe_value(begun, name), *is = mert_recipe_value(&s->recipe, name);
    if (!was || !is)
        mert_fail(e, "out of memory");
    else if (mert_recipe_may_change(name))
        mert_fail(e, "%s: the run was begun with another %s: --resume needs the same, %s and not %s; --change '%s=%s' "
                  "goes on with that", s->save, name, was, is, name, is);
    else
        mert_fail(e, "%s: the run was begun with another %s: --resume needs the same, %s and not %s; %s", s->save, name,
                  was, is, way_on);
    free(was);
    free(is);
    return -1;
}

/* begun: inputs of the start of the run; empty for a checkpoint that has none. partly: not all audio of the session is
 * packed yet. Returns 1 if the corpus is another one and the session allows this. */
static int same_run(const mert_session *s, const mert_state *state, const mert_run_inputs *begun,
                    const mert_recipe *recipe, int partly, mert_error *e)
{
    char text[sizeof e->text];
    mert_recipe now = *recipe;
    const char *other;
    int another;
    if (mert_changes_apply(&s->changes, &now, e))
        return -1;
    if ((other = mert_recipe_difference(&now, &s->recipe)))
        return other_setting(s, &now, other, e);
    another = begun->n && mert_run_inputs_same(begun, &s->inputs, partly, e);
    if (!another && !partly && state->data != s->state.data)
        another = mert_fail(e, "%s: the run was begun with another manifest or other labels", s->save);
    if (!another)
        return 0;
    if (s->other_corpus)
        return mert_run_inputs_same_codebooks(begun, &s->inputs, e) ? mert_fail_in(e, "%s", s->save) : 1;
    snprintf(text, sizeof text, "%s", e->text);
    return mert_fail(e, "%.600s: --resume needs the same, or --change corpus=yes; %s", text, way_on);
}

/* From here on the run has s->inputs, in place of the checkpoint's. */
static int record_corpus(mert_session *s, uint64_t was, mert_error *e)
{
    char from[32], to[32];
    snprintf(from, sizeof from, "%016" PRIx64, was);
    snprintf(to, sizeof to, "%016" PRIx64, s->state.data);
    return mert_changes_add(&s->changes, s->state.position.update, MERT_CHANGED_CORPUS, from, to, e);
}

static float *take_ema(mert_session *s, mert_error *e)
{
    if (!(s->ema = malloc((size_t)s->weights.layout.size * sizeof *s->ema)))
        mert_fail(e, "out of memory for the mean of %lld parameters", (long long)s->weights.layout.elements);
    return s->ema;
}

/* Reads the moving mean of checkpoint `update`. If it has none, the mean begins with the present weights. */
static int resume_ema(mert_session *s, int64_t update, mert_error *e)
{
    char *path = mert_state_path(s->save, update);
    int absent = !path ? mert_fail(e, "out of memory")
                 : !take_ema(s, e) ? -1 : mert_ema_load(s->ema, &s->weights.layout, path, e);
    free(path);
    if (absent > 0) {
        free(s->ema);
        s->ema = NULL;
    }
    return absent < 0 ? -1 : 0;
}

int mert_session_resume(mert_session *s, int64_t update, mert_error *e)
{
    mert_state state;
    mert_recipe recipe;
    mert_run_inputs begun = {0};
    uint64_t data = s->state.data;
    int unverified = mert_state_verify(s->save, update, e), another;
    if (unverified < 0)
        return -1;
    another = mert_state_load(s->save, update, &state, &begun, &recipe, NULL, NULL, NULL, e)
                  ? -1
                  : same_run(s, &state, &begun, &recipe, 0, e);
    mert_run_inputs_free(&begun);
    if (another < 0)
        return -1;
    if (!state.batches)
        state.batches = mert_recipe_batches(&recipe, 1);
    if (state.batches < mert_session_exchange(s)->ranks)
        return mert_fail(e, "%s: an update of this run is %lld batches: too few for %d processes", s->save,
                         (long long)state.batches, mert_session_exchange(s)->ranks);
    if (mert_state_load(s->save, update, &s->state, NULL, &recipe, &s->weights, s->m, s->v, e))
        return -1;
    s->state.batches = state.batches;
    s->state.data = data;
    if (another && record_corpus(s, state.data, e))
        return -1;
    if (s->recipe.ema_decay > 0 && !mert_session_exchange(s)->rank && resume_ema(s, update, e))
        return -1;
    if (s->state.position.index > 0 && mert_changes_of_batches(&s->changes, update))
        s->state.position = (mert_position){.update = update, .epoch = state.position.epoch + 1};
    if (!(s->state.loss_scale.scale > 0))
        s->state.loss_scale = mert_loss_scale_first((mert_element_type)s->recipe.precision);
    return unverified;
}

int mert_session_update_seconds(const mert_session *s, double *seconds, mert_error *e)
{
    mert_epoch_plan p;
    double samples = 0;
    if (mert_epoch_plan_make(&p, &s->train, &s->recipe, 0, e))
        return -1;
    for (int64_t i = 0; i < p.n; i++)
        samples += (double)(p.batches[i].B * p.batches[i].L);
    *seconds = p.n ? samples / (double)p.n * (double)s->state.batches / (double)s->recipe.sample_rate : 0;
    mert_epoch_plan_free(&p);
    return 0;
}

int mert_session_check(const mert_session *s, int64_t update, mert_error *e)
{
    mert_config model;
    mert_state state;
    mert_recipe recipe;
    mert_run_inputs begun = {0};
    int bad;
    if (describe_model(s, &model, e))
        return -1;
    bad = update >= 0 && (mert_state_verify(s->save, update, e) < 0 ||
                          mert_state_load(s->save, update, &state, &begun, &recipe, NULL, NULL, NULL, e) ||
                          same_run(s, &state, &begun, &recipe, 1, e) < 0);
    mert_run_inputs_free(&begun);
    return bad ? -1 : 0;
}

int mert_session_plan_validation(mert_session *s, mert_error *e)
{
    if (s->task)
        return 0;
    if (mert_epoch_plan_make(&s->valid_plan, &s->valid, &s->recipe, MERT_VALIDATION, e))
        return -1;
    return s->valid_plan.n ? 0
                           : mert_fail(e,
                                       "the validation set is empty: none of its %lld items is as long as "
                                       "%s_sample_size (%lld samples)",
                                       (long long)s->valid.n, s->recipe.valid_sample_size ? "valid" : "min",
                                       (long long)mert_recipe_shortest(&s->recipe, MERT_VALIDATION));
}

int mert_session_begin(mert_session *s, mert_ops *ops, mert_error *e)
{
    mert_objective_config objective = mert_recipe_objective(&s->recipe);
    mert_adam_config adam = mert_recipe_adam(&s->recipe);
    mert_rank_assignment assignment;
    const mert_exchange *x = mert_session_exchange(s);
    mert_position tried = s->state.position;
    if (mert_session_plan_validation(s, e))
        return -1;
    s->trainer = mert_trainer_new(&s->weights, ops, &objective, &adam, &s->sharing, e);
    if (!s->trainer || mert_trainer_set(s->trainer, NULL, s->m, s->v, e))
        return -1;
    if (s->task && !s->state.position.update && mert_session_begin_head(s, e))
        return -1;
    if (s->recipe.ema_decay > 0 && !x->rank && !s->ema) { /* the mean begins here */
        if (!take_ema(s, e))
            return -1;
        memcpy(s->ema, s->weights.values, (size_t)s->weights.layout.size * sizeof *s->ema);
    }
    free(s->weights.values); /* the trainer has a copy */
    free(s->m);
    free(s->v);
    s->weights.values = s->m = s->v = NULL;
    assignment = (mert_rank_assignment){s->state.batches, x->rank, x->ranks};
    tried.update += s->state.loss_scale.overflows;
    s->loader = mert_loader_start(&s->train, &s->recipe, &s->model, tried, &assignment,
                                  mert_trainer_preparer(s->trainer), e);
    return s->loader ? 0 : -1;
}

void mert_session_end(mert_session *s)
{
    if (s->trainer) /* waits for the batches that are queued */
        (void)!mert_trainer_settle(s->trainer, NULL);
    mert_loader_stop(s->loader);
    mert_trainer_free(s->trainer);
    mert_epoch_plan_free(&s->valid_plan);
    mert_weights_free(&s->weights);
    free(s->m);
    free(s->v);
    free(s->ema);
    free(s->counted);
    free(s->unreadable);
    mert_corpus_close(&s->train);
    mert_corpus_close(&s->valid);
    mert_corpus_close(&s->replay);
    mert_run_inputs_free(&s->inputs);
    mert_changes_free(&s->changes);
    memset(s, 0, sizeof *s);
}

/* ---- one update ---- */

void mert_sums_add(mert_sums *to, const mert_sums *from)
{
    to->loss += from->loss;
    for (int k = 0; k < MERT_CODEBOOKS_MAX; k++) {
        to->ce[k] += from->ce[k];
        to->correct[k] += from->correct[k];
        to->counted[k] += from->counted[k];
        to->unmasked_ce[k] += from->unmasked_ce[k];
        to->unmasked_correct[k] += from->unmasked_correct[k];
        to->unmasked_counted[k] += from->unmasked_counted[k];
    }
    to->masked_loss += from->masked_loss;
    to->examples += from->examples;
    to->right += from->right;
    to->features_pen += from->features_pen;
    to->cqt_mse += from->cqt_mse;
    to->mel_mse += from->mel_mse;
    if (from->batches)
        to->largest_logit = to->batches ? fmax(to->largest_logit, from->largest_logit) : from->largest_logit;
    to->sample_size += from->sample_size;
    to->masked += from->masked;
    to->batches += from->batches;
    to->frames += from->frames;
    to->samples += from->samples;
}

/* Adds the names of the batch's items to `text`, as many as fit. */
static void name_items(const mert_session *s, const mert_load *l, char *text, size_t size)
{
    size_t used = strlen(text);
    for (int64_t i = 0; i < l->batch.B && used + 8 < size; i++) {
        int n = snprintf(text + used, size - used, "%s%s", used ? ", " : "",
                         mert_corpus_key(&s->train, l->corpus_items[i]));
        if (n < 0 || (size_t)n >= size - used) {
            snprintf(text + used, size - used, ", ...");
            return;
        }
        used += (size_t)n;
    }
}

/* Counts each item once, however often it is used. */
static int note_unreadable(mert_session *s, const mert_load *l, mert_step *step, mert_error *e)
{
    int64_t items = s->train.n + (s->train.replay ? s->train.replay->n : 0);
    if (l->failed && !s->counted && !(s->counted = calloc((size_t)items + 1, sizeof *s->counted)))
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < l->failed; i++) {
        if (s->counted[l->failures[i].item])
            continue;
        if (step->unreadable == s->unreadable_room) {
            int64_t room = 2 * s->unreadable_room + 8;
            struct mert_load_failure *grown = realloc(s->unreadable, (size_t)room * sizeof *grown);
            if (!grown)
                return mert_fail(e, "out of memory");
            s->unreadable = grown;
            s->unreadable_room = room;
        }
        s->counted[l->failures[i].item] = 1;
        s->unreadable[step->unreadable++] = l->failures[i];
    }
    return 0;
}

/* What processes exchange after the batches of an update. */
typedef struct news {
    mert_sums sums;
    int64_t sample_size; /* also of batches whose sums are not finite */
    int not_finite, stop, save;
    double waited;
    int64_t epoch, index; /* the position of the run, from the process that had the last batch; otherwise -1 */
} news;

/* Exchanges `mine`. *sample_size: the sum over all processes. */
static int tell(mert_session *s, const news *mine, mert_step *step, int64_t *sample_size, mert_error *e)
{
    mert_exchange *x = mert_session_exchange(s);
    news *all = malloc((size_t)x->ranks * sizeof *all);
    int bad = !all ? mert_fail(e, "out of memory") : x->collect(x, mine, all, sizeof *mine, e);
    *sample_size = 0;
    for (int r = 0; !bad && r < x->ranks; r++) {
        mert_sums_add(&step->sums, &all[r].sums);
        *sample_size += all[r].sample_size;
        step->skipped |= all[r].not_finite;
        step->stop |= all[r].stop;
        step->save |= all[r].save;
        step->waited += all[r].waited / x->ranks;
        if (all[r].epoch >= 0) {
            s->state.position.epoch = all[r].epoch;
            s->state.position.index = all[r].index;
        }
    }
    free(all);
    return bad;
}

/* A batch whose losses may not have arrived yet: mert_trainer_accumulate brings those of the batch before. */
typedef struct recent {
    mert_sums sums;
    char names[1024]; /* names of its items; "": no batch */
} recent;

static void take_in(recent *r, news *mine, mert_step *step)
{
    size_t used = strlen(step->why);
    if (!*r->names)
        return;
    if (isfinite(r->sums.loss)) {
        mert_sums_add(&mine->sums, &r->sums);
    } else {
        mine->not_finite = 1;
        snprintf(step->why + used, sizeof step->why - used, "%s%s", used ? ", " : "", r->names);
    }
    *r->names = 0;
}

/* Passes this process's batches of the update. item_names: names of their items, for error messages. */
static int pass_batches(mert_session *s, recent last[2], news *mine, mert_step *step, char *item_names, size_t size,
                        mert_error *e)
{
    const mert_exchange *x = mert_session_exchange(s);
    mert_forward_options options = mert_recipe_forward_options(&s->recipe);
    const mert_load *l = NULL;
    options.update = (uint64_t)(s->state.position.update + s->state.loss_scale.overflows) + 1;
    for (int64_t first = 0, turn = 0; first < s->state.batches; first += x->ranks, turn ^= 1) {
        int64_t i = first + x->rank;
        int silent = i >= s->state.batches; /* there are batches left, but not one for each process */
        mert_sums *sums = silent ? NULL : &last[turn].sums;
        if (silent && !mert_trainer_together(s->trainer))
            break;
        if (!silent && !(l = mert_loader_next(s->loader, &mine->waited, e)))
            return -1;
        options.micro_batch = (uint64_t)i;
        mert_trainer_batch(s->trainer, i + x->ranks >= s->state.batches, silent);
        if (!silent)
            *sums = (mert_sums){0};
        if (mert_trainer_accumulate(s->trainer, &options, &l->batch, sums, e))
            return -1;
        take_in(&last[turn ^ 1], mine, step);
        if (silent)
            break;
        mine->sample_size += sums->sample_size;
        if (note_unreadable(s, l, step, e))
            return -1;
        name_items(s, l, item_names, size);
        name_items(s, l, last[turn].names, sizeof last->names);
        if (i == s->state.batches - 1) {
            mine->epoch = l->epoch;
            mine->index = l->index + 1;
        }
    }
    return 0;
}

/* Collects the results of the update's batches, of all processes. */
static int take_stock(mert_session *s, recent last[2], news *mine, mert_step *step, int64_t *sample_size, mert_error *e)
{
    for (int i = 0; i < 2; i++)
        take_in(&last[i], mine, step);
    return tell(s, mine, step, sample_size, e);
}

/* Updates the state after an update that was applied or left out. */
static int settle(mert_session *s, mert_step *step, int left_out, int64_t sample_size, mert_error *e)
{
    int scaled = s->recipe.precision == MERT_ELEMENT_F16;
    step->overflow = left_out && scaled && sample_size > 0;
    step->skipped = left_out && !step->overflow;
    if (step->overflow)
        return mert_loss_scale_overflow(&s->state.loss_scale, e);
    s->state.skipped += left_out;
    s->state.skipped_in_row = left_out ? s->state.skipped_in_row + 1 : 0;
    s->state.position.update++;
    if (scaled && !left_out)
        mert_loss_scale_good(&s->state.loss_scale, mert_loss_scale_window(s->state.batches));
    return 0;
}

/* Adds the new weights to the moving mean. */
static int average(mert_session *s, mert_error *e)
{
    int here = mert_session_exchange(s)->rank == 0, bad = 0;
    int64_t n = s->weights.layout.size;
    const float *weights = mert_trainer_weights(s->trainer);
    float *copy = weights ? NULL : malloc(here ? (size_t)n * sizeof *copy : sizeof *copy);
    if (!weights && !copy)
        return mert_fail(e, "out of memory for a copy of the weights");
    if (copy)
        bad = mert_trainer_get(s->trainer, &(mert_shards_arrays){.weights = copy}, here, e);
    if (!bad && here)
        mert_ema_add(s->ema, copy ? copy : weights, n, s->recipe.ema_decay);
    free(copy);
    return bad;
}

int mert_session_update(mert_session *s, mert_step *step, mert_error *e)
{
    int64_t update = s->state.position.update + 1, sample_size;
    recent last[2];
    news mine = {.epoch = -1};
    int left_out, alone = mert_session_exchange(s)->ranks == 1;
    char item_names[sizeof step->why] = "";
    memset(step, 0, sizeof *step);
    memset(last, 0, sizeof last);
    mert_trainer_scale(s->trainer, s->state.loss_scale.scale);
    mert_trainer_freeze(s->trainer, s->task && update <= s->recipe.freeze_updates);
    if (pass_batches(s, last, &mine, step, item_names, sizeof item_names, e))
        return -1;
    mine.stop = s->stop ? s->stop() : 0;
    mine.save = s->save_now;
    sample_size = mine.sample_size;
    /* gradients first: their exchange may be in progress, and nothing else may be exchanged before it ends */
    if (mert_trainer_sum(s->trainer, e) || (!alone && take_stock(s, last, &mine, step, &sample_size, e)))
        return -1;
    if (s->norms && mert_norms_measure(s->norms, s->trainer, !mert_session_exchange(s)->rank,
                                       (double)sample_size * s->state.loss_scale.scale, e))
        return -1;
    step->lr = mert_schedule_rate((mert_schedule)s->recipe.lr_schedule, s->recipe.lr, s->recipe.warmup_updates,
                                  s->recipe.total_updates, update);
    /* A sample size of 0 makes the trainer discard the gradients. */
    left_out = mert_trainer_update(s->trainer, update, step->lr, step->skipped ? 0 : (double)sample_size, &step->norm,
                                   e);
    if (left_out < 0 || (alone && take_stock(s, last, &mine, step, &sample_size, e)))
        return -1;
    if (s->state.samples >= 0)
        s->state.samples += step->sums.samples;
    if (left_out && !step->skipped)
        memcpy(step->why, item_names, sizeof item_names);
    if (s->recipe.ema_decay > 0 && !left_out && average(s, e))
        return -1;
    return settle(s, step, left_out, sample_size, e);
}
