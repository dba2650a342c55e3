#include "tools/mert-train/tasks.h"

#include "formats/array.h"
#include "formats/file.h"
#include "libcommon/probe/predictions.h"
#include "libcommon/program/log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char head_file[] = "head.safetensors";

/* ---- the model ---- */

/* Settings that were given, and are others in the model: those of the recipe are told, those of --set refused. */
static int compare_model(const mert_recipe *before, const mert_recipe *after, const char *model,
                         const mert_strings *given, mert_error *e)
{
    char text[800];
    int n;
    for (int i = 0; i < given->n; i++)
        if (mert_recipe_kept(before, after, given->items[i], e))
            return mert_fail_in(e, "--set");
    if ((n = mert_recipe_unused(before, after, text, sizeof text)) < 0)
        return mert_fail(e, "out of memory");
    if (n)
        mert_log_note("the model is that of %s; not used of the recipe: %s", model, text);
    return 0;
}

int tasks_take_model(mert_recipe *r, const char *init, const char *save, int64_t newest, const mert_strings *given,
                     mert_error *e)
{
    mert_recipe before = *r;
    char *path = !init && newest >= 0 ? mert_state_path(save, newest) : NULL;
    const char *from = init ? init : path;
    mert_weights w;
    int bad;
    if (!from)
        return mert_fail(e, "--task needs a model to begin with: --init MODEL");
    bad = mert_weights_open(&w, from, e) ? -1 : mert_recipe_take_model(r, &w.layout.config, e);
    if (bad)
        mert_fail_in(e, "%s", from);
    mert_weights_free(&w);
    bad = bad || compare_model(&before, r, from, given, e);
    free(path);
    return bad;
}

/* ---- the parts ---- */

/* Whether --predictions can be written at the end, and is none of the inputs. */
static int check_predictions(const tasks *t, const corpus_names *train, const corpus_names *valid, mert_error *e)
{
    const corpus_names *parts[] = {train, valid, &t->test};
    const char *inputs[4] = {t->table};
    int n = 1;
    if (!t->predictions)
        return 0;
    for (int i = 0; i < 3; i++) {
        if (parts[i]->manifest)
            inputs[n++] = parts[i]->manifest;
        if (mert_output_check(t->predictions, (char *const *)parts[i]->pcm.items, parts[i]->pcm.n, e))
            return mert_fail_in(e, "--predictions");
    }
    return mert_output_check(t->predictions, (char *const *)inputs, n, e) ? mert_fail_in(e, "--predictions") : 0;
}

int tasks_read(tasks *t, mert_session *s, const corpus_names *train, corpus_names *valid, mert_error *e)
{
    mert_task_source from = {.table = t->table, .column = t->column, .kind = (mert_probe_task)s->recipe.task_kind,
                             .chords = (mert_chord_rule)t->chords};
    if (check_predictions(t, train, valid, e) || (!mert_path_is_directory(t->table) && mert_input_note(t->table, e)))
        return -1;
    if (t->chords && from.kind != MERT_PROBE_CLASSIFY)
        return mert_fail(e, "--chords is for task_kind = classify");
    if (t->test.manifest) {
        from.manifest[MERT_PROBE_TRAIN] = train->manifest;
        from.manifest[MERT_PROBE_VALID] = valid->manifest;
        from.manifest[MERT_PROBE_TEST] = t->test.manifest;
    }
    s->task = &t->task;
    return mert_task_read(&t->task, &from, e);
}

/* The names of a part: its own, or those of training. */
static const corpus_names *names_of(const corpus_names *part, const corpus_names *train)
{
    return part->manifest ? part : train;
}

int tasks_pack(tasks *t, corpus_names *train, corpus_names *valid, const mert_recipe *r, const char *save,
               corpora_packing packing, mert_error *e)
{
    return corpora_pack_one(train, "train.pcm.mts", r, save, packing, e) ||
                   corpora_pack_one(valid, "valid.pcm.mts", r, save, packing, e) ||
                   corpora_pack_one(&t->test, "test.pcm.mts", r, save, packing, e)
               ? -1
               : 0;
}

static void describe(const mert_task *t)
{
    static const char *const outputs[] = {"classes", "labels", "numbers"};
    mert_log_note("%s: %" PRId64 " %s, %" PRId64 " %s: %" PRId64 " to train on, %" PRId64 " for validation, %" PRId64
                  " to test%s",
                  t->table.path, t->targets.n, t->table.spans ? "spans" : "items", t->targets.outputs,
                  outputs[t->kind], mert_task_count(t, MERT_PROBE_TRAIN), mert_task_count(t, MERT_PROBE_VALID),
                  mert_task_count(t, MERT_PROBE_TEST), t->targets.given ? "" : " (by folds)");
    if (t->unknown)
        mert_log_note("%s: %" PRId64 " items without a row", t->table.path, t->unknown);
    if (t->missing)
        mert_log_note("%s: %" PRId64 " rows without audio", t->table.path, t->missing);
    if (t->renamed)
        mert_log_note("%s: %" PRId64 " rows of chords that --chords has no name for", t->table.path, t->renamed);
    if (t->outside)
        mert_log_note("%s: %" PRId64 " rows of items that are in no manifest", t->table.path, t->outside);
}

int tasks_open(tasks *t, mert_session *s, const corpus_names *train, const corpus_names *valid,
               mert_index_keeping keeping, mert_error *e)
{
    int aloud = !s->sharing.exchange || !s->sharing.exchange->rank;
    const mert_recipe *r = &s->recipe;
    mert_task *task = &t->task;
    if (corpora_open_one(&s->train, r, train, aloud, keeping, e) ||
        corpora_open_one(&s->valid, r, names_of(valid, train), 0, keeping, e) ||
        corpora_open_one(&t->corpus, r, names_of(&t->test, train), 0, keeping, e))
        return -1;
    if (mert_task_meet(task, &s->train, e) || (valid->manifest && mert_task_meet(task, &s->valid, e)) ||
        (t->test.manifest && mert_task_meet(task, &t->corpus, e)) ||
        mert_task_settle(task, (int)r->task_folds, (int)r->task_fold, (uint64_t)r->seed, e) ||
        mert_task_answers_make(&t->columns, task, e))
        return -1;
    mert_task_keep(task, &s->train, MERT_PROBE_TRAIN);
    mert_task_keep(task, &s->valid, MERT_PROBE_VALID);
    mert_task_keep(task, &t->corpus, MERT_PROBE_TEST);
    if (mert_run_inputs_add(&s->inputs, "train", &s->train, e) ||
        mert_run_inputs_add(&s->inputs, "valid", &s->valid, e) ||
        mert_run_inputs_add(&s->inputs, "test", &t->corpus, e) ||
        mert_run_inputs_add_task(&s->inputs, t->table, mert_task_hash(task), e))
        return -1;
    if (aloud)
        describe(task);
    return 0;
}

void tasks_close(tasks *t)
{
    mert_corpus_close(&t->corpus);
    mert_task_answers_free(&t->columns);
    mert_task_free(&t->task);
}

/* ---- the test ---- */

static void print_scores(const char *layer, const mert_task_answers *a)
{
    for (int i = 0; i < a->scores; i++) {
        printf("%s\t%s", layer, a->names[i]);
        for (int k = 0; k < 3; k++)
            printf(isnan(a->value[i]) ? "\tnan" : "\t%.4f", a->value[i]);
        printf("\t%d\n", !isnan(a->value[i]));
    }
}

/* The keys of the rows of tested items, as streams have them. */
static void name_rows(const tasks *t, const char **keys)
{
    for (int64_t i = 0; i < t->corpus.n; i++) {
        const char *key = mert_corpus_key(&t->corpus, i);
        int64_t first, n = mert_probe_table_find(&t->task.table, key, &first);
        for (int64_t k = first; k < first + n; k++)
            keys[k] = key;
    }
}

static int write_predictions(const tasks *t, const mert_session *s, const char *layer, const mert_task_answers *a,
                             mert_error *e)
{
    const mert_task *task = &t->task;
    const mert_targets *g = &task->targets;
    const mert_outputs outputs = {g->task, g->outputs, g->names};
    const char **keys = mert_array_zeroed(task->table.n, sizeof *keys);
    mert_output *o = keys ? mert_output_open(t->predictions, e) : NULL;
    if (!o) {
        free(keys);
        return keys ? -1 : mert_fail(e, "out of memory");
    }
    name_rows(t, keys);
    mert_predictions_head(o->stream, &outputs);
    for (int64_t i = 0; i < g->n; i++) {
        const mert_probe_row *r = &task->table.rows[task->row[i]];
        mert_prediction p = {.key = keys[task->row[i]], .layer = layer, .start = NAN, .end = NAN,
                             .seed = s->recipe.seed, .fold = task->fold, .label = g->label ? &g->label[i] : NULL,
                             .y = g->y ? g->y + i * g->outputs : NULL, .answers = a->answers + i * g->outputs};
        if (a->round[i] < 0)
            continue;
        if (task->table.spans) {
            p.start = r->start;
            p.end = r->end;
        }
        mert_predictions_row(o->stream, &outputs, &p);
    }
    free(keys);
    return mert_output_commit(o, e);
}

static int print_table(const char *layer, const mert_task_answers *guess, const mert_task_answers *a, mert_error *e)
{
    errno = 0;
    puts("layer\tmetric\tmean\tmin\tmax\tn");
    print_scores("prior", guess);
    print_scores(layer, a);
    return fflush(stdout) || ferror(stdout)
               ? mert_fail(e, "cannot write to standard output: %s", strerror(errno ? errno : EIO))
               : 0;
}

static int report(const tasks *t, mert_session *s, const mert_task_answers *a, mert_error *e)
{
    mert_task_answers guess = {0};
    mert_layer_name layer;
    int bad;
    mert_session_layer(s, layer);
    if (a->silent)
        mert_log_note("%s: %" PRId64 " %s of the test part without a frame", t->table, a->silent,
                      t->task.table.spans ? "spans" : "items");
    bad = mert_task_answers_make(&guess, &t->task, e) || mert_task_answers_guess(&guess, MERT_PROBE_TEST, e) ||
          (t->predictions && write_predictions(t, s, layer, a, e)) || print_table(layer, &guess, a, e);
    mert_task_answers_free(&guess);
    return bad ? -1 : 0;
}

int tasks_test(tasks *t, mert_session *s, mert_error *e)
{
    int best = s->recipe.best_metric && s->state.best.update >= 0, stop, bad;
    char *model = mert_path_join(s->save, best ? MERT_STATE_BEST : "model"), *head = mert_path_join(s->save, head_file);
    mert_task_answers a = {0};
    bad = !model || !head ? mert_fail(e, "out of memory") : 0;
    /* Process 0 may still be putting the model under its name: the others would find none, or an older one. */
    bad = bad || mert_exchange_barrier(mert_session_exchange(s), e) || mert_session_take_model(s, model, head, e);
    if (!bad && (bad = mert_session_answer(s, &t->corpus, MERT_PROBE_TEST, &a, &stop, e)))
        mert_fail_in(e, "test");
    if (!bad && !stop && !mert_session_exchange(s)->rank) {
        mert_log_note("tested: %s, after update %" PRId64, model,
                      best ? s->state.best.update : s->state.position.update);
        bad = report(t, s, &a, e);
    }
    mert_task_answers_free(&a);
    free(model);
    free(head);
    return bad ? -1 : 0;
}
