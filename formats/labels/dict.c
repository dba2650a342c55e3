#define _GNU_SOURCE
#include "formats/labels/dict.h"

#include "formats/array.h"
#include "formats/file.h"
#include "formats/stream/mts.h"
#include "formats/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct word {
    size_t at, size; /* in the text */
} word;

struct mert_label_dict {
    char *path, *text;
    word *words;           /* [n] */
    int64_t n, room;
    int plain;             /* the name of class n is the number n: no table is needed */
    int64_t *table;        /* [slots]: class + 1, 0: free; at most half full */
    size_t slots;
};

static const size_t file_max = (size_t)1 << 30;

/* ---- names ---- */

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "DIR/dict.REST.txt", where REST follows a dot of DIR/BASE; NULL: out of memory. */
static char *beside(const char *labels, const char *rest)
{
    size_t n = strlen(rest);
    char *path;
    if (n > 4 && !strcmp(rest + n - 4, ".npy"))
        n -= 4;
    return asprintf(&path, "%.*sdict.%.*s.txt", (int)(base_of(labels) - labels), labels, (int)n, rest) < 0 ? NULL
                                                                                                           : path;
}

char *mert_label_dict_path(const char *labels, mert_error *e)
{
    const char *dot = strchr(base_of(labels), '.');
    char *path;
    if (!dot || !dot[1] || !strcmp(dot, ".npy")) {
        mert_fail(e, "%s: fairseq has label files called SPLIT.NAME (train.km), with dict.NAME.txt beside them",
                  labels);
        return NULL;
    }
    if (!(path = beside(labels, dot + 1)))
        mert_fail(e, "%s: out of memory", labels);
    return path;
}

/* ---- reading ---- */

/* The value of a word that is a decimal number without leading zeros, or -1. */
static int64_t number_of(const char *s, size_t size)
{
    int64_t v = 0;
    if (!size || size > 10 || (size > 1 && *s == '0'))
        return -1;
    for (size_t i = 0; i < size; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = 10 * v + (s[i] - '0');
    }
    return v;
}

static int64_t look_up(const mert_label_dict *d, const char *s, size_t size, size_t *slot)
{
    size_t i = (size_t)mts_xxh64(s, size, 0) & (d->slots - 1);
    for (; d->table[i]; i = (i + 1) & (d->slots - 1)) {
        const word *w = &d->words[d->table[i] - 1];
        if (w->size == size && !memcmp(d->text + w->at, s, size))
            return d->table[i] - 1;
    }
    *slot = i;
    return -1;
}

static int is_fairseqs_own(const char *s, size_t size)
{
    static const char *const own[] = {"<s>", "<pad>", "</s>", "<unk>"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strlen(own[i]) == size && !memcmp(own[i], s, size))
            return 1;
    return 0;
}

/* Removes the blanks around it. */
static size_t trim(const char **s, size_t size)
{
    while (size && (**s == ' ' || **s == '\t')) {
        ++*s;
        size--;
    }
    while (size && ((*s)[size - 1] == ' ' || (*s)[size - 1] == '\t'))
        size--;
    return size;
}

/* One line, "<class> <count>", without its end. */
static int add_line(mert_label_dict *d, const char *line, size_t size, mert_error *e)
{
    const int64_t number = d->n + 1;
    const char *blank;
    size_t digits;
    size = trim(&line, size);
    blank = memrchr(line, ' ', size);
    digits = blank ? size - (size_t)(blank + 1 - line) : 0;
    if (!digits || strspn(blank + 1, "0123456789") < digits)
        return mert_fail(e, "%s:%" PRId64 ": '%.*s' is not '<class> <count>'", d->path, number,
                         (int)(size > 60 ? 60 : size), line);
    size = trim(&line, (size_t)(blank - line));
    if (!size || memchr(line, ' ', size) || memchr(line, '\t', size))
        return mert_fail(e, "%s:%" PRId64 ": the class '%.*s' is %s", d->path, number, (int)(size > 60 ? 60 : size),
                         line, size ? "more than one word" : "no word");
    if (is_fairseqs_own(line, size))
        return mert_fail(e, "%s:%" PRId64 ": %.*s is fairseq's own and no class", d->path, number, (int)size, line);
    if (d->n == d->room) {
        word *grown = mert_array_grow(d->words, &d->room, d->n + 1, sizeof *grown);
        if (!grown)
            return mert_fail(e, "%s: out of memory", d->path);
        d->words = grown;
    }
    d->plain &= number_of(line, size) == d->n;
    d->words[d->n++] = (word){(size_t)(line - d->text), size};
    return 0;
}

static int make_table(mert_label_dict *d, mert_error *e)
{
    for (d->slots = 16; d->slots < 2 * (size_t)d->n; d->slots *= 2)
        ;
    if (!(d->table = calloc(d->slots, sizeof *d->table)))
        return mert_fail(e, "%s: out of memory", d->path);
    for (int64_t i = 0; i < d->n; i++) {
        size_t slot = 0;
        const word *w = &d->words[i];
        int64_t before = look_up(d, d->text + w->at, w->size, &slot);
        if (before >= 0)
            return mert_fail(e, "%s:%" PRId64 ": the class '%.*s' stands in line %" PRId64 " already", d->path, i + 1,
                             (int)(w->size > 60 ? 60 : w->size), d->text + w->at, before + 1);
        d->table[slot] = i + 1;
    }
    return 0;
}

/* Takes ownership of path. */
static mert_label_dict *read_dict(char *path, mert_error *e)
{
    mert_label_dict *d = calloc(1, sizeof *d);
    mert_text t;
    const char *line;
    size_t size;
    int got;
    if (!d) {
        mert_fail(e, "%s: out of memory", path);
        free(path);
        return NULL;
    }
    d->path = path;
    d->plain = 1;
    if (!(d->text = mert_file_read(path, file_max, &size, e)))
        goto fail;
    if (mert_text_open(&t, path, d->text, size, e))
        goto fail;
    while ((got = mert_text_next(&t, &line, &size, e)) > 0)
        if (add_line(d, line, size, e))
            goto fail;
    if (got < 0)
        goto fail;
    if (!d->n) {
        mert_fail(e, "%s: lists no class", path);
        goto fail;
    }
    if (!d->plain && make_table(d, e))
        goto fail;
    return d;
fail:
    mert_label_dict_free(d);
    return NULL;
}

int mert_label_dict_find(mert_label_dict **d, const char *labels, mert_error *e)
{
    *d = NULL;
    for (const char *dot = base_of(labels); (dot = strchr(dot, '.')) && dot[1]; dot++) {
        char *path;
        if (!strcmp(dot, ".npy"))
            break;
        if (!(path = beside(labels, dot + 1)))
            return mert_fail(e, "%s: out of memory", labels);
        if (!access(path, F_OK) || errno != ENOENT)
            return (*d = read_dict(path, e)) ? 1 : -1;
        free(path);
    }
    return 0;
}

void mert_label_dict_free(mert_label_dict *d)
{
    if (!d)
        return;
    free(d->path);
    free(d->text);
    free(d->words);
    free(d->table);
    free(d);
}

const char *mert_label_dict_file(const mert_label_dict *d)
{
    return d->path;
}

int64_t mert_label_dict_classes(const mert_label_dict *d)
{
    return d->n;
}

int64_t mert_label_dict_class(const mert_label_dict *d, const char *label, size_t size)
{
    size_t slot;
    if (!d->plain)
        return look_up(d, label, size, &slot);
    int64_t v = number_of(label, size);
    return v < d->n ? v : -1;
}

/* ---- writing ---- */

/* The first class whose name differs in `d` and `like` (NULL: the names are numbers), or -1: none. */
static int64_t differs_at(const mert_label_dict *d, const mert_label_dict *like)
{
    for (int64_t i = 0; like && i < d->n; i++) {
        const word *a = &d->words[i], *b = &like->words[i];
        if (a->size != b->size || memcmp(d->text + a->at, like->text + b->at, a->size))
            return i;
    }
    for (int64_t i = 0; !like && !d->plain && i < d->n; i++)
        if (number_of(d->text + d->words[i].at, d->words[i].size) != i)
            return i;
    return -1;
}

/* 1: this dictionary exists already, 0: there is none, -1: there is a different one, or an error. */
static int is_there(const char *path, int64_t classes, const mert_label_dict *like, mert_error *e)
{
    int64_t at;
    mert_label_dict *d;
    char *copy;
    int rc = 1;
    if (access(path, F_OK) && errno == ENOENT)
        return 0;
    if (!(copy = strdup(path)))
        return mert_fail(e, "%s: out of memory", path);
    if (!(d = read_dict(copy, e)))
        return -1;
    if (d->n != classes)
        rc = mert_fail(e, "%s: is there and lists %" PRId64 " classes, these labels have %" PRId64, path, d->n,
                       classes);
    else if ((at = differs_at(d, like)) >= 0)
        rc = mert_fail(e, "%s:%" PRId64 ": is there and orders its classes otherwise: here stands '%.*s'", path, at + 1,
                       (int)(d->words[at].size > 60 ? 60 : d->words[at].size), d->text + d->words[at].at);
    mert_label_dict_free(d);
    return rc;
}

int mert_label_dict_check(const char *labels, int64_t classes, mert_error *e)
{
    char *path = mert_label_dict_path(labels, e);
    int rc = path ? is_there(path, classes, NULL, e) : -1;
    free(path);
    return rc < 0 ? -1 : 0;
}

static int write_dict(const char *labels, int64_t classes, const mert_label_dict *like, mert_error *e)
{
    char *path = mert_label_dict_path(labels, e);
    int rc = path ? is_there(path, classes, like, e) : -1;
    if (!rc) {
        mert_output *o = mert_output_open(path, e);
        for (int64_t i = 0; o && i < classes && !ferror(o->stream); i++)
            if (like)
                fprintf(o->stream, "%.*s 1\n", (int)like->words[i].size, like->text + like->words[i].at);
            else
                fprintf(o->stream, "%" PRId64 " 1\n", i);
        rc = o ? mert_output_commit(o, e) : -1;
    }
    free(path);
    return rc < 0 ? -1 : 0;
}

int mert_label_dict_write(const char *labels, int64_t classes, mert_error *e)
{
    return write_dict(labels, classes, NULL, e);
}

int mert_label_dict_copy(const char *labels, const mert_label_dict *d, mert_error *e)
{
    return write_dict(labels, d->n, d, e);
}
