#define _GNU_SOURCE
#include "libcommon/train/state.h"

#include "formats/checkpoint/write.h"
#include "formats/file.h"
#include "formats/hashes.h"
#include "formats/json.h"
#include "formats/memory.h"
#include "libcommon/models/inference/self_test.h"
#include "libcommon/train/ema.h"

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
static const char optimizer_file[] = "optimizer.safetensors";
static const char pcm_ending[] = ".pcm.mts", half_ending[] = ".tmp-";
static const char *const run_files[] = {"recipe", "log.tsv", "valid.tsv", "norms.tsv", "log.jsonl", "train.files",
                                        "replay.files", "predictions.mts", "head.safetensors"};
static const char *const model_files[] = {"model.safetensors", "config.json", "preprocessor_config.json",
                                          "known_answer.safetensors"};

/* ---- folders ---- */

char *mert_state_path(const char *save, int64_t update)
{
    char *path;
    return asprintf(&path, "%s/checkpoint-%" PRId64, save, update) < 0 ? NULL : path;
}

/* N of "checkpoint-N"; -1: the name is not of this form. */
static int64_t checkpoint_number(const char *name)
{
    char *end;
    long long n;
    if (strncmp(name, "checkpoint-", 11) || name[11] < '0' || name[11] > '9')
        return -1;
    n = strtoll(name + 11, &end, 10);
    return *end ? -1 : n;
}

/* Removes a folder of files (it has no folders inside). Of a link to a folder only the link is removed. Not an error if
 * there is none. */
static int remove_folder(const char *path, mert_error *e)
{
    char target;
    int link = readlink(path, &target, 1) >= 0;
    DIR *d = link ? NULL : opendir(path);
    struct dirent *entry;
    if (link)
        return unlink(path) ? mert_fail(e, "%s: cannot remove: %s", path, strerror(errno)) : 0;
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

/* Removes a complete folder: it is renamed first, so that a folder with its name is always complete. */
static int remove_whole(const char *path, mert_error *e)
{
    char *aside;
    int bad;
    if (asprintf(&aside, "%s.old", path) < 0)
        return mert_fail(e, "%s: out of memory", path);
    bad = remove_folder(aside, e);
    if (!bad && rename(path, aside))
        bad = errno == ENOENT ? 0 : mert_fail(e, "%s: cannot rename: %s", path, strerror(errno));
    else if (!bad)
        bad = remove_folder(aside, e);
    free(aside);
    return bad;
}

/* Renames `from` to `to`, and removes what had this name before. If the file system can exchange two names, `to` exists
 * at every moment. */
static int replace_folder(const char *from, const char *to, mert_error *e)
{
    if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE))
        return remove_folder(from, e);
    if (remove_whole(to, e))
        return -1;
    return rename(from, to) ? mert_fail(e, "%s: cannot rename: %s", from, strerror(errno)) : 0;
}

int64_t mert_state_before(const char *save, int64_t update)
{
    DIR *d = opendir(save);
    struct dirent *entry;
    int64_t newest = -1;
    while (d && (entry = readdir(d))) {
        int64_t number = checkpoint_number(entry->d_name);
        newest = number > newest && number < update ? number : newest;
    }
    if (d)
        closedir(d);
    return newest;
}

int64_t mert_state_newest(const char *save)
{
    return mert_state_before(save, INT64_MAX);
}

static int larger_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Whether a name is one of those that an interrupted save leaves. */
static int half_written(const char *name)
{
    const char *dot = strrchr(name, '.');
    if (!dot || (strcmp(dot, ".new") && strcmp(dot, ".old")))
        return 0;
    return !strncmp(name, "checkpoint-", 11) || !strncmp(name, "model.", 6) || !strncmp(name, "best.", 5) ||
           !strncmp(name, "ema.", 4);
}

/* Whether name[0..n) is the name of a file of a run. */
static int is_a_file(const char *name, size_t n)
{
    size_t ending = sizeof pcm_ending - 1;
    for (size_t i = 0; i < sizeof run_files / sizeof *run_files; i++)
        if (strlen(run_files[i]) == n && !memcmp(name, run_files[i], n))
            return 1;
    return n > ending && !memcmp(name + n - ending, pcm_ending, ending);
}

/* The same for a single file: its final name, ".tmp-", and a unique suffix. */
static int half_a_file(const char *name)
{
    const char *tail = strstr(name, half_ending);
    return !strcmp(name, "last.new") || (tail && is_a_file(name, (size_t)(tail - name)));
}

static int remove_half(const char *save, const char *name, mert_error *e)
{
    char *path = mert_path_join(save, name);
    int bad = !path               ? mert_fail(e, "out of memory")
              : half_a_file(name) ? unlink(path) && errno != ENOENT
                                        ? mert_fail(e, "%s: cannot remove: %s", path, strerror(errno))
                                        : 0
                                  : remove_folder(path, e);
    free(path);
    return bad;
}

/* ---- checks of names before the work ---- */

static int wrong_kind(const char *path, unsigned mode, const char *wanted, mert_error *e)
{
    return mert_fail(e, "%s: is %s, where a run has %s: move it away, or name another --save", path,
                     mert_file_kind(mode), wanted);
}

/* The path must be a folder of the run, or a link to one. */
static int check_folder(const char *path, mert_error *e)
{
    struct stat s;
    struct dirent *entry;
    DIR *d;
    int bad = 0;
    if (lstat(path, &s))
        return 0; /* it was removed meanwhile */
    stat(path, &s); /* a link without a target is described itself */
    if (!S_ISDIR(s.st_mode))
        return wrong_kind(path, s.st_mode, "a folder", e);
    if (!(d = opendir(path)))
        return mert_fail(e, "%s: %s", path, strerror(errno));
    while (!bad && (entry = readdir(d)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
            !fstatat(dirfd(d), entry->d_name, &s, 0) && !S_ISREG(s.st_mode)) {
            char *inside = mert_path_join(path, entry->d_name);
            bad = inside ? wrong_kind(inside, s.st_mode, "a regular file", e) : mert_fail(e, "out of memory");
            free(inside);
        }
    closedir(d);
    return bad;
}

/* The path must be a file of the run; a link is followed, as when the file is written. */
static int check_file(const char *path, mert_error *e)
{
    struct stat s;
    if (!stat(path, &s) && !S_ISREG(s.st_mode))
        return wrong_kind(path, s.st_mode, "a regular file", e);
    return mert_output_check(path, NULL, 0, e);
}

static int check_name(const char *save, const char *name, mert_error *e)
{
    struct stat s;
    char *path = mert_path_join(save, name);
    int bad = 0;
    if (!path)
        return mert_fail(e, "out of memory");
    if (is_a_file(name, strlen(name)))
        bad = check_file(path, e);
    else if (checkpoint_number(name) >= 0 || !strcmp(name, "model") || !strcmp(name, MERT_STATE_BEST) ||
             !strcmp(name, MERT_STATE_EMA) ||
             (half_written(name) && !half_a_file(name)))
        bad = check_folder(path, e);
    else if (!strcmp(name, "last") && !lstat(path, &s) && !S_ISLNK(s.st_mode))
        bad = wrong_kind(path, s.st_mode, "a link", e);
    else if (!strcmp(name, "lock") && !lstat(path, &s) && !S_ISREG(s.st_mode)) /* the lock may not be a link (lock.h) */
        bad = wrong_kind(path, s.st_mode, "a regular file", e);
    else if (half_a_file(name) && !lstat(path, &s) && S_ISDIR(s.st_mode)) /* other temporary names can be removed */
        bad = wrong_kind(path, s.st_mode, "a temporary file", e);
    free(path);
    return bad;
}

int mert_state_check_names(const char *save, mert_error *e)
{
    DIR *d = opendir(save);
    struct dirent *entry;
    int bad = 0;
    while (d && !bad && (entry = readdir(d)))
        bad = check_name(save, entry->d_name, e);
    if (d)
        closedir(d);
    return bad;
}

/* ---- cleaning up ---- */

static int hours_old(const char *path, double hours)
{
    struct stat s;
    return stat(path, &s) ? 0 : difftime(time(NULL), s.st_mtime) > hours * 3600;
}

/* Removes one checkpoint, of update `number`, unless it is kept; place: its place in the order from newest to
 * oldest. */
static int prune_one(const char *save, const mert_recipe *r, int by_age, int64_t place, int64_t number, mert_error *e)
{
    char *path;
    int bad = 0;
    if (place < (r->keep ? r->keep : 1) || (r->keep_interval && number % r->keep_interval == 0))
        return 0;
    if (!(path = mert_state_path(save, number)))
        return mert_fail(e, "out of memory");
    if (r->keep_hours <= 0 || (by_age && hours_old(path, r->keep_hours)))
        bad = remove_whole(path, e);
    free(path);
    return bad;
}

/* Whether the state of a checkpoint says that it is `passing`. A checkpoint that cannot be read is not, so it stays. */
static int is_passing(const char *save, int64_t number)
{
    char *dir = mert_state_path(save, number), *path = dir ? mert_path_join(dir, "state.json") : NULL;
    mert_json *j = path ? mert_json_read(path, NULL) : NULL;
    int64_t passing = 0;
    if (j)
        mert_json_int(j, "passing", &passing);
    mert_json_free(j);
    free(path);
    free(dir);
    return passing > 0;
}

/* Of numbers [*n], largest first, removes all passing checkpoints but the newest checkpoint. */
static int prune_passing(const char *save, int64_t *numbers, int64_t *n, mert_error *e)
{
    int64_t left = 0;
    int bad = 0;
    for (int64_t i = 0; !bad && i < *n; i++) {
        int gone = i > 0 && is_passing(save, numbers[i]);
        char *path = gone ? mert_state_path(save, numbers[i]) : NULL;
        if (gone)
            bad = path ? remove_whole(path, e) : mert_fail(e, "out of memory");
        else
            numbers[left++] = numbers[i];
        free(path);
    }
    *n = left;
    return bad;
}

/* Removes files of interrupted saves, and checkpoints that the recipe does not keep. The newest is always kept. Another
 * one is kept if it is among the newest `keep`, if its update is a multiple of keep_interval, or if it was written in
 * the last keep_hours. If all three are 0, all are kept. Passing checkpoints are not kept. by_age 0: checkpoints are
 * not removed because of their age. */
static int prune(const char *save, const mert_recipe *r, int by_age, mert_error *e)
{
    DIR *d = opendir(save);
    struct dirent *entry;
    int64_t *numbers = NULL, n = 0, room = 0;
    int bad = 0;
    if (!d)
        return mert_fail(e, "%s: %s", save, strerror(errno));
    while (!bad && (entry = readdir(d))) {
        int64_t number = checkpoint_number(entry->d_name);
        if (half_written(entry->d_name) || half_a_file(entry->d_name))
            bad = remove_half(save, entry->d_name, e);
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
    bad = bad || prune_passing(save, numbers, &n, e);
    for (int64_t i = 0; !bad && (r->keep || r->keep_interval || r->keep_hours > 0) && i < n; i++)
        bad = prune_one(save, r, by_age, i, numbers[i], e);
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

static char *state_text(const mert_state *s, const mert_run_inputs *inputs, const mert_changes *changes)
{
    mert_memory m;
    FILE *f = mert_memory_open(&m);
    char *text;
    int bad;
    if (!f)
        return NULL;
    fprintf(f,
            "{\n  \"format\": \"" MERT_STATE_FORMAT "\",\n  \"update\": %" PRId64 ",\n  \"epoch\": %" PRId64
            ",\n  \"batch\": %" PRId64 ",\n  \"batches_per_update\": %" PRId64 ",\n  \"skipped\": %" PRId64
            ",\n  \"skipped_in_row\": %" PRId64 ",\n  \"samples_heard\": %" PRId64 ",\n  \"passing\": %d"
            ",\n  \"best_metric\": %d,\n  \"best\": %.17g,\n  \"best_update\": %" PRId64
            ",\n  \"validations_since_best\": %" PRId64
            ",\n  \"loss_scale\": %.17g,\n  \"loss_scale_good\": %" PRId64 ",\n  \"overflows\": %" PRId64
            ",\n  \"changes\": ",
            s->position.update, s->position.epoch, s->position.index, s->batches, s->skipped, s->skipped_in_row,
            s->samples, s->passing, s->best.metric, s->best.figure, s->best.update, s->best.since, s->loss_scale.scale,
            s->loss_scale.good, s->loss_scale.overflows);
    bad = mert_changes_write(changes, f);
    fprintf(f, ",\n  \"data\": \"%016" PRIx64 "\",\n  \"inputs\": ", s->data);
    mert_run_inputs_write(inputs, f);
    fputs("\n}\n", f);
    text = mert_memory_close(f, &m);
    if (!bad)
        return text;
    free(text);
    return NULL;
}

static int save_state(const char *dir, const mert_state *s, const mert_run_inputs *inputs, const mert_changes *changes,
                      const mert_recipe *r, mert_error *e)
{
    char *text = state_text(s, inputs, changes), *recipe = mert_recipe_text(r, 0);
    int bad = !text || !recipe ? mert_fail(e, "out of memory")
                               : save_text(dir, "recipe", recipe, e) || save_text(dir, "state.json", text, e);
    free(text);
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

static int save_optimizer(const char *dir, const mert_layout *l, const mert_moment_source *moments, mert_hashes *h,
                          mert_error *e)
{
    char *path = mert_path_join(dir, optimizer_file), (*names)[128] = calloc(2 * (size_t)l->count, sizeof *names);
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
                                          &(moments_of){moments, l}, e) ||
              mert_hashes_add_file(h, dir, optimizer_file, e);
    }
    free(path);
    free(names);
    free(tensors);
    return bad;
}

static int save_model(const mert_weights *w, const char *dir, mert_error *e)
{
    return mert_weights_save(w, dir, e) || mert_self_test_save(w, dir, e) ? -1 : 0;
}

/* The hash of the optimiser's file, which is the largest, is already known. */
static int save_hashes(const char *dir, mert_hashes *h, mert_error *e)
{
    int bad = 0;
    for (size_t i = 0; !bad && i < sizeof model_files / sizeof *model_files; i++)
        bad = mert_hashes_add_file(h, dir, model_files[i], e);
    return bad || mert_hashes_add_file(h, dir, "recipe", e) || mert_hashes_add_file(h, dir, "state.json", e) ||
                   mert_hashes_write(h, dir, e)
               ? -1
               : 0;
}

static int copy_file(const char *from, const char *to, mert_error *e)
{
    FILE *f = fopen(from, "rb");
    mert_output *o = f ? mert_output_open(to, e) : NULL;
    char block[1 << 14];
    size_t n = 0;
    int bad = 0;
    if (!f)
        return mert_fail(e, "%s: %s", from, strerror(errno));
    while (o && !bad && (n = fread(block, 1, sizeof block, f)))
        bad = fwrite(block, 1, n, o->stream) != n;
    if (o && (bad || ferror(f))) {
        bad = mert_fail(e, "%s: cannot %s: %s", bad ? to : from, bad ? "write" : "read", strerror(errno));
        mert_output_abandon(o);
    } else {
        bad = !o || mert_output_commit(o, e);
    }
    fclose(f);
    return bad ? -1 : 0;
}

/* Makes a hard link, or a copy if the file system has no hard links. */
static int place_file(const char *from_dir, const char *to_dir, const char *name, mert_error *e)
{
    char *from = mert_path_join(from_dir, name), *to = mert_path_join(to_dir, name);
    int bad = !from || !to ? mert_fail(e, "out of memory") : link(from, to) ? copy_file(from, to, e) : 0;
    free(from);
    free(to);
    return bad;
}

/* Makes SAVE/NAME: the model of a checkpoint and the hashes of its files (none if the checkpoint has none). */
static int place_model(const char *save, const char *checkpoint, const char *name, mert_error *e)
{
    char fresh_name[32], *model = mert_path_join(save, name), *fresh;
    mert_hashes all, own = {.n = 0};
    int known, bad;
    snprintf(fresh_name, sizeof fresh_name, "%s.new", name);
    fresh = mert_path_join(save, fresh_name);
    known = mert_hashes_read(&all, checkpoint, e);
    bad = known < 0 || !model || !fresh || remove_folder(fresh, e) || mert_make_directory(fresh, e);
    if (!model || !fresh)
        mert_fail(e, "out of memory");
    for (size_t i = 0; !bad && i < sizeof model_files / sizeof *model_files; i++) {
        bad = place_file(checkpoint, fresh, model_files[i], e);
        for (int k = 0; !known && !bad && k < all.n; k++)
            if (!strcmp(all.files[k].name, model_files[i]))
                bad = mert_hashes_add(&own, model_files[i], all.files[k].size, all.files[k].hash, e);
    }
    if (!bad && !known)
        bad = mert_hashes_write(&own, fresh, e);
    if (!bad) {
        mert_sync_folder(fresh);
        bad = replace_folder(fresh, model, e);
    }
    free(model);
    free(fresh);
    return bad ? -1 : 0;
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

static int settle(const char *save, int64_t update, const mert_recipe *r, int by_age, mert_error *e)
{
    char *path = mert_state_path(save, update);
    int bad = !path ? mert_fail(e, "out of memory")
                    : place_model(save, path, "model", e) || point_last(save, update, e) || prune(save, r, by_age, e);
    mert_sync_folder(save);
    free(path);
    return bad ? -1 : 0;
}

int mert_state_place_best(const char *save, int64_t update, mert_error *e)
{
    char *path = mert_state_path(save, update);
    int bad = !path ? mert_fail(e, "out of memory") : place_model(save, path, MERT_STATE_BEST, e);
    mert_sync_folder(save);
    free(path);
    return bad ? -1 : 0;
}

int mert_state_settle(const char *save, int64_t update, const mert_recipe *r, mert_error *e)
{
    return settle(save, update, r, 0, e);
}

/* Writes SAVE/ema. */
static int save_ema(const char *save, const mert_layout *l, const float *ema, mert_error *e)
{
    char *path = mert_path_join(save, MERT_STATE_EMA), *half = mert_path_join(save, MERT_STATE_EMA ".new");
    mert_weights w = {.layout = *l, .values = (float *)ema};
    int bad = !path || !half ? mert_fail(e, "out of memory")
                             : remove_folder(half, e) || mert_make_directory(half, e) || save_model(&w, half, e) ||
                                   replace_folder(half, path, e);
    free(path);
    free(half);
    return bad;
}

int mert_state_save(const char *save, const mert_state *s, const mert_run_inputs *inputs, const mert_changes *changes,
                    const mert_recipe *r, const mert_weights *w, const mert_moment_source *moments, mert_error *e)
{
    char *path = mert_state_path(save, s->position.update), *half = NULL;
    mert_hashes h = {.n = 0};
    int bad;
    if (!path || asprintf(&half, "%s.new", path) < 0) {
        free(path);
        return mert_fail(e, "out of memory");
    }
    bad = remove_folder(half, e) || mert_make_directory(half, e) || save_model(w, half, e) ||
          save_optimizer(half, &w->layout, moments, &h, e) ||
          (moments->ema && mert_ema_save(moments->ema, &w->layout, half, &h, e)) ||
          save_state(half, s, inputs, changes, r, e) ||
          save_hashes(half, &h, e);
    if (!bad) {
        mert_sync_folder(half);
        bad = replace_folder(half, path, e);
        mert_sync_folder(save);
    } else
        remove_folder(half, NULL);
    free(half);
    free(path);
    return bad || (moments->ema && save_ema(save, &w->layout, moments->ema, e))
               ? -1
               : settle(save, s->position.update, r, 1, e);
}
