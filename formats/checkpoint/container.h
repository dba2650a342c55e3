/* What the readers of the containers share: a checkpoint while it is being filled. */
#ifndef MERT_CONTAINER_H
#define MERT_CONTAINER_H

#include "formats/file.h"
#include "formats/json.h"
#include "formats/tensor.h"

/* A piece of a file with the checksum that the file says it has: the CRC-32 of a torch zip's records, or the XXH64 of
 * a safetensors file of our own (safetensors.c). */
typedef struct mert_checked {
    const unsigned char *data;
    size_t size;
    uint64_t sum;
    int ours;         /* XXH64 of a file of our own */
    const char *name; /* "model.bin: archive/data/17" */
} mert_checked;

typedef struct mert_checkpoint {
    const char *container;
    mert_tensor *tensors;         /* in the order of the file */
    size_t count;
    int64_t room;
    const mert_tensor **sorted;   /* by name, made when all are there */
    mert_mapping *mappings;
    size_t nmappings;
    mert_checked *checked;
    size_t nchecked;
    int64_t checked_room;
    void **held;                  /* memory that lives as long as the checkpoint */
    size_t nheld;
    int64_t held_room;
    size_t gathered, gather_max;  /* bytes of non-contiguous tensors copied so far; at most what the files hold */
    mert_json *config, *preprocessor, *processor, *extras, *about; /* about: __metadata__ of a safetensors file */
} mert_checkpoint;

/* A mapping that lives as long as the checkpoint. Refuses an empty file. */
int mert_checkpoint_map(mert_checkpoint *c, const char *path, mert_mapping *m, mert_error *e) MERT_MUST_USE;
/* Memory that lives as long as the checkpoint; NULL: out of memory. */
void *mert_checkpoint_hold(mert_checkpoint *c, size_t size);
/* Adds a tensor; the name is copied. `elements` is computed: the caller has checked that the product of the shape is
 * representable and that the data are there (mert_shape_bytes). */
int mert_checkpoint_add(mert_checkpoint *c, const char *name, size_t name_size, mert_dtype type, int ndim,
                        const int64_t *shape, const void *data, mert_error *e) MERT_MUST_USE;
/* Likewise one of elements that are not read, whose type is called this (copied). */
int mert_checkpoint_add_other(mert_checkpoint *c, const char *name, size_t name_size, const char *type, int ndim,
                              const int64_t *shape, mert_error *e) MERT_MUST_USE;
int mert_checkpoint_add_checked(mert_checkpoint *c, const mert_checked *r, const char *path, mert_error *e)
    MERT_MUST_USE;

/* A file that none of them is, refused: a git-lfs pointer, a web page, an archive are named as such. -1 always. */
int mert_checkpoint_identify(const char *path, const mert_mapping *m, mert_error *e) MERT_MUST_USE;
/* The sum that a safetensors file of our own should say of itself. */
uint64_t mert_safetensors_sum(const unsigned char *data, size_t size);

/* The containers: what they find in the file goes into the checkpoint. */
int mert_safetensors_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e) MERT_MUST_USE;
int mert_torch_zip_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e) MERT_MUST_USE;
int mert_torch_legacy_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e) MERT_MUST_USE;

#endif
