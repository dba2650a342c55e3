/* Reads the directory of a zip file of torch.save: entries are stored, not compressed, with or without zip64 records
 * and data descriptors. Strict: every number in the directory is checked against the file, the local headers and the
 * other entries before it is used. */
#ifndef MERT_ZIP_H
#define MERT_ZIP_H

#include "formats/error.h"
#include "formats/file.h"

typedef struct mert_zip_entry {
    const char *name;         /* in the mapping, not ended by a NUL */
    size_t name_size;
    const unsigned char *data; /* in the mapping */
    size_t size;
    uint32_t crc;
    uint64_t local;           /* offset of the local header */
} mert_zip_entry;

typedef struct mert_zip {
    mert_zip_entry *entries;  /* sorted by name */
    size_t n;
} mert_zip;

/* Errors name the entry, not the file. */
int mert_zip_read(mert_zip *z, const mert_mapping *m, mert_error *e) MERT_MUST_USE;
void mert_zip_free(mert_zip *z);
const mert_zip_entry *mert_zip_find(const mert_zip *z, const char *name, size_t name_size); /* NULL: none */

#endif
