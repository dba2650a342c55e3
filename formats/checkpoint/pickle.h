/* Reads Python pickles as data. The opcodes of protocols 2 to 5 build passive values: a class or function is only its
 * name, a call is stored with its arguments, and nothing is ever imported or executed. Names that run code when Python
 * reads the file (os.system, builtins.eval, ...: the list is in pickle_policy.c) are refused, because such a file is an
 * attack. A name that is not in the list is kept as a name; that does not mean that loading the file in Python is safe.
 * The number of values, the memory and the nesting are bounded by the size of the pickle.
 *
 *     size_t used;
 *     mert_pickle *p = mert_pickle_read(data, size, &used, &e);
 *     const mert_pickle_value *v = mert_pickle_root(p);
 *
 * Values may be shared and may form cycles (a child that refers to its parent), so callers must bound their
 * recursion. */
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
    MERT_P_DICT,      /* items: key, value, key, value ... in the order of insertion */
    MERT_P_CLASS,     /* a class or function, by name */
    MERT_P_OBJECT,    /* the result of calling one, not computed */
    MERT_P_PERSISTENT /* a reference to data outside of the pickle: items[0] is its id */
} mert_pickle_type;

typedef struct mert_pickle_value mert_pickle_value;
struct mert_pickle_value {
    mert_pickle_type type;
    int visiting;                  /* for the caller's traversal, 0 at first */
    size_t size;                   /* bytes of text; number of items */
    mert_pickle_value *of; /* OBJECT: the CLASS that was called; DICT: that of an OrderedDict or defaultdict, or NULL */
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
            mert_pickle_value *state; /* the argument of BUILD, usually a DICT of attributes */
            mert_pickle_value *list;  /* LIST: items of a subclass of list or set */
            mert_pickle_value *dict;  /* DICT: items of a subclass of dict */
        };
    };
};

typedef struct mert_pickle mert_pickle;

/* Reads one pickle from data[size]; *used: its length. The values point into data, which must outlive them. Errors name
 * the offset in data. A pickle longer than 64 MiB is refused: the data of tensors are never inside. */
mert_pickle *mert_pickle_read(const unsigned char *data, size_t size, size_t *used, mert_error *e);
void mert_pickle_free(mert_pickle *p); /* NULL is fine */

mert_pickle_value *mert_pickle_root(const mert_pickle *p);
/* All persistent ids, in order of appearance. */
size_t mert_pickle_persistents(const mert_pickle *p, mert_pickle_value ***list);

/* The value of a text key in a dictionary (the last one set); NULL: none, or not a dictionary. */
mert_pickle_value *mert_pickle_get(const mert_pickle_value *dict, const char *key);
int mert_pickle_is_text(const mert_pickle_value *v, const char *text);
/* 1: v is an OBJECT whose class or function is this, "module.name". */
int mert_pickle_is_of(const mert_pickle_value *v, const char *name);

/* pickle_policy.c: 1 if a pickle that names module.name is refused. */
int mert_pickle_refuses(const char *module, const char *name);

#endif
