/* The structure that all container readers fill. Internal to this folder. */
#ifndef MERT_CONTAINER_H
#define MERT_CONTAINER_H

#include "formats/file.h"
#include "formats/json.h"
#include "formats/tensor.h"

/* A part of a file and the checksum that the file has for it: the CRC-32 of a torch zip's record, or the XXH64 of a
 * safetensors file written by mert (safetensors.c). */
typedef struct mert_checked {
    const unsigned char *data;
    size_t size;
    uint64_t sum;
    int ours;         /* 1: XXH64 of a file written by mert */
    const char *name; /* "model.bin: archive/data/17" */
} mert_checked;

typedef struct mert_checkpoint {
    const char *container;
    mert_tensor *tensors;         /* in the order of the file */
    size_t count;
    int64_t room;
    const mert_tensor **sorted;   /* by name; made after the last one is added */
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
/* mert_checkpoint_forget */
void mert_mappings_forget(const mert_checkpoint *c, const void *data, size_t size);
/* Memory that lives as long as the checkpoint; NULL: out of memory. */
void *mert_checkpoint_hold(mert_checkpoint *c, size_t size);
/* Adds a tensor; the name is copied. `elements` is computed: the caller has checked that the product of the shape is
 * representable and that the data are there (mert_shape_bytes). */
int mert_checkpoint_add(mert_checkpoint *c, const char *name, size_t name_size, mert_dtype type, int ndim,
                        const int64_t *shape, const void *data, mert_error *e) MERT_MUST_USE;
/* The same for a tensor whose element type is not supported; type: the file's name of it (copied). */
int mert_checkpoint_add_other(mert_checkpoint *c, const char *name, size_t name_size, const char *type, int ndim,
                              const int64_t *shape, mert_error *e) MERT_MUST_USE;
int mert_checkpoint_add_checked(mert_checkpoint *c, const mert_checked *r, const char *path, mert_error *e)
    MERT_MUST_USE;

/* Fills the error for a file that is not a model file: the message names a git-lfs pointer, a web page or an archive.
 * Always -1. */
int mert_checkpoint_identify(const char *path, const mert_mapping *m, mert_error *e) MERT_MUST_USE;
/* The checksum that a safetensors file written by mert must contain; pages of c's mapping are dropped behind it. */
uint64_t mert_safetensors_sum(const mert_checkpoint *c, const unsigned char *data, size_t size);

/* The containers: each adds the contents of the file to the checkpoint. */
int mert_safetensors_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e) MERT_MUST_USE;
int mert_torch_zip_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e) MERT_MUST_USE;
int mert_torch_legacy_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e) MERT_MUST_USE;

#endif
