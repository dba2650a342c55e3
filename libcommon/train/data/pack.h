/* Training without a packed pcm stream at hand: mert-decode is started as a child once and writes one from the
 * manifest. */
#ifndef MERT_PACK_H
#define MERT_PACK_H

#include "formats/error.h"

#include <stdint.h>

/* 1: `path` is a whole packed stream of the manifest with that hash at that rate; 0: it is not there, or of something
 * else. */
int mert_pack_fits(const char *path, uint64_t manifest, int64_t sample_rate);

/* Runs `mert-decode --manifest manifest --rate sample_rate` with its output going to `path` (contract F4). mert-decode
 * is looked for beside this program, then on PATH. Items that cannot be decoded are in the stream as failed, and said
 * by the child. */
int mert_pack_make(const char *path, const char *manifest, int64_t sample_rate, mert_error *e) MERT_MUST_USE;

#endif
