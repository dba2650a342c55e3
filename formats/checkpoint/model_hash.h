#ifndef MERT_MODEL_HASH_H
#define MERT_MODEL_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Contract S9: XXH64 over the tensors' canonical names (sorted bytewise) and their float32 values: each name with its
 * NUL, then the values little endian. It does not depend on the container of the model. */
typedef struct mert_named_values {
    const char *name;
    const float *values;
    int64_t n;
} mert_named_values;
uint64_t mert_model_hash(const mert_named_values *tensors, size_t n);
/* The same; calls `done` for each tensor when it has been read. */
uint64_t mert_model_hash_each(const mert_named_values *tensors, size_t n,
                              void (*done)(void *self, const mert_named_values *t), void *self);

#endif
