/* JSON, parsed by jansson. Values are read-only and belong to their document. */
#ifndef MERT_JSON_H
#define MERT_JSON_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct json_t mert_json;

/* Strict: duplicate keys, trailing text, too deep nesting and invalid UTF-8 are errors. Messages contain `name`, line
 * and column. */
mert_json *mert_json_parse(const char *text, size_t size, const char *name, mert_error *e);
mert_json *mert_json_read(const char *path, mert_error *e); /* a file of at most 64 MiB */
/* The text of such a file without its byte order mark (text.h), to be freed by the caller. */
char *mert_json_file(const char *path, size_t *size, mert_error *e);
void mert_json_free(mert_json *j);                          /* only for documents and results of mert_json_keep */
mert_json *mert_json_keep(const mert_json *j);              /* a reference that outlives its document; NULL gives
                                                               NULL */

const mert_json *mert_json_get(const mert_json *object, const char *key); /* NULL: absent, or not an object */
const mert_json *mert_json_at(const mert_json *array, size_t i);          /* NULL: i too large, or not an array */
size_t mert_json_size(const mert_json *array_or_object);                  /* 0 for anything else */

/* 0, or -1 if absent or of another type. Then *to is unchanged, so set the default before the call. */
int mert_json_int(const mert_json *object, const char *key, int64_t *to);
int mert_json_double(const mert_json *object, const char *key, double *to); /* integers are numbers too */
int mert_json_bool(const mert_json *object, const char *key, int *to);
const char *mert_json_string(const mert_json *object, const char *key);     /* NULL: absent, or not a string */

/* The same for values themselves, for arrays. */
int mert_json_as_int(const mert_json *j, int64_t *to);
int mert_json_as_double(const mert_json *j, double *to);
const char *mert_json_as_string(const mert_json *j); /* NULL: not a string */
int mert_json_is_object(const mert_json *j);
int mert_json_is_array(const mert_json *j);
int mert_json_is_null(const mert_json *j);                 /* 1: the value null; 0 for a missing value (NULL) */

/* Iterates over an object in its order. Returns the key, or NULL at the end. O(1) per step. */
typedef struct mert_json_iterator {
    const mert_json *object;
    void *at;
} mert_json_iterator;
const char *mert_json_next(mert_json_iterator *w, const mert_json **value); /* start with {object, NULL} */

/* For writing: s as a JSON string with its quotes, to be freed by the caller. */
char *mert_json_quote(const char *s);
/* The value as text, indented by `indent` blanks (0: on one line), to be freed by the caller; NULL: out of memory. */
char *mert_json_text(const mert_json *j, int indent);

#endif
