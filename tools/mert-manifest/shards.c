/* Stable shards: a file stays in its shard when other files are added or removed. */
#include "tools/mert-manifest/scan.h"

#include "formats/array.h"
#include "formats/file.h"
#include "formats/labels/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- assignment ---- */

static void deal_half(scan_list *l, int half, int64_t shards, double most)
{
    int64_t next = 0, n = 0, last = -1;
    double total = 0, before = 0;
    for (int64_t i = 0; i < l->n; i++) {
        const scan_file *f = &l->files[i];
        if (f->half != half || f->samples < 0)
            continue;
        if (f->shard >= next)
            next = f->shard + 1;
        n += f->shard < 0;
        total += f->shard < 0 ? (double)f->samples : 0;
    }
    if (most > 0 && total / most > (double)shards)
        shards = (int64_t)ceil(total / most);
    if (shards > n)
        shards = n;
    /* A file belongs to the shard that contains its middle; a shard without files gets no number. */
    for (int64_t i = 0; i < l->n; i++) {
        scan_file *f = &l->files[i];
        double middle = before + 0.5 * (double)f->samples;
        int64_t part;
        if (f->half != half || f->samples < 0 || f->shard >= 0)
            continue;
        part = total > 0 ? (int64_t)(middle / total * (double)shards) : 0;
        before += (double)f->samples;
        next += last >= 0 && part != last;
        last = part;
        f->shard = next;
    }
}

void scan_assign(scan_list *l, int64_t shards, double most)
{
    for (int half = 0; half < SCAN_HALVES; half++)
        deal_half(l, half, shards, most);
}

/* ---- their manifests ---- */

static int by_shard(const void *pa, const void *pb)
{
    const scan_file *a = *(const scan_file *const *)pa, *b = *(const scan_file *const *)pb;
    if (a->half != b->half)
        return a->half - b->half;
    if (a->shard != b->shard)
        return a->shard < b->shard ? -1 : 1;
    return strcmp(a->path, b->path);
}

static char *shard_path(const char *dir, const scan_file *f)
{
    char name[48];
    snprintf(name, sizeof name, "%s.%05" PRId64 ".tsv", scan_half_name[f->half], f->shard);
    return mert_path_join(dir, name);
}

/* Writes the manifest of one shard, unless it exists with the same contents and no file has changed. */
static int write_shard(const scan_file *const *files, int64_t n, char *root, const char *dir, mert_error *e)
{
    mert_manifest m = {.root = root, .rows = mert_array(n, sizeof *m.rows)};
    char *path = shard_path(dir, files[0]);
    int bad = 0, changed = 0;
    if (!m.rows || !path)
        bad = mert_fail(e, "out of memory");
    for (int64_t i = 0; i < n && !bad; i++) {
        m.rows[m.n++] = (mert_manifest_row){files[i]->path, files[i]->samples};
        changed |= files[i]->changed;
    }
    if (!bad && (changed || !mert_manifest_is(&m, path)))
        bad = mert_manifest_write(&m, path, e);
    free(m.rows);
    free(path);
    return bad ? -1 : 0;
}

static int known_name(const scan_file *const *files, int64_t n, const char *name)
{
    scan_file wanted = {.path = (char *)"", .shard = -1};
    int64_t low = 0, high = n;
    int digits = 0;
    for (wanted.half = 0; wanted.half < SCAN_HALVES; wanted.half++)
        if (!strncmp(name, scan_half_name[wanted.half], 5))
            break;
    if (wanted.half == SCAN_HALVES || sscanf(name + 5, ".%9" SCNd64 ".tsv%n", &wanted.shard, &digits) != 1 || !digits ||
        name[5 + digits])
        return 1; /* not one of our files */
    while (low < high) { /* the first file that is not before the shard's first one */
        int64_t middle = low + (high - low) / 2;
        const scan_file *p = &wanted;
        if (by_shard(&files[middle], &p) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && files[low]->half == wanted.half && files[low]->shard == wanted.shard;
}

static int remove_others(const scan_file *const *files, int64_t n, const char *dir, mert_error *e)
{
    DIR *d = opendir(dir);
    int bad = 0;
    if (!d)
        return mert_fail(e, "%s: %s", dir, strerror(errno));
    for (struct dirent *entry; !bad && (entry = readdir(d));) {
        char *path;
        if (known_name(files, n, entry->d_name))
            continue;
        path = mert_path_join(dir, entry->d_name);
        if (!path || (unlink(path) && errno != ENOENT))
            bad = mert_fail(e, "%s/%s: %s", dir, entry->d_name, strerror(errno));
        free(path);
    }
    closedir(d);
    return bad;
}

int scan_write_shards(const scan_list *l, char *root, const char *dir, mert_error *e)
{
    const scan_file **files = mert_array(l->n + 1, sizeof *files);
    int64_t n = 0;
    int bad = 0;
    if (!files)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < l->n; i++)
        if (l->files[i].samples >= 0)
            files[n++] = &l->files[i];
    qsort(files, (size_t)n, sizeof *files, by_shard);
    bad = mert_make_directory(dir, e);
    for (int64_t first = 0, end; first < n && !bad; first = end) {
        const scan_file *f = files[first];
        for (end = first + 1; end < n && files[end]->half == f->half && files[end]->shard == f->shard;)
            end++;
        bad = write_shard(files + first, end - first, root, dir, e);
    }
    bad = bad || remove_others(files, n, dir, e);
    free(files);
    return bad ? -1 : 0;
}
