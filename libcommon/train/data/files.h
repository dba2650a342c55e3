/* What identifies audio in place, so that a run is not resumed with other audio. Packed audio has checksums; files of a
 * million items cannot be read whole at each start. So each file has a state: its size, and XXH64 of its first and last
 * 64 KiB. The states are stored in the folder of the run. A file whose size and times are the stored ones is not read
 * again (its time of change cannot be set, so any writing changes it); of all others the ends are read. A change inside
 * of a larger file that keeps size and ends is not noticed, only that the file was written again: such files are
 * counted as `touched`. A FLAC file has a checksum of its samples in its first block.
 *
 * The file, little endian, all numbers of 8 bytes: "MERTFIL1"; XXH64 of all that follows; the number of rows; then one
 * mert_file_state for each row of all manifests, in their order. A damaged one counts as if there were none. */
#ifndef MERT_CORPUS_FILES_H
#define MERT_CORPUS_FILES_H

#include "libcommon/train/data/corpus.h"

typedef struct mert_file_state {
    int64_t size;        /* bytes of the file, or of the member of a tar file; -1: it cannot be read; -2: not an item */
    int64_t modified[2]; /* of the file or the tar file: seconds, nanoseconds; 0 for size < 0 */
    int64_t changed[2];  /* the same; 0: within the last second, so that another change could have the same time */
    uint64_t ends;       /* XXH64 of the first and last 64 KiB */
} mert_file_state;

/* Looks at the files of all items of a corpus in place, by the pool: sets c->states, c->touched, the `sound` of each
 * part (XXH64 over its items: row, size, ends), and `other`: the key of the first item whose audio is not that of
 * `before`. before: a file of mert_corpus_files_store; NULL, or not there: none. Does nothing for packed audio. */
int mert_corpus_files_look(mert_corpus *c, const char *before, mert_error *e) MERT_MUST_USE;
/* Stores c->states, if there are any, and frees them. */
int mert_corpus_files_store(mert_corpus *c, const char *path, mert_error *e) MERT_MUST_USE;

#endif
