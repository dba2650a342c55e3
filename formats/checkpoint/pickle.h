/* Python pickles read as data. The machine of pickle's protocols 2 to 5 is run over values that can do nothing: a class
 * or function that the pickle names is only a name, what it would have been called with is kept beside it, and nothing
 * is ever imported or executed. A name that is known to run something if a Python read the file (os.system,
 * builtins.eval, ...: pickle_policy.c has the list) is refused: such a file is an attack, whatever else is in it. A
 * name that the list does not know is carried as a name, and says nothing of what Python would do. The numbers of
 * values, memory and nesting are bounded by the size of the pickle.
 *
 *     size_t used;
 *     mert_pickle *p = mert_pickle_read(data, size, &used, &e);
 *     const mert_pickle_value *v = mert_pickle_root(p);
 *
 * Values may be shared and may form cycles (a child that knows its parent), so who walks them bounds the walk. */
#ifndef MERT_PICKLE_H
#define MERT_PICKLE_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

typedef enum mert_pickle_type {
    MERT_P_NONE,
    MERT_P_BOOL,
    MERT_P_INT,
    MERT_P_BIG,
    MERT_P_FLOAT,
    MERT_P_TEXT,
    MERT_P_BYTES,
    MERT_P_LIST,
    MERT_P_TUPLE,
    MERT_P_SET,
    MERT_P_DICT,      /* items: key, value, key, value ... in the order they were set */
    MERT_P_CLASS,     /* a class or function, by name */
    MERT_P_OBJECT,    /* what calling one would have given */
    MERT_P_PERSISTENT /* something outside of the pickle: items[0] is its id */
} mert_pickle_type;

typedef struct mert_pickle_value mert_pickle_value;
struct mert_pickle_value {
    mert_pickle_type type;
    int visiting;                  /* free for whoever walks, 0 at first */
    size_t size;                   /* bytes of text; number of items */
    mert_pickle_value *of; /* OBJECT: what was called (CLASS); DICT: so, of an OrderedDict or defaultdict, or NULL */
    union {
        int64_t number;            /* BOOL, INT */
        double real;               /* FLOAT */
        const char *text;          /* TEXT, BYTES, BIG (little endian, two's complement): in the pickle, without a NUL;
                                      CLASS: "module.name" with one */
        struct {
            mert_pickle_value **items; /* LIST, TUPLE, SET, DICT, PERSISTENT */
            size_t room;
        };
        struct {                   /* OBJECT; each may be NULL */
            mert_pickle_value *args;  /* TUPLE */
            mert_pickle_value *state; /* what BUILD gave, usually a DICT of attributes */
            mert_pickle_value *list;  /* LIST: items of a subclass of list or set */
            mert_pickle_value *dict;  /* DICT: items of a subclass of dict */
        };
    };
};

typedef struct mert_pickle mert_pickle;

/* Reads one pickle from data[size]; *used: its length. The values point into data, which must outlive them. Errors name
 * the offset in data. A pickle longer than 64 MiB is refused: tensors are never inside. */
mert_pickle *mert_pickle_read(const unsigned char *data, size_t size, size_t *used, mert_error *e);
void mert_pickle_free(mert_pickle *p); /* NULL is fine */

mert_pickle_value *mert_pickle_root(const mert_pickle *p);
/* All persistent ids in the order they were met. */
size_t mert_pickle_persistents(const mert_pickle *p, mert_pickle_value ***list);

/* The value of a dictionary's (text) key, the last one set; NULL: none, or no dictionary. */
mert_pickle_value *mert_pickle_get(const mert_pickle_value *dict, const char *key);
int mert_pickle_is_text(const mert_pickle_value *v, const char *text);
/* v is an OBJECT of (or a call of) this, "module.name". */
int mert_pickle_is_of(const mert_pickle_value *v, const char *name);

/* pickle_policy.c: whether naming module.name asks to run something. */
int mert_pickle_refuses(const char *module, const char *name);

#endif
