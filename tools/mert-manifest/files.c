/* The list of files, and DIR/files.tsv, which stores it between scans. */
#include "tools/mert-manifest/scan.h"

#include "formats/array.h"
#include "formats/file.h"
#include "formats/labels/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const scan_half_name[SCAN_HALVES] = {"train", "valid"};

int scan_add(scan_list *l, char *path, int64_t size, int64_t mtime)
{
    if (l->n == l->room) {
        scan_file *more = mert_array_grow(l->files, &l->room, l->n + 1, sizeof *more);
        if (!more)
            return -1;
        l->files = more;
    }
    l->files[l->n++] = (scan_file){.path = path, .size = size, .mtime = mtime, .samples = -1, .shard = -1};
    return 0;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(((const scan_file *)a)->path, ((const scan_file *)b)->path);
}

void scan_sort(scan_list *l)
{
    if (l->n)
        qsort(l->files, (size_t)l->n, sizeof *l->files, by_bytes);
}

void scan_free(scan_list *l)
{
    for (int64_t i = 0; i < l->n; i++)
        free(l->files[i].path);
    free(l->files);
    memset(l, 0, sizeof *l);
}

/* ---- reading ---- */

/* Reads the number in a column; returns the text after its tab, NULL: not a number. */
static char *number(char *s, int64_t *to)
{
    char *end;
    if (!s)
        return NULL;
    *to = strtoll(s, &end, 10);
    return end > s && *end == '\t' ? end + 1 : NULL;
}

static int parse_shard(scan_file *f, const char *s)
{
    if (!strcmp(s, "-"))
        return 0;
    for (int h = 0; h < SCAN_HALVES; h++) {
        size_t n = strlen(scan_half_name[h]), digits;
        if (strncmp(s, scan_half_name[h], n) || s[n] != '.')
            continue;
        digits = strspn(s + n + 1, "0123456789");
        if (!digits || digits > 9 || s[n + 1 + digits])
            return -1;
        f->half = h;
        f->shard = atoll(s + n + 1);
        return 0;
    }
    return -1;
}

static int parse_line(scan_list *l, char *line)
{
    char *tab = strchr(line, '\t'), *at;
    scan_file f = {.shard = -1};
    if (!tab)
        return -1;
    *tab = 0;
    if (mert_manifest_path_fault(line) || (l->n && strcmp(l->files[l->n - 1].path, line) >= 0))
        return -1;
    at = number(number(number(tab + 1, &f.samples), &f.size), &f.mtime);
    if (!at || f.samples < -1 || parse_shard(&f, at) || !(f.path = strdup(line)) ||
        scan_add(l, f.path, f.size, f.mtime))
        return -1;
    l->files[l->n - 1] = f;
    return 0;
}

int scan_read(scan_list *known, const char *path, const char *settings, mert_error *e)
{
    size_t size;
    char *text, *line, *end;
    int64_t at = 1;
    int same, bad = 0;
    struct stat s;
    if (access(path, F_OK) && errno == ENOENT)
        return 0;
    if (!stat(path, &s) && !S_ISREG(s.st_mode))
        return mert_fail(e, "%s: is no regular file: name another --out", path);
    if (!(text = mert_file_read(path, (size_t)1 << 34, &size, e)))
        return -1;
    line = text;
    same = !strncmp(line, settings, strlen(settings)) && line[strlen(settings)] == '\n';
    if (*line != '#')
        bad = -1;
    for (line = strchr(line, '\n'); !bad && line && *++line; line = end) {
        if ((end = strchr(line, '\n')))
            *end = 0;
        at++;
        if ((bad = parse_line(known, line)))
            break;
        if (!same)
            known->files[known->n - 1].samples = -1;
    }
    free(text);
    if (!bad)
        return 0;
    scan_free(known);
    return mert_fail(e, "%s:%" PRId64 ": no list of files as mert-manifest writes it (without it all files are counted "
                     "and dealt anew)", path, at);
}

int scan_write(const scan_list *l, int partial, const char *path, const char *settings, mert_error *e)
{
    mert_output *o = mert_output_open(path, e);
    if (!o)
        return -1;
    fprintf(o->stream, "%s\n", settings);
    for (int64_t i = 0; i < l->n; i++) {
        const scan_file *f = &l->files[i];
        int old = partial && f->changed;
        if (f->samples < 0 && !(partial && f->shard >= 0))
            continue;
        fprintf(o->stream, "%s\t%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t", f->path, old ? f->old_samples : f->samples,
                old ? f->old_size : f->size, old ? f->old_mtime : f->mtime);
        if (f->shard >= 0)
            fprintf(o->stream, "%s.%05" PRId64 "\n", scan_half_name[f->half], f->shard);
        else
            fputs("-\n", o->stream);
    }
    return mert_output_commit(o, e);
}

void scan_take_over(scan_list *l, const scan_list *known)
{
    for (int64_t i = 0, k = 0; i < l->n; i++) {
        scan_file *f = &l->files[i];
        const scan_file *was;
        while (k < known->n && strcmp(known->files[k].path, f->path) < 0)
            k++;
        if (k == known->n || strcmp(known->files[k].path, f->path))
            continue;
        was = &known->files[k];
        f->changed = f->size != was->size || f->mtime != was->mtime;
        f->old_size = was->size;
        f->old_mtime = was->mtime;
        f->old_samples = was->samples;
        f->samples = f->changed ? -1 : was->samples;
        f->shard = f->half == was->half ? was->shard : -1;
    }
}
