/* From the values of a pickle that torch.save wrote to tensors and plain configuration values; common to both
 * containers. */
#ifndef MERT_TORCH_H
#define MERT_TORCH_H

#include "formats/bytes.h"
#include "formats/checkpoint/container.h"
#include "formats/checkpoint/pickle.h"

/* A storage: the flat array that tensors are views of. */
typedef struct mert_storage {
    const char *key;          /* in the pickle, no NUL */
    size_t key_size;
    int element;              /* mert_dtype; -1: a type that is not read; -2: bytes, typed by each tensor */
    size_t element_size;      /* 0: not known */
    const char *type;         /* "torch.complex64"; of an unknown type its class */
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
/* Bytes of a storage; -1: more than can be. */
int mert_storage_bytes(const mert_storage *s, uint64_t *bytes);

/* Adds the tensor that v = _rebuild_tensor*(...) describes, under this name. 0, -1, or 1: v is no tensor. */
int mert_torch_tensor(mert_checkpoint *c, const mert_storages *s, const mert_pickle_value *v, const char *name,
                      size_t name_size, mert_error *e) MERT_MUST_USE;

/* Walks all values from the root: tensors go to the checkpoint, the rest becomes its extras. pickle_size bounds the
 * work: values that are shared a thousandfold are not unfolded. Errors name the place by its path ("cfg.model"). */
int mert_torch_collect(mert_checkpoint *c, const mert_pickle *p, const mert_storages *s, size_t pickle_size,
                       mert_error *e) MERT_MUST_USE;

#endif
