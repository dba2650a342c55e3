#include "formats/labels/manifest.h"

#include "formats/array.h"
#include "formats/file.h"
#include "formats/stream/mts.h"
#include "formats/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { COUNT_DIGITS_MAX = 15 }; /* no audio file has more samples, and a double holds such numbers exactly */
static const size_t file_max = (size_t)1 << 34;

static int leaves_root(const char *path)
{
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || !p[2]))
            return 1;
    }
    return 0;
}

const char *mert_manifest_path_fault(const char *path)
{
    if (!*path)
        return "is empty";
    if (strpbrk(path, "\t\n\r"))
        return "has a tab or a line end in it, which a manifest cannot hold";
    if (strlen(path) >= MTS_KEY_MAX)
        return "is longer than the 1023 bytes that a key may have";
    if (leaves_root(path))
        return "leaves the root folder";
    return NULL;
}

/* The sample count at the end of a row: digits only, blanks around them. */
static int parse_count(const char *s, int64_t *to)
{
    size_t n = strspn(s, "0123456789");
    if (!n || n > COUNT_DIGITS_MAX || s[n])
        return -1;
    *to = strtoll(s, NULL, 10);
    return 0;
}

static int parse_row(mert_manifest_row *row, char *line, char **count)
{
    char *tab = strchr(line, '\t');
    if (!tab)
        return -1;
    *tab = 0;
    row->path = line;
    *count = mert_text_trim(tab + 1);
    return parse_count(*count, &row->samples) ? -2 : 0;
}

/* Paths in an open-addressing table of row numbers, at most half full. */
static int find_duplicates(const mert_manifest *m, const char *path, mert_error *e)
{
    size_t size = 16, at;
    int64_t *table;
    while (size < 2 * (size_t)m->n)
        size *= 2;
    if (!(table = calloc(size, sizeof *table)))
        return mert_fail(e, "%s: out of memory", path);
    for (int64_t i = 0; i < m->n; i++) {
        at = (size_t)mts_xxh64(m->rows[i].path, strlen(m->rows[i].path), 0) & (size - 1);
        for (; table[at]; at = (at + 1) & (size - 1))
            if (!strcmp(m->rows[table[at] - 1].path, m->rows[i].path)) {
                mert_fail(e, "%s:%" PRId64 ": '%s' stands in line %" PRId64 " already", path, i + 2, m->rows[i].path,
                          table[at] + 1);
                free(table);
                return -1;
            }
        table[at] = i + 1;
    }
    free(table);
    return 0;
}

/* The first line is the root, the rest are rows. */
static int parse(mert_manifest *m, size_t size, const char *path, mert_error *e)
{
    mert_text t;
    char *line, *count = NULL;
    const char *fault;
    int64_t room = 0;
    int got;
    if (mert_text_open(&t, path, m->text, size, e))
        return -1;
    while ((got = mert_text_line(&t, &line, e)) > 0) {
        if (t.number == 1) {
            if (!*line || strchr(line, '\t'))
                return mert_fail(e, "%s:1: the first line must be the root folder alone", path);
            if (!(m->root = strdup(line)))
                return mert_fail(e, "%s: out of memory", path);
            continue;
        }
        if (m->n == room) {
            mert_manifest_row *rows = mert_array_grow(m->rows, &room, m->n + 1, sizeof *rows);
            if (!rows)
                return mert_fail(e, "%s: out of memory", path);
            m->rows = rows;
        }
        switch (parse_row(&m->rows[m->n], line, &count)) {
        case -1:
            return mert_fail(e, "%s:%" PRId64 ": no tab: a row is 'path<TAB>samples'%s", path, t.number,
                             *line ? "" : ", and this line is empty");
        case -2:
            return mert_fail(e, "%s:%" PRId64 ": '%.40s' is no number of samples (0, 1, 2 ... in digits)", path,
                             t.number, count);
        default: break;
        }
        if ((fault = mert_manifest_path_fault(m->rows[m->n].path)))
            return mert_fail(e, "%s:%" PRId64 ": the path '%.200s' %s", path, t.number, m->rows[m->n].path, fault);
        m->n++;
    }
    if (got < 0)
        return -1;
    return m->root ? 0 : mert_fail(e, "%s: empty: a manifest begins with its root folder", path);
}

int mert_manifest_read(mert_manifest *m, const char *path, mert_error *e)
{
    size_t size;
    memset(m, 0, sizeof *m);
    if (!(m->text = mert_file_read(path, file_max, &size, e)))
        return -1;
    m->hash = mts_xxh64(m->text, size, 0);
    if (!parse(m, size, path, e) && !find_duplicates(m, path, e))
        return 0;
    mert_manifest_free(m);
    return -1;
}

int mert_manifest_write(const mert_manifest *m, const char *path, mert_error *e)
{
    mert_output *o;
    const char *fault;
    if (!*m->root || strpbrk(m->root, "\t\n\r"))
        return mert_fail(e, "%s: the root folder '%s' is empty or has a tab or a line end in it", path, m->root);
    if (mert_text_misread(m->root))
        return mert_fail(e, "%s: the root folder '%s' begins like a byte order mark or a web page: it could not be"
                           " read back", path, m->root);
    for (int64_t i = 0; i < m->n; i++) {
        if ((fault = mert_manifest_path_fault(m->rows[i].path)))
            return mert_fail(e, "%s: the path '%.200s' %s", path, m->rows[i].path, fault);
        if (m->rows[i].samples < 0)
            return mert_fail(e, "%s: '%s' has %" PRId64 " samples", path, m->rows[i].path, m->rows[i].samples);
    }
    if (!(o = mert_output_open(path, e)))
        return -1;
    fprintf(o->stream, "%s\n", m->root);
    for (int64_t i = 0; i < m->n; i++)
        fprintf(o->stream, "%s\t%" PRId64 "\n", m->rows[i].path, m->rows[i].samples);
    return mert_output_commit(o, e);
}

int mert_manifest_is(const mert_manifest *m, const char *path)
{
    mert_manifest there;
    mert_error e;
    struct stat s;
    int same;
    if (stat(path, &s) || !S_ISREG(s.st_mode) || mert_manifest_read(&there, path, &e)) /* opening a FIFO would wait */
        return 0;
    same = there.n == m->n && !strcmp(there.root, m->root);
    for (int64_t i = 0; i < m->n && same; i++)
        same = there.rows[i].samples == m->rows[i].samples && !strcmp(there.rows[i].path, m->rows[i].path);
    mert_manifest_free(&there);
    return same;
}

char *mert_manifest_item(const mert_manifest *m, int64_t row)
{
    const char *path = m->rows[row].path;
    return *path == '/' ? strdup(path) : mert_path_join(m->root, path);
}

void mert_manifest_free(mert_manifest *m)
{
    free(m->root);
    free(m->rows);
    free(m->text);
    memset(m, 0, sizeof *m);
}

/* Python's round(N / n * r): the quotient first, in double, as the scripts compute it; rint rounds halves to even. */
static int64_t shard_edge(int64_t rows, int shard, int shards)
{
    return shard == shards ? rows : (int64_t)rint((double)rows / shards * shard);
}

void mert_shard_rows(int64_t rows, int shard, int shards, int64_t *first, int64_t *end)
{
    *first = shard_edge(rows, shard, shards);
    *end = shard_edge(rows, shard + 1, shards);
}
