/* Converts the pickle of a torch file to tensors and plain configuration values; common to both torch containers. */
#ifndef MERT_TORCH_H
#define MERT_TORCH_H

#include "formats/bytes.h"
#include "formats/checkpoint/container.h"
#include "formats/checkpoint/pickle.h"

/* A storage: the flat array that tensors are views of. */
typedef struct mert_storage {
    const char *key;          /* in the pickle, no NUL */
    size_t key_size;
    int element;              /* mert_dtype; -1: a type that is not supported; -2: bytes, typed by each tensor */
    size_t element_size;      /* 0: not known */
    const char *type;         /* "torch.complex64"; for an unknown type its class */
    int64_t numel;
    const unsigned char *data; /* numel * element_size bytes; NULL until the container has found them */
} mert_storage;

typedef struct mert_storages {
    mert_storage *items;      /* sorted by key, each key once */
    size_t n;
} mert_storages;

/* All storages that the pickle refers to, as it describes them; data still NULL. */
int mert_storages_list(mert_storages *s, const mert_pickle *p, mert_error *e) MERT_MUST_USE;
mert_storage *mert_storages_find(const mert_storages *s, const char *key, size_t key_size);
/* The size of a storage in bytes; -1: too large. */
int mert_storage_bytes(const mert_storage *s, uint64_t *bytes);

/* Adds the tensor that v = _rebuild_tensor*(...) describes, under this name. 0, -1, or 1: v is no tensor. */
int mert_torch_tensor(mert_checkpoint *c, const mert_storages *s, const mert_pickle_value *v, const char *name,
                      size_t name_size, mert_error *e) MERT_MUST_USE;

/* Visits all values from the root: tensors are added to the checkpoint, the rest becomes its extras. The work is
 * bounded by pickle_size, so that values which are shared many times cannot be expanded without limit. Errors name the
 * path of the value ("cfg.model"). */
int mert_torch_collect(mert_checkpoint *c, const mert_pickle *p, const mert_storages *s, size_t pickle_size,
                       mert_error *e) MERT_MUST_USE;

#endif
