/* Writing model files: safetensors, and torch files. */
#ifndef MERT_MODEL_WRITE_H
#define MERT_MODEL_WRITE_H

#include "formats/json.h"
#include "formats/tensor.h"

/* An F32 tensor with a NaN or an infinity is an error that names the tensor. */

/* Writes by contract F4, tensors in the order given, data aligned to 64 bytes; with the metadata {"format": "pt"},
 * which transformers needs, and the file's checksum (safetensors.c). */
int mert_safetensors_write(const char *path, const mert_tensor_out *tensors, size_t n, mert_error *e) MERT_MUST_USE;
/* The same with more metadata: pairs of name and plain text without quotes. */
int mert_safetensors_write_about(const char *path, const mert_tensor_out *tensors, size_t n,
                                 const char *const (*about)[2], size_t n_about, mert_error *e) MERT_MUST_USE;
/* The same with data that is fetched while writing: fetch returns the data of tensor i, valid until the next call, or
 * NULL on error. */
int mert_safetensors_write_from(const char *path, const mert_tensor_out *tensors, size_t n,
                                const void *(*fetch)(void *arg, size_t i, mert_error *e), void *arg, mert_error *e)
                                MERT_MUST_USE;

/* Writes a torch zip for torch.load, by contract F4. Its value is a dictionary: the entries of `extras` (an object;
 * NULL: none) in order and, under `key`, an OrderedDict of the tensors. Files of more than 4 GiB are refused. */
int mert_torch_write(const char *path, const char *key, const mert_tensor_out *tensors, size_t n,
                     const mert_json *extras, mert_error *e) MERT_MUST_USE;

#endif
