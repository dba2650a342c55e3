#include "formats/json.h"

#include "formats/file.h"
#include "formats/text.h"

#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_FILE_MAX = 64 << 20 };

/* Out of memory, jansson's parser aborts the process (2.14, in strings). So a failed allocation leaves the parser by
 * longjmp; the memory that the parser holds is leaked. */
static _Thread_local jmp_buf *leave_parser;

static void *parser_alloc(size_t n)
{
    void *p = malloc(n);
    if (!p && leave_parser)
        longjmp(*leave_parser, 1);
    return p;
}

static void set_parser_alloc(void)
{
    json_set_alloc_funcs(parser_alloc, free);
}

/* NULL with *lacking 0: not JSON; with 1: out of memory. */
static json_t *parse(const char *text, size_t size, json_error_t *why, int *lacking)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    jmp_buf here;
    json_t *j;
    pthread_once(&once, set_parser_alloc);
    if ((*lacking = setjmp(here))) {
        leave_parser = NULL;
        return NULL;
    }
    leave_parser = &here;
    j = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, why);
    leave_parser = NULL;
    return j;
}

mert_json *mert_json_parse(const char *text, size_t size, const char *name, mert_error *e)
{
    json_error_t why;
    int lacking;
    json_t *j = parse(text, size, &why, &lacking);
    if (lacking) {
        mert_fail(e, "%s: out of memory", name);
        return NULL;
    }
    if (!j) {
        /* The parser's message quotes the input; this makes it one line of printable text. */
        for (char *p = why.text; *p; p++)
            if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
                *p = '?';
        mert_fail(e, "%s: line %d, column %d: not JSON: %s", name, why.line, why.column, why.text);
    }
    return j;
}

char *mert_json_file(const char *path, size_t *size, mert_error *e)
{
    char *text = mert_file_read(path, JSON_FILE_MAX, size, e);
    const int mark = text ? mert_text_mark(path, text, *size, e) : 0;
    const char *nul = text && mark >= 0 ? memchr(text, 0, *size) : NULL;
    if (nul) {
        int line = 1;
        for (const char *p = text; p < nul; p++)
            line += *p == '\n';
        mert_fail(e, "%s:%d: a NUL byte: not a text file", path, line);
    }
    if (mark < 0 || nul) {
        free(text);
        return NULL;
    }
    if (mark) {
        *size -= (size_t)mark;
        memmove(text, text + mark, *size + 1);
    }
    return text;
}

mert_json *mert_json_read(const char *path, mert_error *e)
{
    size_t size;
    char *text = mert_json_file(path, &size, e);
    mert_json *j = text ? mert_json_parse(text, size, path, e) : NULL;
    free(text);
    return j;
}

void mert_json_free(mert_json *j)
{
    json_decref(j);
}

mert_json *mert_json_keep(const mert_json *j)
{
    return json_incref((json_t *)j);
}

const mert_json *mert_json_get(const mert_json *object, const char *key)
{
    return json_object_get(object, key);
}

const mert_json *mert_json_at(const mert_json *array, size_t i)
{
    return json_array_get(array, i);
}

size_t mert_json_size(const mert_json *j)
{
    return json_is_array(j) ? json_array_size(j) : json_object_size(j);
}

int mert_json_as_int(const mert_json *j, int64_t *to)
{
    if (!json_is_integer(j))
        return -1;
    *to = json_integer_value(j);
    return 0;
}

int mert_json_as_double(const mert_json *j, double *to)
{
    if (!json_is_number(j))
        return -1;
    *to = json_number_value(j);
    return 0;
}

const char *mert_json_as_string(const mert_json *j)
{
    return json_string_value(j);
}

int mert_json_is_object(const mert_json *j)
{
    return json_is_object(j);
}

int mert_json_is_array(const mert_json *j)
{
    return json_is_array(j);
}

int mert_json_is_null(const mert_json *j)
{
    return json_is_null(j);
}

int mert_json_int(const mert_json *object, const char *key, int64_t *to)
{
    return mert_json_as_int(mert_json_get(object, key), to);
}

int mert_json_double(const mert_json *object, const char *key, double *to)
{
    return mert_json_as_double(mert_json_get(object, key), to);
}

int mert_json_bool(const mert_json *object, const char *key, int *to)
{
    const mert_json *j = mert_json_get(object, key);
    if (!json_is_boolean(j))
        return -1;
    *to = json_is_true(j);
    return 0;
}

const char *mert_json_string(const mert_json *object, const char *key)
{
    return json_string_value(mert_json_get(object, key));
}

const char *mert_json_next(mert_json_iterator *w, const mert_json **value)
{
    json_t *object = (json_t *)w->object; /* jansson's iterators take no const, but change nothing */
    if (!object)
        return NULL;
    w->at = w->at ? json_object_iter_next(object, w->at) : json_object_iter(object);
    if (!w->at) {
        w->object = NULL;
        return NULL;
    }
    if (value)
        *value = json_object_iter_value(w->at);
    return json_object_iter_key(w->at);
}

char *mert_json_quote(const char *s)
{
    json_t *j = json_string(s);
    char *quoted = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
    json_decref(j);
    return quoted;
}

char *mert_json_text(const mert_json *j, int indent)
{
    return json_dumps(j, JSON_ENCODE_ANY | JSON_INDENT((size_t)indent));
}
