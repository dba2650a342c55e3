/* Converts .npy files to records of streams, and records to files. */
#ifndef MERT_NPY_RECORD_H
#define MERT_NPY_RECORD_H

#include "formats/npy.h"
#include "formats/stream/mts.h"

/* Properties of a record that are not in an array. */
typedef struct mert_npy_meaning {
    const char *kind;
    int64_t sample_rate;
    int64_t frame_rate_num, frame_rate_den; /* 0/1: not known; for pcm the sample rate is used */
    const char *classes; /* codes: "1024" for all codebooks, or "1024,500"; NULL: the largest code + 1 */
    int transpose;                          /* the array is [.., T]: swap its two axes */
    int nonfinite;                          /* 1: NaN and infinities are allowed */
} mert_npy_meaning;

/* Describes the array as a record (the caller sets key and row). Element types: floats stay float32 or float16, float64
 * becomes f32; integers the smallest type of a stream that holds them; codes u16, or i32 if a codebook has more than
 * 65536 classes. pcm: [T] or [T, channels] of floats or int16. Codes [T] become [T, 1]. Refused: other arrays of one
 * axis, scalars, more than four axes, codes that are negative or outside their classes, wider integers. */
int mert_npy_record(const mert_npy *a, const mert_npy_meaning *m, mts_record *r, mert_error *e) MERT_MUST_USE;
/* Writes the frames of such a record. Refused: values that are not finite in the record's type (float64 above 3.4e38 is
 * infinite in float32). */
int mert_npy_frames(const mert_npy *a, const mert_npy_meaning *m, const mts_record *r, mts_writer *w, mert_error *e)
    MERT_MUST_USE;

/* The type in a file for a record's elements: the same, but bf16, which NumPy does not have, becomes float32. */
mert_npy_type mert_npy_type_of(mts_dtype t);
int mert_npy_append_frames(mert_npy_writer *w, const mts_record *r, const void *data, int64_t frames, mert_error *e)
    MERT_MUST_USE;

/* Makes a file name, with .npy, from a key: everything but letters, digits, ._-+ and space becomes %XX, and so does a
 * leading dot. A name that is too long is cut and ends with the key's hash. Never empty, no slashes. */
void mert_npy_file_name(char *to, size_t size, const char *key);
/* A key as a path below a folder, with .npy: folders as in the key, and UTF-8 unchanged. Escaped as %XX are '%',
 * control characters, bytes that are not UTF-8, all dots of a part that is "." or "..", and slashes next to an empty
 * part. Parts that become too long are cut as above. To be freed by the caller; NULL: out of memory. */
char *mert_npy_tree_name(const char *key);

#endif
