/* Finds the files of a model, recognises their containers, and finds tensors by name. The containers are read by
 * safetensors.c, torch_zip.c and torch_legacy.c. */
#include "formats/checkpoint/checkpoint.h"

#include "formats/bytes.h"
#include "formats/checkpoint/container.h"
#include "formats/stream/mts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- one file ---- */

static int open_file(mert_checkpoint *c, const char *path, mert_error *e)
{
    mert_mapping m;
    size_t n = strlen(path);
    if (mert_checkpoint_map(c, path, &m, e))
        return -1;
    /* A safetensors file begins with a number that may look like one of the two other containers, so it is tested
     * first. The others never have '{' at offset 8: torch.save wrote 0 there (a method of compression), or a byte of
     * its magic number. */
    if (m.size > 8 && m.data[8] == '{')
        return mert_safetensors_open(c, path, &m, e);
    if (m.size >= 4 && !memcmp(m.data, "PK\3\4", 4))
        return mert_torch_zip_open(c, path, &m, e);
    if (m.size >= 2 && m.data[0] == 0x80 && m.data[1] >= 2 && m.data[1] <= 5)
        return mert_torch_legacy_open(c, path, &m, e);
    if (n > 12 && !strcmp(path + n - 12, ".safetensors") && m.size >= 8 && mert_le(m.data, 8) <= m.size - 8)
        return mert_safetensors_open(c, path, &m, e); /* reports what is wrong with its header */
    return mert_checkpoint_identify(path, &m, e);
}

/* ---- directories ---- */

/* 0 with errno: no such file (ENOENT), or out of memory (ENOMEM). */
static int exists(const char *dir, const char *name, char **path)
{
    if (!(*path = mert_path_join(dir, name))) {
        errno = ENOMEM;
        return 0;
    }
    if (access(*path, F_OK) == 0)
        return 1;
    free(*path);
    *path = NULL;
    errno = ENOENT;
    return 0;
}

static int shard_name_is_plain(const char *s)
{
    return *s && *s != '.' && !strchr(s, '/') && !strchr(s, '\\');
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int make_sorted(mert_checkpoint *c, const char *path, mert_error *e);

/* Each tensor that the index names must be in the shard that it names; shard i's tensors are [first[i], first[i+1]). */
static int check_shards(mert_checkpoint *c, const mert_json *map, const char **files, const size_t *first, size_t n,
                        const char *index, mert_error *e)
{
    mert_json_iterator w = {map, NULL};
    const mert_json *value;
    const char *name;
    if (make_sorted(c, index, e))
        return -1;
    while ((name = mert_json_next(&w, &value))) {
        const char *file = mert_json_as_string(value);
        const char **at = bsearch(&file, files, n, sizeof *files, by_text);
        const mert_tensor *t = mert_checkpoint_find(c, name);
        size_t i = (size_t)(at - files), k = t ? (size_t)(t - c->tensors) : 0;
        if (!t || k < first[i] || k >= first[i + 1])
            return mert_fail(e, "%s: the index places %s in %s, where it is not", index,
                             mert_show(name, strlen(name)).text, mert_show(file, strlen(file)).text);
    }
    return 0;
}

/* Reports all missing files at once, for users who have only the index. */
static int check_there(const char *dir, const char **files, size_t n, const char *index, mert_error *e)
{
    char names[256] = "", *path;
    size_t missing = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        if (exists(dir, files[i], &path))
            free(path);
        else if (++missing <= 3)
            at += (size_t)snprintf(names + at, sizeof names - at, " %.64s", mert_show(files[i], strlen(files[i])).text);
    return missing ? mert_fail(e, "%s: %zu of the %zu files that it names %s not in this folder:%s%s", index, missing, n,
                               missing == 1 ? "is" : "are", names, missing > 3 ? " ..." : "")
                   : 0;
}

static int open_shards(mert_checkpoint *c, const char *dir, const char *index, mert_error *e)
{
    mert_json *j = mert_json_read(index, e);
    const mert_json *map = mert_json_get(j, "weight_map"), *value;
    size_t entries = mert_json_size(map), n = 0, *first = calloc(entries + 1, sizeof *first);
    const char **files = calloc(entries + 1, sizeof *files), *name;
    mert_json_iterator w = {map, NULL};
    int rc = -1;
    if (!j)
        goto out;
    if (!entries || !first || !files) {
        mert_fail(e, "%s: no weight_map in it", index);
        goto out;
    }
    for (size_t i = 0; (name = mert_json_next(&w, &value)); i++)
        if (!(files[i] = mert_json_as_string(value)) || !shard_name_is_plain(files[i])) {
            mert_fail(e, "%s: %s: not the name of a file in this folder", index, mert_show(name, strlen(name)).text);
            goto out;
        }
    qsort(files, entries, sizeof *files, by_text);
    for (size_t i = 0; i < entries; i++)
        if (!i || strcmp(files[i], files[n - 1]))
            files[n++] = files[i];
    if (check_there(dir, files, n, index, e))
        goto out;
    for (size_t i = 0; i < n; i++) {
        char *path = mert_path_join(dir, files[i]);
        first[i] = c->count;
        rc = path ? open_file(c, path, e) : mert_fail(e, "%s: out of memory", index);
        free(path);
        if (rc)
            goto out;
        mert_json_free(c->extras); /* those of a shard (its list of weights) are not a configuration */
        mert_json_free(c->about);
        c->extras = c->about = NULL;
    }
    first[n] = c->count;
    rc = check_shards(c, map, files, first, n, index, e);
    c->container = strcmp(c->container, "safetensors") ? "sharded torch" : "sharded safetensors";
out:
    free(first);
    free(files);
    mert_json_free(j);
    return rc;
}

static int open_directory(mert_checkpoint *c, const char *dir, mert_error *e)
{
    static const struct { const char *name; int index; } known[] = {
        {"model.safetensors", 0}, {"model.safetensors.index.json", 1}, {"pytorch_model.bin", 0},
        {"pytorch_model.bin.index.json", 1}};
    char *path;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (exists(dir, known[i].name, &path)) {
            int rc = known[i].index ? open_shards(c, dir, path, e) : open_file(c, path, e);
            free(path);
            return rc;
        } else if (errno == ENOMEM)
            return mert_fail(e, "%s: out of memory", dir);
    return mert_fail(e, "%s: no model in this folder (model.safetensors or pytorch_model.bin, or their .index.json)",
                     dir);
}

/* about: the key in the model's metadata that has this file's XXH64 at the time when both were written. */
static int read_beside(const mert_checkpoint *c, const char *dir, const char *name, const char *about, mert_json **to,
                       mert_error *e)
{
    const char *want = mert_json_string(c->about, about);
    char *path, *text, have[17];
    size_t size;
    int edited = 0, bad = -1;
    if (!exists(dir, name, &path))
        return errno == ENOMEM ? mert_fail(e, "%s: out of memory", dir) : 0;
    if ((text = mert_json_file(path, &size, e)) && (*to = mert_json_parse(text, size, path, e))) {
        mert_json_bool(*to, "mert_edited", &edited);
        snprintf(have, sizeof have, "%016" PRIx64, mts_xxh64(text, size, 0));
        bad = want && !edited && strcmp(want, have)
                  ? mert_fail(e, "%s: not the file that was written with this model: it is damaged, or was changed "
                                 "(on purpose: say \"mert_edited\": true in it)", path)
                  : 0;
    }
    free(text);
    free(path);
    return bad;
}

/* ---- opening and closing ---- */

static int by_tensor_name(const void *a, const void *b)
{
    const mert_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int make_sorted(mert_checkpoint *c, const char *path, mert_error *e)
{
    if (c->sorted)
        return 0;
    if (!(c->sorted = calloc(c->count + 1, sizeof *c->sorted)))
        return mert_fail(e, "%s: out of memory", path);
    for (size_t i = 0; i < c->count; i++)
        c->sorted[i] = &c->tensors[i];
    qsort(c->sorted, c->count, sizeof *c->sorted, by_tensor_name);
    for (size_t i = 1; i < c->count; i++)
        if (!strcmp(c->sorted[i - 1]->name, c->sorted[i]->name))
            return mert_fail(e, "%s: %s: two tensors of this name", path,
                             mert_show(c->sorted[i]->name, strlen(c->sorted[i]->name)).text);
    return 0;
}

mert_checkpoint *mert_checkpoint_open(const char *path, mert_error *e)
{
    mert_checkpoint *c = calloc(1, sizeof *c);
    char *dir = strdup(path), *slash;
    int rc = -1, is_directory = mert_path_is_directory(path);
    if (!c || !dir) {
        mert_fail(e, "%s: out of memory", path);
        goto out;
    }
    if (!is_directory) {
        if ((slash = strrchr(dir, '/')))
            *(slash == dir ? slash + 1 : slash) = 0;
        else
            memcpy(dir, *dir ? "." : "", *dir ? 2 : 1);
    }
    rc = is_directory ? open_directory(c, path, e) : open_file(c, path, e);
    if (!rc)
        rc = make_sorted(c, path, e);
    if (!rc)
        rc = read_beside(c, dir, "config.json", "mert_config", &c->config, e);
    if (!rc)
        rc = read_beside(c, dir, "preprocessor_config.json", "mert_preprocessor", &c->preprocessor, e);
    if (!rc)
        rc = read_beside(c, dir, "processor_config.json", "", &c->processor, e);
out:
    free(dir);
    if (rc) {
        mert_checkpoint_close(c);
        return NULL;
    }
    return c;
}

void mert_checkpoint_close(mert_checkpoint *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->nheld; i++)
        free(c->held[i]);
    for (size_t i = 0; i < c->nmappings; i++)
        mert_mapping_close(&c->mappings[i]);
    mert_json_free(c->config);
    mert_json_free(c->preprocessor);
    mert_json_free(c->processor);
    mert_json_free(c->about);
    mert_json_free(c->extras);
    free(c->held);
    free(c->mappings);
    free(c->checked);
    free(c->tensors);
    free(c->sorted);
    free(c);
}

size_t mert_checkpoint_count(const mert_checkpoint *c)
{
    return c->count;
}

const mert_tensor *mert_checkpoint_tensor(const mert_checkpoint *c, size_t i)
{
    return i < c->count ? &c->tensors[i] : NULL;
}

const mert_tensor *mert_checkpoint_find(const mert_checkpoint *c, const char *name)
{
    const mert_tensor key = {.name = name}, *p = &key;
    const mert_tensor **at = c->count ? bsearch(&p, c->sorted, c->count, sizeof *c->sorted, by_tensor_name) : NULL;
    return at ? *at : NULL;
}

void mert_checkpoint_expect(const mert_checkpoint *c)
{
    for (size_t i = 0; i < c->nmappings; i++)
        mert_mapping_expect(&c->mappings[i]);
}

void mert_checkpoint_forget(const mert_checkpoint *c, const void *data, size_t size)
{
    mert_mappings_forget(c, data, size);
}

const mert_json *mert_checkpoint_config(const mert_checkpoint *c)
{
    return c->config;
}

const mert_json *mert_checkpoint_preprocessor(const mert_checkpoint *c)
{
    return c->preprocessor;
}

const mert_json *mert_checkpoint_processor(const mert_checkpoint *c)
{
    return c->processor;
}

const mert_json *mert_checkpoint_extras(const mert_checkpoint *c)
{
    return c->extras;
}

const char *mert_checkpoint_container(const mert_checkpoint *c)
{
    return c->container;
}

static int check(const mert_checkpoint *c, int ours_alone, int64_t *checked_bytes, mert_error *e)
{
    *checked_bytes = 0;
    for (size_t i = 0; i < c->nchecked; i++) {
        const mert_checked *r = &c->checked[i];
        if (ours_alone && !r->ours)
            continue;
        if ((r->ours ? mert_safetensors_sum(c, r->data, r->size) : mert_crc32(0, r->data, r->size)) != r->sum)
            return mert_fail(e, "%s: the checksum does not fit: the file is damaged", r->name);
        *checked_bytes += (int64_t)r->size;
    }
    return 0;
}

int mert_checkpoint_verify(const mert_checkpoint *c, int64_t *checked_bytes, mert_error *e)
{
    return check(c, 0, checked_bytes, e);
}

int mert_checkpoint_check_own(const mert_checkpoint *c, mert_error *e)
{
    int64_t bytes;
    return check(c, 1, &bytes, e);
}
