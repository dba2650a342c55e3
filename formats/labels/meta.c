#define _GNU_SOURCE
#include "formats/labels/meta.h"

#include "formats/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { META_MAX = 1 << 16 };
enum { HAS_CLASSES = 1, HAS_RATE = 2, HAS_CODEBOOK = 4, HAS_INDEX = 8, HAS_MANIFEST = 16, HAS_ROWS = 32,
       HAS_FAILED = 64, HAS_HASH = 128, HAS_META = 256 };

static int parse_int(const char *s, int64_t min, int64_t max, int64_t *to)
{
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (end == s || *end || errno || v < min || v > max)
        return -1;
    *to = v;
    return 0;
}

static int parse_hash(const char *s, uint64_t *to)
{
    if (strlen(s) != 16 || strspn(s, "0123456789abcdef") != 16)
        return -1;
    *to = strtoull(s, NULL, 16);
    return 0;
}

static int parse_rate(char *s, mert_labels_meta *m)
{
    char *slash = strchr(s, '/');
    if (!slash)
        return -1;
    *slash = 0;
    return parse_int(s, 0, INT32_MAX, &m->frame_rate_num) || parse_int(slash + 1, 1, INT32_MAX, &m->frame_rate_den);
}

/* Reads the value of a key. Returns the key's flag (HAS_...), 0: unknown key, -1: bad value. */
static int parse_field(mert_labels_meta *m, uint64_t *lines, const char *key, char *value)
{
    static const char *const keys[] = {"classes",  "frame_rate", "codebook",    "codebook_index", "manifest",
                                       "rows",     "failed_rows", "hash",       "meta"};
    size_t i = 0;
    int bad;
    while (i < sizeof keys / sizeof *keys && strcmp(keys[i], key))
        i++;
    switch (1 << i) {
    case HAS_CLASSES: bad = parse_int(value, 1, INT32_MAX, &m->classes); break;
    case HAS_RATE: bad = parse_rate(value, m); break;
    case HAS_CODEBOOK: bad = parse_hash(value, &m->codebook); break;
    case HAS_INDEX: bad = parse_int(value, 0, MTS_CODEBOOKS_MAX - 1, &m->codebook_index); break;
    case HAS_MANIFEST: bad = parse_hash(value, &m->manifest); break;
    case HAS_ROWS: bad = parse_int(value, 0, INT64_MAX, &m->rows); break;
    case HAS_FAILED: bad = parse_int(value, 0, INT64_MAX, &m->failed_rows); break;
    case HAS_HASH: bad = parse_hash(value, &m->hash); break;
    case HAS_META: bad = parse_hash(value, lines); break;
    default: return 0;
    }
    return bad ? -1 : 1 << i;
}

/* meta= is the hash of all lines except meta= and hash=. The line hash= is checked against the labels, and users may
 * remove it. */
static void add_line(mts_xxh64_state *s, const char *key, const char *value)
{
    if (!strcmp(key, "hash") || !strcmp(key, "meta"))
        return;
    mts_xxh64_add(s, key, strlen(key));
    mts_xxh64_add(s, "=", 1);
    mts_xxh64_add(s, value, strlen(value));
    mts_xxh64_add(s, "\n", 1);
}

static int parse_meta(mert_labels_meta *m, char *text, size_t size, const char *path, mert_error *e)
{
    mert_text t;
    char *line, *equals, *value;
    int seen = 0, got, more;
    uint64_t written = 0, lines;
    mts_xxh64_state s;
    if (mert_text_open(&t, path, text, size, e))
        return -1;
    mts_xxh64_begin(&s, 0);
    while ((more = mert_text_line(&t, &line, e)) > 0) {
        const int number = (int)t.number;
        line = mert_text_trim(line);
        if (!*line)
            continue;
        if (!(equals = strchr(line, '=')))
            return mert_fail(e, "%s:%d: not key=value: '%.60s'", path, number, line);
        *equals = 0;
        line = mert_text_trim(line);
        value = mert_text_trim(equals + 1);
        add_line(&s, line, value);
        got = parse_field(m, &written, line, value);
        if (got < 0)
            return mert_fail(e, "%s:%d: '%.60s' cannot be the value of %s", path, number, value, line);
        if (seen & got)
            return mert_fail(e, "%s:%d: %s for the second time", path, number, line);
        seen |= got;
    }
    if (more < 0)
        return -1;
    if ((lines = mts_xxh64_end(&s, 0)) != written && seen & HAS_META)
        return mert_fail(e, "%s: damaged: the hash of its lines is %016" PRIx64 ", %016" PRIx64
                         " was written; if they were changed on purpose, take the line meta= out",
                         path, lines, written);
    if (!(seen & HAS_CLASSES) || !(seen & HAS_ROWS))
        return mert_fail(e, "%s: says nothing about %s", path, seen & HAS_CLASSES ? "rows" : "classes");
    return 0;
}

int mert_labels_meta_read(const char *labels, mert_labels_meta *m, mert_error *e)
{
    char *path, *text;
    size_t size;
    int bad;
    if (asprintf(&path, "%s.meta", labels) < 0)
        return mert_fail(e, "%s: out of memory", labels);
    if (access(path, F_OK) && errno == ENOENT) {
        free(path);
        return 0;
    }
    text = mert_file_read(path, META_MAX, &size, e);
    bad = !text || parse_meta(m, text, size, path, e);
    free(text);
    free(path);
    return bad ? -1 : 1;
}

static const char no_hash[] = "hash=0000000000000000\n";

mert_output *mert_labels_meta_open(const char *labels, const mert_labels_meta *m, mert_error *e)
{
    char *path, text[512];
    mert_output *o;
    int n;
    if (asprintf(&path, "%s.meta", labels) < 0) {
        mert_fail(e, "%s: out of memory", labels);
        return NULL;
    }
    n = snprintf(text, sizeof text,
                 "classes=%" PRId64 "\nframe_rate=%" PRId64 "/%" PRId64 "\ncodebook=%016" PRIx64
                 "\ncodebook_index=%" PRId64 "\nmanifest=%016" PRIx64 "\nrows=%" PRId64 "\nfailed_rows=%" PRId64 "\n",
                 m->classes, m->frame_rate_num, m->frame_rate_den, m->codebook, m->codebook_index, m->manifest, m->rows,
                 m->failed_rows);
    if ((o = mert_output_open(path, e)))
        fprintf(o->stream, "meta=%016" PRIx64 "\n%s%s", mts_xxh64(text, (size_t)n, 0), text, no_hash);
    free(path);
    return o;
}

/* Overwrites the zeros, for which the disk has space already. */
int mert_labels_meta_commit(mert_output *o, const char *labels, mert_error *e)
{
    mert_mapping map;
    struct stat there;
    int bad;
    if (!stat(labels, &there) && !S_ISREG(there.st_mode)) { /* a device or a FIFO: it cannot be read again */
        mert_output_abandon(o);
        return 0;
    }
    if ((bad = mert_mapping_open(&map, labels, e))) {
        mert_output_abandon(o);
        return -1;
    }
    mert_mapping_expect(&map);
    if (fseek(o->stream, -(long)(sizeof no_hash - 1), SEEK_END) ||
        fprintf(o->stream, "hash=%016" PRIx64 "\n", mts_xxh64(map.data, map.size, 0)) < 0)
        bad = mert_fail(e, "%s: cannot write: %s", o->path, strerror(errno));
    mert_mapping_close(&map);
    if (!bad)
        return mert_output_commit(o, e);
    mert_output_abandon(o);
    return -1;
}
