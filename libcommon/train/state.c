#define _GNU_SOURCE
#include "state.h"

#include "../../formats/checkpoint.h"
#include "../../formats/file.h"
#include "../../formats/json.h"
#include "../../formats/model_write.h"
#include "../models/known_answer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const moment_names[2] = {"exp_avg", "exp_avg_sq"};
static const char *const model_files[] = {"model.safetensors", "config.json", "preprocessor_config.json",
                                          "known_answer.safetensors"};

uint64_t mert_state_data(const mert_corpus *c)
{
    return mert_corpus_hash(c);
}

/* ---- folders ---- */

static char *checkpoint_path(const char *save, int64_t update)
{
    char *path;
    return asprintf(&path, "%s/checkpoint-%" PRId64, save, update) < 0 ? NULL : path;
}

/* N of "checkpoint-N"; -1: another name. */
static int64_t checkpoint_number(const char *name)
{
    char *end;
    long long n;
    if (strncmp(name, "checkpoint-", 11) || name[11] < '0' || name[11] > '9')
        return -1;
    n = strtoll(name + 11, &end, 10);
    return *end ? -1 : n;
}

static void sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd); /* some network file systems cannot: nothing more to do there */
        close(fd);
    }
}

/* A folder of files (no folders inside): all of it. What is not there is removed already. */
static int remove_folder(const char *path, mert_error *e)
{
    DIR *d = opendir(path);
    struct dirent *entry;
    if (!d)
        return errno == ENOENT ? 0 : mert_fail(e, "%s: %s", path, strerror(errno));
    while ((entry = readdir(d)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && unlinkat(dirfd(d), entry->d_name, 0)) {
            mert_fail(e, "%s/%s: cannot remove: %s", path, entry->d_name, strerror(errno));
            closedir(d);
            return -1;
        }
    closedir(d);
    return rmdir(path) ? mert_fail(e, "%s: cannot remove: %s", path, strerror(errno)) : 0;
}

/* `from` takes the name `to`; what had it before is removed. */
static int replace_folder(const char *from, const char *to, mert_error *e)
{
    char *aside;
    int bad = 0;
    if (asprintf(&aside, "%s.old", to) < 0)
        return mert_fail(e, "%s: out of memory", to);
    if (remove_folder(aside, e))
        bad = -1;
    else if (rename(to, aside) && errno != ENOENT)
        bad = mert_fail(e, "%s: cannot rename: %s", to, strerror(errno));
    else if (rename(from, to))
        bad = mert_fail(e, "%s: cannot rename: %s", from, strerror(errno));
    else
        bad = remove_folder(aside, e);
    free(aside);
    return bad;
}

int64_t mert_state_newest(const char *save)
{
    DIR *d = opendir(save);
    struct dirent *entry;
    int64_t newest = -1;
    while (d && (entry = readdir(d)))
        if (checkpoint_number(entry->d_name) > newest)
            newest = checkpoint_number(entry->d_name);
    if (d)
        closedir(d);
    return newest;
}

static int larger_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* What a run that died in the middle of a save leaves. */
static int half_written(const char *name)
{
    const char *dot = strrchr(name, '.');
    if (!dot || (strcmp(dot, ".new") && strcmp(dot, ".old")))
        return 0;
    return !strncmp(name, "checkpoint-", 11) || !strncmp(name, "model.", 6);
}

static int hours_old(const char *path, double hours)
{
    struct stat s;
    return stat(path, &s) ? 0 : difftime(time(NULL), s.st_mtime) > hours * 3600;
}

/* The place-th newest checkpoint, of update `number`. */
static int prune_one(const char *save, const mert_recipe *r, int64_t place, int64_t number, mert_error *e)
{
    char *path;
    int bad = 0;
    if (place < (r->keep ? r->keep : 1) || (r->keep_interval && number % r->keep_interval == 0))
        return 0;
    if (!(path = checkpoint_path(save, number)))
        return mert_fail(e, "out of memory");
    if (r->keep_hours <= 0 || hours_old(path, r->keep_hours))
        bad = remove_folder(path, e);
    free(path);
    return bad;
}

int mert_state_prune(const char *save, const mert_recipe *r, mert_error *e)
{
    DIR *d = opendir(save);
    struct dirent *entry;
    int64_t *numbers = NULL, n = 0, room = 0;
    int bad = 0;
    if (!d)
        return mert_fail(e, "%s: %s", save, strerror(errno));
    while (!bad && (entry = readdir(d))) {
        int64_t number = checkpoint_number(entry->d_name);
        if (half_written(entry->d_name)) {
            char *half = mert_path_join(save, entry->d_name);
            bad = half ? remove_folder(half, e) : mert_fail(e, "out of memory");
            free(half);
        }
        if (number < 0)
            continue;
        if (n == room) {
            int64_t *grown = realloc(numbers, (size_t)(room = 2 * room + 16) * sizeof *grown);
            if (!grown) {
                bad = mert_fail(e, "out of memory");
                break;
            }
            numbers = grown;
        }
        numbers[n++] = number;
    }
    closedir(d);
    if (n)
        qsort(numbers, (size_t)n, sizeof *numbers, larger_first);
    for (int64_t i = 0; !bad && (r->keep || r->keep_interval || r->keep_hours > 0) && i < n; i++)
        bad = prune_one(save, r, i, numbers[i], e);
    free(numbers);
    return bad;
}

/* ---- writing ---- */

static int save_text(const char *dir, const char *name, const char *text, mert_error *e)
{
    char *path = mert_path_join(dir, name);
    mert_output *o = path ? mert_output_open(path, e) : NULL;
    if (!path)
        mert_fail(e, "out of memory");
    free(path);
    if (!o)
        return -1;
    fputs(text, o->stream);
    return mert_output_commit(o, e);
}

static int save_state(const char *dir, const mert_state *s, const mert_recipe *r, mert_error *e)
{
    char text[512], *recipe = mert_recipe_text(r, 0);
    int bad;
    if (!recipe)
        return mert_fail(e, "out of memory");
    snprintf(text, sizeof text,
             "{\n  \"format\": \"mert-train 1\",\n  \"update\": %" PRId64 ",\n  \"epoch\": %" PRId64
             ",\n  \"batch\": %" PRId64 ",\n  \"batches_per_update\": %" PRId64 ",\n  \"skipped\": %" PRId64
             ",\n  \"skipped_in_row\": %" PRId64 ",\n  \"data\": \"%016" PRIx64 "\"\n}\n",
             s->position.update, s->position.epoch, s->position.index, s->batches, s->skipped, s->skipped_in_row,
             s->data);
    bad = save_text(dir, "recipe", recipe, e) || save_text(dir, "state.json", text, e);
    free(recipe);
    return bad;
}

typedef struct moments_of {
    const mert_moment_source *from;
    const mert_layout *layout;
} moments_of;

static const void *fetch_moment(void *arg, size_t i, mert_error *e)
{
    const moments_of *m = arg;
    size_t n = (size_t)m->layout->count;
    return m->from->tensor(m->from->arg, (int)(i / n), &m->layout->parameters[i % n], e);
}

static int save_optimizer(const char *dir, const mert_layout *l, const mert_moment_source *moments, mert_error *e)
{
    char *path = mert_path_join(dir, "optimizer.safetensors"),
         (*names)[128] = calloc(2 * (size_t)l->count, sizeof *names);
    mert_tensor_out *tensors = calloc(2 * (size_t)l->count, sizeof *tensors);
    int bad = -1;
    if (!path || !names || !tensors)
        mert_fail(e, "out of memory");
    else {
        for (int i = 0; i < 2 * l->count; i++) {
            const mert_parameter *p = &l->parameters[i % l->count];
            snprintf(names[i], sizeof names[i], "%s.%s", moment_names[i / l->count], p->name);
            tensors[i] = (mert_tensor_out){.name = names[i], .type = MERT_E_F32, .ndim = p->ndim};
            memcpy(tensors[i].shape, p->shape, sizeof p->shape);
        }
        bad = mert_safetensors_write_from(path, tensors, 2 * (size_t)l->count, fetch_moment,
                                          &(moments_of){moments, l}, e);
    }
    free(path);
    free(names);
    free(tensors);
    return bad;
}

static int save_model(const mert_weights *w, const char *dir, mert_error *e)
{
    return mert_weights_save(w, dir, e) || mert_known_answer_save(w, dir, e) ? -1 : 0;
}

/* SAVE/model: hard links to the checkpoint's files; a copy where the file system has none. */
static int link_model(const char *save, const char *checkpoint, const mert_weights *w, mert_error *e)
{
    char *model = mert_path_join(save, "model"), *fresh = mert_path_join(save, "model.new");
    int bad = !model || !fresh ? mert_fail(e, "out of memory")
                               : remove_folder(fresh, e) || mert_make_directory(fresh, e);
    int linked = 1;
    for (size_t i = 0; !bad && linked && i < sizeof model_files / sizeof *model_files; i++) {
        char *from = mert_path_join(checkpoint, model_files[i]), *to = mert_path_join(fresh, model_files[i]);
        linked = from && to && !link(from, to);
        free(from);
        free(to);
    }
    if (!bad && !linked)
        bad = remove_folder(fresh, e) || mert_make_directory(fresh, e) || save_model(w, fresh, e);
    if (!bad)
        bad = replace_folder(fresh, model, e);
    free(model);
    free(fresh);
    return bad;
}

static int point_last(const char *save, int64_t update, mert_error *e)
{
    char *last = mert_path_join(save, "last"), *fresh = mert_path_join(save, "last.new"), target[64];
    int bad = 0;
    snprintf(target, sizeof target, "checkpoint-%" PRId64, update);
    if (!last || !fresh)
        bad = mert_fail(e, "out of memory");
    else {
        unlink(fresh);
        if (symlink(target, fresh) || rename(fresh, last))
            bad = mert_fail(e, "%s: cannot link: %s", last, strerror(errno));
    }
    free(last);
    free(fresh);
    return bad;
}

int mert_state_save(const char *save, const mert_state *s, const mert_recipe *r, const mert_weights *w,
                    const mert_moment_source *moments, mert_error *e)
{
    char *path = checkpoint_path(save, s->position.update), *half = NULL;
    int bad;
    if (!path || asprintf(&half, "%s.new", path) < 0) {
        free(path);
        return mert_fail(e, "out of memory");
    }
    bad = remove_folder(half, e) || mert_make_directory(half, e) || save_model(w, half, e) ||
          save_optimizer(half, &w->layout, moments, e) || save_state(half, s, r, e);
    if (!bad) {
        sync_folder(half);
        bad = replace_folder(half, path, e);
        sync_folder(save);
    } else
        remove_folder(half, NULL);
    if (!bad)
        bad = link_model(save, path, w, e) || point_last(save, s->position.update, e);
    free(half);
    free(path);
    return bad ? -1 : 0;
}

/* ---- reading ---- */

static int load_state(const char *dir, mert_state *s, mert_error *e)
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
    mert_json_int(j, "batches_per_update", &s->batches); /* states of one process, once, had none */
    if (!format || strcmp(format, "mert-train 1") || !data || mert_json_int(j, "update", &s->position.update) ||
        mert_json_int(j, "epoch", &s->position.epoch) || mert_json_int(j, "batch", &s->position.index) ||
        mert_json_int(j, "skipped", &s->skipped) || mert_json_int(j, "skipped_in_row", &s->skipped_in_row))
        bad = mert_fail(e, "%s: not the state of a run that this program can go on with", path);
    else
        s->data = strtoull(data, NULL, 16);
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

int mert_state_load(const char *save, int64_t update, mert_state *s, mert_recipe *r, mert_weights *w, float *m,
                    float *v, mert_error *e)
{
    char *path = checkpoint_path(save, update);
    int bad;
    if (!path)
        return mert_fail(e, "out of memory");
    bad = load_state(path, s, e) || load_recipe(path, r, e) || (w && load_weights(path, w, e)) ||
          (m && v && load_optimizer(path, &w->layout, m, v, e));
    free(path);
    return bad ? -1 : 0;
}
