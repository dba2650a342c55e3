/* Folders of .lab files, as MIREX has them: a file for each item, in each line start, end and label. */
#include "formats/array.h"
#include "formats/file.h"
#include "formats/text.h"
#include "libcommon/probe/table.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 32, FILE_MAX = 1 << 28 };

typedef struct reading {
    mert_probe_table *t;
    int64_t room, texts_room; /* of t->rows, t->texts */
    size_t root;              /* length of the folder's path, with its slash */
} reading;

/* Makes the table the owner of a text. NULL: out of memory (a text of NULL, too). */
static char *own(reading *d, char *text)
{
    char **more = text ? mert_array_grow(d->t->texts, &d->texts_room, d->t->n_texts + 1, sizeof *more) : NULL;
    if (!more) {
        free(text);
        return NULL;
    }
    d->t->texts = more;
    return d->t->texts[d->t->n_texts++] = text;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Reads a time and the blanks after it. */
static int read_time(char **at, double *to)
{
    char *stop;
    *to = strtod(*at, &stop);
    if (stop == *at || !is_blank(*stop) || !(*to >= 0 && *to < 1e12))
        return -1;
    *at = stop + strspn(stop, " \t");
    return 0;
}

static int read_line(reading *d, mert_probe_row r, char *line, mert_error *e)
{
    mert_probe_row *more;
    char *at = mert_text_trim(line);
    if (!*at || *at == '#')
        return 0;
    if (read_time(&at, &r.start) || read_time(&at, &r.end))
        return mert_fail(e, "%s: line %" PRId64 " is not 'start end label', times in seconds", r.path, r.line);
    if (!(r.end > r.start))
        return mert_fail(e, "%s: line %" PRId64 ": the span ends at %g s, but begins at %g s", r.path, r.line, r.end,
                         r.start);
    r.label = at;
    more = mert_array_grow(d->t->rows, &d->room, d->t->n + 1, sizeof *more);
    if (!more)
        return mert_fail(e, "out of memory");
    d->t->rows = more;
    d->t->rows[d->t->n++] = r;
    return 0;
}

static int read_file(reading *d, const char *path, mert_error *e)
{
    size_t size, length = strlen(path) - strlen(".lab");
    char *text = mert_input_note(path, e) ? NULL : mert_file_read(path, FILE_MAX, &size, e), *line, *key, *kept;
    mert_text lines;
    int got;
    if (!text)
        return -1;
    text = own(d, text);
    kept = own(d, strdup(path));
    key = own(d, strdup(path + d->root));
    if (!text || !kept || !key)
        return mert_fail(e, "out of memory");
    key[length - d->root] = 0;
    if (mert_text_open(&lines, kept, text, size, e))
        return -1;
    while ((got = mert_text_line(&lines, &line, e)) > 0) {
        mert_probe_row r = {.path = kept, .key = key, .group = key, .line = lines.number, .part = MERT_PROBE_OUT};
        if (read_line(d, r, line, e))
            return -1;
    }
    return got;
}

static int is_lab(const char *name)
{
    size_t n = strlen(name);
    return n > strlen(".lab") && !strcmp(name + n - strlen(".lab"), ".lab");
}

static int read_folder(reading *d, const char *path, int depth, mert_error *e);

static int read_entry(reading *d, const char *folder, const char *name, int depth, mert_error *e)
{
    char *path = mert_path_join(folder, name);
    int bad = path ? 0 : mert_fail(e, "out of memory");
    if (path && mert_path_is_directory(path))
        bad = read_folder(d, path, depth + 1, e);
    else if (path && is_lab(name))
        bad = read_file(d, path, e);
    free(path);
    return bad;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a folder without those that begin with a dot, sorted; to be freed, and the array. -1: an error. */
static int64_t list_folder(const char *path, char ***to, mert_error *e)
{
    DIR *dir = opendir(path);
    int64_t n = 0, room = 0;
    *to = NULL;
    if (!dir)
        return mert_fail(e, "%s: %s", path, strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));) {
        char **more;
        if (*entry->d_name == '.')
            continue;
        more = mert_array_grow(*to, &room, n + 1, sizeof *more);
        if (more)
            *to = more;
        if (!more || !((*to)[n] = strdup(entry->d_name))) {
            closedir(dir);
            while (n > 0)
                free((*to)[--n]);
            free(*to);
            return mert_fail(e, "out of memory");
        }
        n++;
    }
    closedir(dir);
    if (n)
        qsort(*to, (size_t)n, sizeof **to, by_name);
    return n;
}

static int read_folder(reading *d, const char *path, int depth, mert_error *e)
{
    char **names;
    int64_t n;
    int bad = 0;
    if (depth > DEPTH_MAX)
        return mert_fail(e, "%s: more than %d folders deep: a link that leads back?", path, DEPTH_MAX);
    n = list_folder(path, &names, e);
    if (n < 0)
        return -1;
    for (int64_t i = 0; i < n; i++) {
        bad = bad ? bad : read_entry(d, path, names[i], depth, e);
        free(names[i]);
    }
    free(names);
    return bad;
}

int mert_probe_table_read_folder(mert_probe_table *t, const char *path, mert_error *e)
{
    size_t n = strlen(path);
    reading d = {.t = t, .root = n + (n && path[n - 1] != '/')};
    *t = (mert_probe_table){.path = path, .spans = 1, .stems = 1};
    if (read_folder(&d, path, 0, e) ||
        (t->n ? mert_probe_table_sort(t, e) : mert_fail(e, "%s: no labels in .lab files below it", path))) {
        mert_probe_table_free(t);
        return -1;
    }
    return 0;
}
