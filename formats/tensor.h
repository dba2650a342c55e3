/* Numbers and tensors as model files hold them. */
#ifndef MERT_TENSOR_H
#define MERT_TENSOR_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

enum { MERT_TENSOR_NDIM_MAX = 8 };

typedef enum mert_dtype {
    MERT_E_F32, MERT_E_F16, MERT_E_BF16, MERT_E_F64, MERT_E_I64, MERT_E_I32, MERT_E_I16, MERT_E_I8, MERT_E_U8,
    MERT_E_BOOL,
    MERT_E_OTHER /* of a type that is not read: such a tensor may stand in a file, and has no data here */
} mert_dtype;
size_t mert_dtype_size(mert_dtype t);       /* OTHER: 0 */
const char *mert_dtype_name(mert_dtype t); /* "F32", as safetensors writes it */
int mert_dtype_is_real(mert_dtype t);      /* F32, F16, BF16, F64: what weights are made of */

/* A tensor of a file that is open. */
typedef struct mert_tensor {
    const char *name;   /* as in the file; nested dictionaries join with dots: "model.encoder.layers.0.fc1.weight" */
    mert_dtype type;
    int ndim;           /* 0: a scalar */
    int64_t shape[MERT_TENSOR_NDIM_MAX];
    int64_t elements;
    const void *data;   /* mapped or held; contiguous row major, little endian, maybe unaligned */
    const char *other;  /* type OTHER: what the file calls its elements, "F8_E4M3", "torch.complex64" */
} mert_tensor;
const char *mert_tensor_type(const mert_tensor *t);
/* The tensor's values as float32 (from f32, f16, bf16, f64 and integers) into to[elements]. Those of type OTHER are
 * refused by name. */
int mert_tensor_read(const mert_tensor *t, float *to, mert_error *e) MERT_MUST_USE;

/* A tensor to be written. */
typedef struct mert_tensor_out {
    const char *name;
    mert_dtype type;
    int ndim;
    int64_t shape[MERT_TENSOR_NDIM_MAX];
    const void *data; /* contiguous, of the type */
} mert_tensor_out;

/* -1: among its numbers, if they are F32, is one that is none, a NaN or an infinity. */
int mert_tensor_out_check(const mert_tensor_out *t, const void *data, mert_error *e) MERT_MUST_USE;

/* Number of elements, and bytes, of a shape; -1 if a dimension is negative or a product does not fit in 63 bits. */
int mert_shape_elements(int ndim, const int64_t *shape, int64_t *elements);
int mert_shape_bytes(int ndim, const int64_t *shape, mert_dtype type, uint64_t *bytes);

/* "[2, 3]"; dimensions at the end for which there is no room are left out. */
enum { MERT_SHAPE_TEXT = 96 };
void mert_shape_text(char to[MERT_SHAPE_TEXT], int ndim, const int64_t *shape);

#endif
