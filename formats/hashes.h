/* The file "hashes" of a folder: size and XXH64 of the other files in it. A later reader can check that they are
 * unchanged.
 *
 *     mert-hashes 1
 *     0123456789abcdef 123456 model.safetensors      (a line for each file)
 *     xxh64=fedcba9876543210                         (of the lines before)
 */
#ifndef MERT_HASHES_H
#define MERT_HASHES_H

#include "formats/error.h"

#include <stdint.h>

enum { MERT_HASHES_MAX = 16, MERT_HASHES_NAME_MAX = 64 };

typedef struct mert_hashes {
    struct mert_hashed {
        char name[MERT_HASHES_NAME_MAX];
        uint64_t size, hash;
    } files[MERT_HASHES_MAX];
    int n;
} mert_hashes;

/* Adds a file whose hash the caller knows. */
int mert_hashes_add(mert_hashes *h, const char *name, uint64_t size, uint64_t hash, mert_error *e) MERT_MUST_USE;
/* Adds a file and reads it to compute its hash. */
int mert_hashes_add_file(mert_hashes *h, const char *dir, const char *name, mert_error *e) MERT_MUST_USE;
/* Writes DIR/hashes, by contract F4. */
int mert_hashes_write(const mert_hashes *h, const char *dir, mert_error *e) MERT_MUST_USE;

/* 0: *h has the contents of DIR/hashes; 1: there is no such file; -1: it is damaged. */
int mert_hashes_read(mert_hashes *h, const char *dir, mert_error *e) MERT_MUST_USE;
/* Reads and checks all files that DIR/hashes names. 0: unchanged; 1: there is no DIR/hashes; -1: the error names the
 * file that differs. */
int mert_hashes_check(const char *dir, mert_error *e) MERT_MUST_USE;

#endif
