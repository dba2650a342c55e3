#include "formats/labels/export.h"

#include "formats/array.h"
#include "formats/labels/meta.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4096 };

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The name of a source's export, to be freed: the array train.km.npy becomes the text train.km. */
static char *target_of(const char *source, const char *dir, mert_error *e)
{
    char *path = mert_path_join(dir, base_of(source));
    if (!path)
        mert_fail(e, "out of memory");
    else if (mert_labels_is_npy(path))
        path[strlen(path) - 4] = 0;
    return path;
}

static int same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int check_target(const char *source, const char *dir, mert_error *e)
{
    char *path = target_of(source, dir, e);
    int bad = !path ? -1
              : same_file(path, source)
                  ? mert_fail(e, "%s: would be replaced by its own export: another folder is needed", source)
                  : 0;
    free(path);
    return bad;
}

/* fairseq finds the files by their names: SPLIT.tsv and SPLIT.NAME. */
static int check_names(const char *manifest, const mert_labels *const *labels, int K, const char *dir, mert_error *e)
{
    const char *split = base_of(manifest), *dot = strrchr(split, '.');
    const size_t n = dot ? (size_t)(dot - split) : strlen(split);
    if (check_target(manifest, dir, e))
        return -1;
    for (int k = 0; k < K; k++) {
        const char *name = base_of(labels[k]->path);
        if (strncmp(name, split, n) || name[n] != '.' || !name[n + 1] || !strcmp(name + n, ".npy"))
            return mert_fail(e, "%s: labels of %s are called %.*s.NAME, or fairseq will not find them", labels[k]->path,
                             split, (int)n, split);
        for (int j = 0; j < k; j++)
            if (!strcmp(name, base_of(labels[j]->path)))
                return mert_fail(e, "%s and %s: two label files of one name", labels[j]->path, labels[k]->path);
        if (labels[k]->meta.classes < 1)
            return mert_fail(e, "%s: the number of classes is not known: there is no .meta and no dictionary",
                             labels[k]->path);
        if (check_target(labels[k]->path, dir, e))
            return -1;
    }
    return 0;
}

static int64_t keep_rows(const mert_manifest *m, const mert_labels *const *labels, int K, unsigned char *keep)
{
    int64_t kept = 0;
    for (int64_t row = 0; row < m->n; row++) {
        keep[row] = 1;
        for (int k = 0; k < K && keep[row]; k++)
            keep[row] = mert_labels_count(labels[k], row) > 0;
        kept += keep[row];
    }
    return kept;
}

/* Writes the manifest of the rows that are kept; *hash: of the new file. */
static int write_manifest(const char *path, const mert_manifest *m, const unsigned char *keep, uint64_t *hash,
                          mert_error *e)
{
    mert_manifest kept = *m, back;
    if (!(kept.rows = mert_array(m->n, sizeof *kept.rows)))
        return mert_fail(e, "%s: out of memory", path);
    kept.n = 0;
    for (int64_t row = 0; row < m->n; row++)
        if (keep[row])
            kept.rows[kept.n++] = m->rows[row];
    int bad = mert_manifest_write(&kept, path, e) || mert_manifest_read(&back, path, e);
    free(kept.rows);
    if (bad)
        return -1;
    *hash = back.hash;
    mert_manifest_free(&back);
    return 0;
}

/* Classes with names in the dictionary are written by name, others as numbers. */
static int write_row(FILE *f, const mert_labels *l, int64_t row, mert_error *e)
{
    int32_t block[BLOCK];
    size_t size;
    mert_labels_cursor c = {.row = row};
    const int64_t count = mert_labels_count(l, row);
    const char *line = l->dict ? mert_labels_line(l, row, &size) : NULL;
    if (line)
        fwrite(line, 1, size, f);
    for (int64_t at = 0, n; !line && at < count; at += n) {
        n = count - at < BLOCK ? count - at : BLOCK;
        if (mert_labels_read_on(l, &c, n, block, e))
            return -1;
        for (int64_t i = 0; i < n; i++)
            fprintf(f, "%s%" PRId32, at + i ? " " : "", block[i]);
    }
    putc('\n', f);
    return 0;
}

static int write_labels(const char *path, const mert_labels *l, const unsigned char *keep, mert_error *e)
{
    mert_output *o = mert_output_open(path, e);
    for (int64_t row = 0; o && row < l->rows && !ferror(o->stream); row++)
        if (keep[row] && write_row(o->stream, l, row, e)) {
            mert_output_abandon(o);
            return -1;
        }
    return o ? mert_output_commit(o, e) : -1;
}

/* Writes one label set. The .meta of an earlier export is removed first, the new one is written last. */
static int write_set(const char *path, const mert_labels *l, const unsigned char *keep, int64_t rows, uint64_t manifest,
                     mert_error *e)
{
    mert_labels_meta meta = l->meta;
    mert_output *o;
    meta.rows = rows;
    meta.failed_rows = 0;
    meta.manifest = manifest;
    if (!(o = mert_labels_meta_open(path, &meta, e)))
        return -1;
    if (!mert_output_clear(o, e) && !write_labels(path, l, keep, e)
        && !(l->dict ? mert_label_dict_copy(path, l->dict, e) : mert_label_dict_write(path, meta.classes, e)))
        return mert_labels_meta_commit(o, path, e);
    mert_output_abandon(o);
    return -1;
}

int mert_labels_export(const char *manifest, const mert_manifest *m, const mert_labels *const *labels, int K,
                       const char *dir, int64_t *dropped, mert_error *e)
{
    unsigned char *keep = mert_array(m->n, 1);
    char *path = NULL;
    int64_t kept;
    uint64_t hash = 0;
    int bad = !keep ? mert_fail(e, "out of memory") : check_names(manifest, labels, K, dir, e);
    if (!bad) {
        kept = keep_rows(m, labels, K, keep);
        *dropped = m->n - kept;
        if (!kept)
            bad = mert_fail(e, "%s: none of its %" PRId64 " rows has labels", manifest, m->n);
        bad = bad || mert_make_directory(dir, e) || !(path = target_of(manifest, dir, e))
              || write_manifest(path, m, keep, &hash, e);
        free(path);
        for (int k = 0; k < K && !bad; k++) {
            path = target_of(labels[k]->path, dir, e);
            bad = !path || write_set(path, labels[k], keep, kept, hash, e);
            free(path);
        }
    }
    free(keep);
    return bad ? -1 : 0;
}
