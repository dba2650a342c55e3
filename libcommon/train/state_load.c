/* Reads checkpoints, and verifies them. */
#define _GNU_SOURCE
#include "libcommon/train/state.h"

#include "formats/checkpoint/checkpoint.h"
#include "formats/file.h"
#include "formats/hashes.h"
#include "formats/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char without_hashes[] = "mert-train 1"; /* of version 0.1 */

/* ---- verifying ---- */

/* Whether the state in this folder was written together with hashes. */
static int had_hashes(const char *dir)
{
    char *path = mert_path_join(dir, "state.json");
    mert_json *j = path && !access(path, F_OK) ? mert_json_read(path, NULL) : NULL;
    const char *format = j ? mert_json_string(j, "format") : NULL;
    int had = format && strcmp(format, without_hashes);
    mert_json_free(j);
    free(path);
    return had;
}

/* As mert_hashes_check, for a checkpoint or a model taken from one. */
static int check_folder(const char *dir, mert_error *e)
{
    int unknown = mert_hashes_check(dir, e);
    return unknown == 1 && had_hashes(dir) ? mert_fail(e, "%s/hashes: missing: it was written with the checkpoint", dir)
                                           : unknown;
}

int mert_state_verify_model(const char *from, mert_error *e)
{
    char *dir = strdup(from), *slash = dir ? strrchr(dir, '/') : NULL;
    int result;
    if (!dir)
        return mert_fail(e, "%s: out of memory", from);
    if (!mert_path_is_directory(from)) /* a file of a model directory */
        strcpy(slash ? slash == dir ? slash + 1 : slash : dir, slash ? "" : ".");
    result = check_folder(dir, e);
    free(dir);
    return result;
}

/* The newest checkpoint before `update` that is not damaged; -1: none. */
static int64_t whole_before(const char *save, int64_t update)
{
    while ((update = mert_state_before(save, update)) >= 0) {
        char *path = mert_state_path(save, update);
        int bad = !path || check_folder(path, NULL) < 0;
        free(path);
        if (!bad)
            break;
    }
    return update;
}

int mert_state_verify(const char *save, int64_t update, mert_error *e)
{
    char *path = mert_state_path(save, update), text[sizeof e->text];
    int result = path ? check_folder(path, e) : mert_fail(e, "out of memory");
    if (path && result < 0) {
        int64_t older = whole_before(save, update);
        snprintf(text, sizeof text, "%s", e->text);
        if (older >= 0)
            mert_fail(e, "%.600s; checkpoint-%" PRId64 " is whole: take %s away, and --resume goes on from there", text,
                      older, path);
        else
            mert_fail(e, "%.600s; %s has no older checkpoint that is whole: begin again with another --save", text,
                      save);
    }
    free(path);
    return result;
}

/* ---- reading ---- */

static const char *const moment_names[2] = {"exp_avg", "exp_avg_sq"};

static void load_best(const mert_json *j, mert_best *b)
{
    int64_t metric = 0;
    *b = (mert_best){.update = -1};
    if (mert_json_int(j, "best_metric", &metric) || mert_json_double(j, "best", &b->figure) ||
        mert_json_int(j, "best_update", &b->update) || mert_json_int(j, "validations_since_best", &b->since))
        *b = (mert_best){.update = -1};
    else
        b->metric = (int)metric;
}

static int load_state(const char *dir, mert_state *s, mert_run_inputs *begun, mert_error *e)
{
    char *path = mert_path_join(dir, "state.json");
    mert_json *j = path ? mert_json_read(path, e) : NULL;
    const char *format, *data;
    int bad = 0;
    if (!path)
        return mert_fail(e, "out of memory");
    if (!j) {
        free(path);
        return -1;
    }
    format = mert_json_string(j, "format");
    data = mert_json_string(j, "data");
    s->batches = 0;
    mert_json_int(j, "batches_per_update", &s->batches); /* states of older versions, for one process, do not have it */
    s->samples = -1;
    s->passing = 0;
    load_best(j, &s->best);
    mert_json_int(j, "samples_heard", &s->samples);
    s->loss_scale = (mert_loss_scale){0};
    mert_json_double(j, "loss_scale", &s->loss_scale.scale); /* older versions did not have it */
    mert_json_int(j, "loss_scale_good", &s->loss_scale.good);
    mert_json_int(j, "overflows", &s->loss_scale.overflows);
    if (!format || (strcmp(format, MERT_STATE_FORMAT) && strcmp(format, without_hashes)) || !data ||
        mert_json_int(j, "update", &s->position.update) ||
        mert_json_int(j, "epoch", &s->position.epoch) || mert_json_int(j, "batch", &s->position.index) ||
        mert_json_int(j, "skipped", &s->skipped) || mert_json_int(j, "skipped_in_row", &s->skipped_in_row))
        bad = mert_fail(e, "%s: not the state of a run that this program can go on with", path);
    else {
        s->data = strtoull(data, NULL, 16);
        if (begun && mert_run_inputs_read(begun, mert_json_get(j, "inputs"), e))
            bad = mert_fail_in(e, "%s", path);
    }
    mert_json_free(j);
    free(path);
    return bad;
}

static int load_moment(const mert_checkpoint *c, const char *path, const mert_layout *l, const char *prefix, float *to,
                       mert_error *e)
{
    memset(to, 0, (size_t)l->size * sizeof *to);
    for (int i = 0; i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        const mert_tensor *t;
        char name[128];
        snprintf(name, sizeof name, "%s.%s", prefix, p->name);
        t = mert_checkpoint_find(c, name);
        if (!t || t->elements != p->n)
            return mert_fail(e, "%s: tensor %s is %s", path, name, t ? "of another shape" : "missing");
        if (mert_tensor_read(t, to + p->offset, e))
            return mert_fail_in(e, "%s", path);
    }
    return 0;
}

static int load_optimizer(const char *dir, const mert_layout *l, float *m, float *v, mert_error *e)
{
    char *path = mert_path_join(dir, "optimizer.safetensors");
    mert_checkpoint *c = path ? mert_checkpoint_open(path, e) : NULL;
    int bad;
    if (!path)
        return mert_fail(e, "out of memory");
    bad = !c || load_moment(c, path, l, moment_names[0], m, e) || load_moment(c, path, l, moment_names[1], v, e);
    if (c)
        mert_checkpoint_close(c);
    free(path);
    return bad;
}

static int load_recipe(const char *dir, mert_recipe *r, mert_error *e)
{
    char *path = mert_path_join(dir, "recipe");
    int bad;
    if (!path)
        return mert_fail(e, "out of memory");
    mert_recipe_defaults(r);
    bad = mert_recipe_read(r, path, e);
    free(path);
    return bad;
}

static int load_weights(const char *dir, mert_weights *w, mert_error *e)
{
    mert_weights stored;
    if (mert_weights_load(&stored, dir, 1, e))
        return -1;
    if (stored.layout.size != w->layout.size || stored.layout.count != w->layout.count) {
        mert_weights_free(&stored);
        return mert_fail(e, "%s: another model than the recipe and the labels make", dir);
    }
    memcpy(w->values, stored.values, (size_t)w->layout.size * sizeof *w->values);
    mert_weights_free(&stored);
    return 0;
}

int mert_state_load(const char *save, int64_t update, mert_state *s, mert_run_inputs *begun, mert_recipe *r,
                    mert_weights *w, float *m, float *v, mert_error *e)
{
    char *path = mert_state_path(save, update);
    int bad;
    if (!path)
        return mert_fail(e, "out of memory");
    bad = load_state(path, s, begun, e) || load_recipe(path, r, e) || (w && load_weights(path, w, e)) ||
          (m && v && load_optimizer(path, &w->layout, m, v, e));
    free(path);
    return bad ? -1 : 0;
}
