/* Writing model files: safetensors, and what torch.load reads. */
#ifndef MERT_MODEL_WRITE_H
#define MERT_MODEL_WRITE_H

#include "formats/json.h"
#include "formats/tensor.h"

/* F32 tensors with a number that is none (NaN, infinity) are refused by name. */

/* Writes by contract F4, tensors in the order given, data aligned to 64 bytes; metadata {"format": "pt"} as
 * transformers wants it, and the file's checksum (safetensors.c). */
int mert_safetensors_write(const char *path, const mert_tensor_out *tensors, size_t n, mert_error *e) MERT_MUST_USE;
/* The same with more metadata: pairs of name and plain text, without quotes in it. */
int mert_safetensors_write_about(const char *path, const mert_tensor_out *tensors, size_t n,
                                 const char *const (*about)[2], size_t n_about, mert_error *e) MERT_MUST_USE;
/* The same with data that comes when it is written, one tensor after the other: fetch returns that of tensor i, good
 * until the next call; NULL on error. */
int mert_safetensors_write_from(const char *path, const mert_tensor_out *tensors, size_t n,
                                const void *(*fetch)(void *arg, size_t i, mert_error *e), void *arg, mert_error *e)
                                MERT_MUST_USE;

/* Writes by contract F4 what torch.load reads: a torch zip whose value is a dictionary, the entries of `extras` (an
 * object; NULL: none) in their order and, under `key`, an OrderedDict of the tensors. Files beyond 4 GiB are
 * refused. */
int mert_torch_write(const char *path, const char *key, const mert_tensor_out *tensors, size_t n,
                     const mert_json *extras, mert_error *e) MERT_MUST_USE;

#endif
