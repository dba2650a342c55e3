/* What the readers of the containers share: a checkpoint while it is being filled. */
#ifndef MERT_CONTAINER_H
#define MERT_CONTAINER_H

#include "element.h"
#include "file.h"
#include "json.h"

/* A piece of a file with the CRC-32 that the file says it has (torch zip records). */
typedef struct mert_checked {
    const unsigned char *data;
    size_t size;
    uint32_t crc;
    const char *name; /* "model.bin: archive/data/17" */
} mert_checked;

typedef struct mert_checkpoint {
    const char *container;
    mert_tensor *tensors;         /* in the order of the file */
    size_t count, room;
    const mert_tensor **sorted;   /* by name, made when all are there */
    mert_mapping *mappings;
    size_t nmappings;
    mert_checked *checked;
    size_t nchecked, checked_room;
    void **held;                  /* memory that lives as long as the checkpoint */
    size_t nheld, held_room;
    size_t gathered, gather_max;  /* bytes of non-contiguous tensors copied so far; at most what the files hold */
    mert_json *config, *preprocessor, *extras;
} mert_checkpoint;

/* A mapping that lives as long as the checkpoint. Refuses an empty file. */
int mert_checkpoint_map(mert_checkpoint *c, const char *path, mert_mapping *m, mert_error *e);
/* Memory that lives as long as the checkpoint; NULL: out of memory. */
void *mert_checkpoint_hold(mert_checkpoint *c, size_t size);
/* Adds a tensor; the name is copied. `elements` is computed: the caller has checked that the product of the shape is
 * representable and that the data are there (mert_shape_bytes). */
int mert_checkpoint_add(mert_checkpoint *c, const char *name, size_t name_size, mert_element type, int ndim,
                        const int64_t *shape, const void *data, mert_error *e);
int mert_checkpoint_add_checked(mert_checkpoint *c, const mert_checked *r, const char *path, mert_error *e);

/* The containers: what they find in the file goes into the checkpoint. */
int mert_safetensors_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e);
int mert_torch_zip_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e);
int mert_torch_legacy_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e);

#endif
