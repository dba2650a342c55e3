/* NumPy's .npy files: one array with its type and shape (numpy.lib.format, versions 1.0 and 2.0). Little endian; row
 * major after opening.
 *
 *     mert_npy a;
 *     if (mert_npy_open(&a, "features.npy", e)) return -1;    // mapped, not read: memory stays small
 *     if (a.ndim != 2) ...                                    // [n, D]
 *     float *x = mert_npy_floats(&a, e);
 *     mert_npy_close(&a);
 *
 * The header is checked against the file's size before anything is allocated. An array in Fortran order (NumPy saves
 * transposed arrays so) is copied into row-major order when it is opened; all others are mapped. Errors name what is
 * refused: big endian, complex, text and object arrays, and files that are shorter or longer than their header says. */
#ifndef MERT_NPY_H
#define MERT_NPY_H

#include "formats/error.h"
#include "formats/file.h"

#include <stddef.h>
#include <stdint.h>

enum { MERT_NPY_NDIM_MAX = 8 };

typedef enum mert_npy_type {
    MERT_NPY_F32, MERT_NPY_F16, MERT_NPY_F64, MERT_NPY_I16, MERT_NPY_U16, MERT_NPY_I32, MERT_NPY_I64, MERT_NPY_I8,
    MERT_NPY_U8, MERT_NPY_BOOL, MERT_NPY_TYPES
} mert_npy_type;
size_t mert_npy_type_size(mert_npy_type t);
const char *mert_npy_type_name(mert_npy_type t); /* NumPy's name: "float32" */
int mert_npy_type_is_integer(mert_npy_type t);   /* 1 for bool, too */

typedef struct mert_npy {
    mert_npy_type type;
    int ndim;                         /* 0: a scalar */
    int64_t shape[MERT_NPY_NDIM_MAX];
    int64_t elements;
    const unsigned char *data;        /* elements of the type; may be unaligned; NULL if there are none */
    mert_mapping mapping;
    unsigned char *row_major;         /* row-major copy of an array in Fortran order, = data; else NULL */
} mert_npy;

int mert_npy_open(mert_npy *a, const char *path, mert_error *e) MERT_MUST_USE;
void mert_npy_close(mert_npy *a);

/* Elements [first, first + n) as float32 (rounded to nearest), or as int64 (integers only: 0, or -1 for others). */
void mert_npy_to_floats(const mert_npy *a, int64_t first, int64_t n, float *to);
int mert_npy_to_ints(const mert_npy *a, int64_t first, int64_t n, int64_t *to);
/* All elements in new memory, to be freed by the caller; not NULL for 0 elements. */
float *mert_npy_floats(const mert_npy *a, mert_error *e);

/* ---- writing: version 1.0, by contract F4 ---- */

typedef struct mert_npy_writer mert_npy_writer;

/* shape[0] may be -1: then it is computed from the number of elements appended. */
mert_npy_writer *mert_npy_create(const char *path, mert_npy_type type, int ndim, const int64_t *shape, mert_error *e);
/* data: elements of the type */
int mert_npy_append(mert_npy_writer *w, const void *data, int64_t elements, mert_error *e) MERT_MUST_USE;
/* Removes what was appended after the first `elements`. */
int mert_npy_rewind(mert_npy_writer *w, int64_t elements, mert_error *e) MERT_MUST_USE;
/* Checks that all elements came, writes the header, renames the file into place. Frees w in any case. */
int mert_npy_commit(mert_npy_writer *w, mert_error *e) MERT_MUST_USE;
void mert_npy_abandon(mert_npy_writer *w); /* NULL is fine */

#endif
