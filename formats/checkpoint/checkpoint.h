/* Reads model files of all supported types (contract P2): a HF directory (config.json beside model.safetensors, sharded
 * safetensors with an .index.json, or pytorch_model.bin), a .safetensors, a torch .bin/.pt/.th/.ckpt (zip, or the older
 * single pickle). Nothing in a pickle is ever executed: a strict, bounded reader handles the opcodes and types that
 * tensors and plain configuration values need; anything else is kept as an opaque value or refused by name. */
#ifndef MERT_CHECKPOINT_H
#define MERT_CHECKPOINT_H

#include "formats/json.h"
#include "formats/tensor.h"

typedef struct mert_checkpoint mert_checkpoint;

mert_checkpoint *mert_checkpoint_open(const char *path, mert_error *e);
void mert_checkpoint_close(mert_checkpoint *c);

size_t mert_checkpoint_count(const mert_checkpoint *c);
const mert_tensor *mert_checkpoint_tensor(const mert_checkpoint *c, size_t i);
const mert_tensor *mert_checkpoint_find(const mert_checkpoint *c, const char *name); /* NULL: none */

/* Announces that all tensors will be read now. */
void mert_checkpoint_expect(const mert_checkpoint *c);
/* Announces that these bytes of a tensor will not be read soon: if they are in a mapped file, the system may drop their
 * pages from memory (they are read again on the next access). */
void mert_checkpoint_forget(const mert_checkpoint *c, const void *data, size_t size);

/* config.json beside the file or in the directory; NULL if there is none. */
const mert_json *mert_checkpoint_config(const mert_checkpoint *c);
/* preprocessor_config.json and processor_config.json likewise. */
const mert_json *mert_checkpoint_preprocessor(const mert_checkpoint *c);
const mert_json *mert_checkpoint_processor(const mert_checkpoint *c);
/* Everything in a torch file that is not a tensor (fairseq: "cfg", "args"), as JSON: dictionaries, lists, numbers,
 * strings; an object of a class as {"__class__": "module.name", ...its attributes}. NULL if there is none. */
const mert_json *mert_checkpoint_extras(const mert_checkpoint *c);
/* "safetensors", "torch zip", "torch pickle", "sharded safetensors", "sharded torch" */
const char *mert_checkpoint_container(const mert_checkpoint *c);
/* Reads and compares everything that has a checksum in the files (the records of a torch zip: CRC-32; safetensors files
 * written by mert: XXH64 of the whole); *checked_bytes: their size. mert_checkpoint_open checks only the parts that it
 * has to parse, and, for a model written by mert, that config.json and preprocessor_config.json are unchanged (unless
 * the object has "mert_edited": true). */
int mert_checkpoint_verify(const mert_checkpoint *c, int64_t *checked_bytes, mert_error *e) MERT_MUST_USE;
/* The same for files written by mert only: for callers that read all of them anyway. */
int mert_checkpoint_check_own(const mert_checkpoint *c, mert_error *e) MERT_MUST_USE;

#endif
