/* For training without a packed pcm stream: runs mert-decode once, which writes one from the manifest. */
#ifndef MERT_PACK_H
#define MERT_PACK_H

#include "formats/index.h"

#include <stdint.h>

/* 1: `path` is a complete packed stream of the manifest with this hash, at this rate; 0: it is missing or something
 * else. */
int mert_pack_fits(const char *path, uint64_t manifest, int64_t sample_rate, mert_index_keeping keeping);

/* Runs `mert-decode --manifest manifest --rate sample_rate`, with its output in `path` (contract F4). mert-decode is
 * searched for beside this program, then in PATH. Items that cannot be decoded are failed records in the stream, and
 * the child prints them. patience: seconds without anything new in the file after which the child counts as hanging,
 * and is killed; the error names the item. 0: for ever. */
int mert_pack_make(const char *path, const char *manifest, int64_t sample_rate, double patience, mert_error *e)
    MERT_MUST_USE;

#endif
