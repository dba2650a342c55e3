/* Element types and tensors of model files. */
#ifndef MERT_TENSOR_H
#define MERT_TENSOR_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

enum { MERT_TENSOR_NDIM_MAX = 8 };

typedef enum mert_dtype {
    MERT_E_F32, MERT_E_F16, MERT_E_BF16, MERT_E_F64, MERT_E_I64, MERT_E_I32, MERT_E_I16, MERT_E_I8, MERT_E_U8,
    MERT_E_BOOL,
    MERT_E_OTHER /* an element type that is not supported: such a tensor is listed, but has no data */
} mert_dtype;
size_t mert_dtype_size(mert_dtype t);       /* OTHER: 0 */
const char *mert_dtype_name(mert_dtype t); /* "F32", as safetensors writes it */
int mert_dtype_is_real(mert_dtype t);      /* F32, F16, BF16, F64: the types that weights can have */
/* Converts n elements, which may be unaligned, of any type except OTHER to float32. */
void mert_elements_to_floats(mert_dtype type, const void *data, int64_t n, float *to);

/* A tensor of an open file. */
typedef struct mert_tensor {
    const char *name;   /* as in the file; the keys of nested dictionaries are joined by dots:
                           "model.encoder.layers.0.fc1.weight" */
    mert_dtype type;
    int ndim;           /* 0: a scalar */
    int64_t shape[MERT_TENSOR_NDIM_MAX];
    int64_t elements;
    const void *data;   /* mapped, or memory of the checkpoint; contiguous, row major, little endian; may be
                           unaligned */
    const char *other;  /* type OTHER: the file's name of the type, "F8_E4M3", "torch.complex64" */
} mert_tensor;
const char *mert_tensor_type(const mert_tensor *t);
/* Converts the values (f32, f16, bf16, f64, integers) to float32 in to[elements]. Type OTHER is an error that names the
 * type. */
int mert_tensor_read(const mert_tensor *t, float *to, mert_error *e) MERT_MUST_USE;

/* A tensor to write. */
typedef struct mert_tensor_out {
    const char *name;
    mert_dtype type;
    int ndim;
    int64_t shape[MERT_TENSOR_NDIM_MAX];
    const void *data; /* contiguous, of the type */
} mert_tensor_out;

/* -1: the tensor is F32 and has a NaN or an infinity. */
int mert_tensor_out_check(const mert_tensor_out *t, const void *data, mert_error *e) MERT_MUST_USE;

/* Number of elements, and bytes, of a shape; -1 if a dimension is negative or a product does not fit in 63 bits. */
int mert_shape_elements(int ndim, const int64_t *shape, int64_t *elements);
int mert_shape_bytes(int ndim, const int64_t *shape, mert_dtype type, uint64_t *bytes);

/* "[2, 3]"; the last dimensions are left out if there is no room. */
enum { MERT_SHAPE_TEXT = 96 };
void mert_shape_text(char to[MERT_SHAPE_TEXT], int ndim, const int64_t *shape);

#endif
