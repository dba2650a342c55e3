/* NAME.index beside a file NAME: facts about it that take long to find out, stored for later programs.
 *
 *     mert_index x;
 *     int got = mert_index_get(&x, "train.km", ".index", "labels", 0, 3, MERT_INDEX_KEEP, find_out, arg, &e);
 *     rows = mert_index_section(&x, 1, &bytes);
 *     mert_index_close(&x);
 *
 * An index is mapped, so that the processes of a machine share it. It is made again if it is missing, damaged, of
 * another version, or of another state of the file. The state is compared by size, time of modification and time of
 * change (which cannot be set), and by `context`: a hash of everything else that the index depends on. One process
 * makes it while the others wait. If it cannot be written (read-only folder, full disk), it stays in memory.
 *
 * The file, little endian, all numbers of 8 bytes:
 *
 *     bytes 0..7    "MERTIDX1"
 *     8..15         what it is an index of, filled up with zeros: "labels", "stream", "items"
 *     16            bytes of the whole index
 *     24            XXH64 of all that follows
 *     32, 40, 48    of the file: its size, time of modification in seconds and nanoseconds
 *     56, 64        of the file: time of change
 *     72            context
 *     80            number of sections, and for each from 88 on: where it begins (a multiple of 8), how many bytes
 *
 * What the sections hold: formats/labels/index.h, libcommon/train/data/records.h and part.h. */
#ifndef MERT_INDEX_H
#define MERT_INDEX_H

#include "formats/file.h"

enum { MERT_INDEX_SECTIONS = 8 };

typedef struct mert_index {
    mert_mapping mapping; /* of NAME.index ... */
    unsigned char *made;  /* ... or the same bytes in memory */
} mert_index;

/* A section that a maker filled in. data: allocated by the maker, freed by mert_index_get. */
typedef struct mert_index_part {
    void *data;
    size_t bytes;
} mert_index_part;

/* Fills in the parts of all sections. *worth: set to 0 if it is so quick that no index file should be written. */
typedef int mert_index_maker(void *arg, mert_index_part *parts, int *worth, mert_error *e);

typedef enum mert_index_keeping { MERT_INDEX_KEEP, MERT_INDEX_FORGET } mert_index_keeping; /* FORGET: write nothing */

/* The index of a regular file, mapped or made. suffix: of the index, ".index" or, of a further one, ".WORD.index". */
int mert_index_get(mert_index *x, const char *file, const char *suffix, const char *kind, uint64_t context,
                   int sections, mert_index_keeping keeping, mert_index_maker *make, void *arg, mert_error *e)
                   MERT_MUST_USE;
const void *mert_index_section(const mert_index *x, int i, size_t *bytes);
/* Lets the kernel release the mapped pages that were read; they are read again when needed. */
void mert_index_rest(const mert_index *x);
void mert_index_close(mert_index *x); /* a zeroed one is fine */

#endif
