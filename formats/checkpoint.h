/* Model files as users have them, one way to read them all (P2): a HF directory (config.json beside model.safetensors,
 * sharded safetensors with an .index.json, or pytorch_model.bin), a .safetensors, a torch .bin/.pt/.th/.ckpt (zip, or
 * the older single pickle). Nothing in a pickle is ever executed: a strict, bounded reader takes the opcodes and types
 * that tensors and plain configuration values need; anything else is carried as opaque or refused by name. */
#ifndef MERT_CHECKPOINT_H
#define MERT_CHECKPOINT_H

#include "error.h"
#include "json.h"

#include <stddef.h>
#include <stdint.h>

enum { MERT_TENSOR_NDIM_MAX = 8 };

typedef enum mert_element {
    MERT_E_F32, MERT_E_F16, MERT_E_BF16, MERT_E_F64, MERT_E_I64, MERT_E_I32, MERT_E_I16, MERT_E_I8, MERT_E_U8,
    MERT_E_BOOL
} mert_element;
size_t mert_element_size(mert_element t);
const char *mert_element_name(mert_element t); /* "F32", as safetensors writes it */

/* A tensor of a checkpoint. Belongs to the checkpoint. */
typedef struct mert_tensor {
    const char *name;   /* as in the file; nested dictionaries join with dots: "model.encoder.layers.0.fc1.weight" */
    mert_element type;
    int ndim;           /* 0: a scalar */
    int64_t shape[MERT_TENSOR_NDIM_MAX];
    int64_t elements;
    const void *data;   /* mapped or held; contiguous row major, little endian, maybe unaligned */
} mert_tensor;

typedef struct mert_checkpoint mert_checkpoint;

mert_checkpoint *mert_checkpoint_open(const char *path, mert_error *e);
void mert_checkpoint_close(mert_checkpoint *c);

size_t mert_checkpoint_count(const mert_checkpoint *c);
const mert_tensor *mert_checkpoint_tensor(const mert_checkpoint *c, size_t i);
const mert_tensor *mert_checkpoint_find(const mert_checkpoint *c, const char *name); /* NULL: none */
/* The tensor's values as float32 (from f32, f16, bf16, f64 and integers) into to[elements]. */
int mert_tensor_read(const mert_tensor *t, float *to, mert_error *e);

/* All tensors will be read now. */
void mert_checkpoint_expect(const mert_checkpoint *c);
/* These bytes of a tensor will not be read soon: where they lie in a mapped file, their pages may leave memory (they come back when
 * read). */
void mert_checkpoint_forget(const mert_checkpoint *c, const void *data, size_t size);

/* config.json beside the file or in the directory; NULL if there is none. */
const mert_json *mert_checkpoint_config(const mert_checkpoint *c);
/* preprocessor_config.json likewise. */
const mert_json *mert_checkpoint_preprocessor(const mert_checkpoint *c);
/* Everything in a torch file that is no tensor (fairseq: "cfg", "args"), as JSON: dictionaries, lists, numbers,
 * strings; an object of a class as {"__class__": "module.name", ...its attributes}. NULL if there is none. */
const mert_json *mert_checkpoint_extras(const mert_checkpoint *c);
/* "safetensors", "torch zip", "torch pickle", "sharded safetensors", "sharded torch" */
const char *mert_checkpoint_container(const mert_checkpoint *c);
/* Reads everything that the files carry a checksum of (the records of a torch zip: CRC-32; the other containers have
 * none) and compares; *checked_bytes: how much that was. Opening checks only what it must understand. */
int mert_checkpoint_verify(const mert_checkpoint *c, int64_t *checked_bytes, mert_error *e);

/* ---- writing safetensors ---- */

typedef struct mert_tensor_out {
    const char *name;
    mert_element type;
    int ndim;
    int64_t shape[MERT_TENSOR_NDIM_MAX];
    const void *data; /* contiguous, of the type */
} mert_tensor_out;

/* Writes by F4, tensors in the order given, data aligned to 64 bytes; metadata {"format": "pt"} as transformers wants
 * it. */
int mert_safetensors_write(const char *path, const mert_tensor_out *tensors, size_t n, mert_error *e);
/* The same with data that comes when it is written, one tensor after the other: fetch returns that of tensor i, good until
 * the next call; NULL on error. */
int mert_safetensors_write_from(const char *path, const mert_tensor_out *tensors, size_t n,
                                const void *(*fetch)(void *arg, size_t i, mert_error *e), void *arg, mert_error *e);

/* Writes by F4 what torch.load reads: a torch zip whose value is a dictionary, the entries of `extras` (an object;
 * NULL: none) in their order and, under `key`, an OrderedDict of the tensors. Files beyond 4 GiB are refused. */
int mert_torch_write(const char *path, const char *key, const mert_tensor_out *tensors, size_t n,
                     const mert_json *extras, mert_error *e);

/* Contract S9: XXH64 over the tensors' canonical names (sorted bytewise) and their float32 values: each name with its
 * NUL, then the values little endian. The same for every container of the same model. */
typedef struct mert_named_values {
    const char *name;
    const float *values;
    int64_t n;
} mert_named_values;
uint64_t mert_model_hash(const mert_named_values *tensors, size_t n);

#endif
