/* Arrays of .npy files as records of streams, and records as files. */
#ifndef MERT_NPY_RECORD_H
#define MERT_NPY_RECORD_H

#include "formats/npy.h"
#include "formats/stream/mts.h"

/* What an array does not say of itself. */
typedef struct mert_npy_meaning {
    const char *kind;
    int64_t sample_rate;
    int64_t frame_rate_num, frame_rate_den; /* 0/1: not known; pcm has its sample rate */
    const char *classes; /* codes: "1024" for all codebooks, or "1024,500"; NULL: the largest + 1 */
    int transpose;                          /* the array is [.., T]: its two axes are swapped */
    int nonfinite;                          /* NaN and infinities are written as they are; else refused */
} mert_npy_meaning;

/* Describes the array as a record (key and row are the caller's). Element types: floats stay float32 or float16,
 * float64 becomes f32; integers the smallest type of a stream that holds them; codes u16, or i32 where a codebook has
 * more than 65536 classes. pcm: [T] or [T, channels] of floats or int16. Codes [T] become [T, 1]. Refused: other arrays
 * of one axis, scalars, more than four axes, codes that are negative or outside their classes, wider integers. */
int mert_npy_record(const mert_npy *a, const mert_npy_meaning *m, mts_record *r, mert_error *e) MERT_MUST_USE;
/* Writes the frames of such a record. Refused: what is no finite number as the record's type (float64 beyond 3.4e38 is
 * none as float32). */
int mert_npy_frames(const mert_npy *a, const mert_npy_meaning *m, const mts_record *r, mts_writer *w, mert_error *e)
    MERT_MUST_USE;

/* The type in which a record's elements are kept in a file: bf16, which NumPy does not have, becomes float32. */
mert_npy_type mert_npy_type_of(mts_dtype t);
int mert_npy_append_frames(mert_npy_writer *w, const mts_record *r, const void *data, int64_t frames, mert_error *e)
    MERT_MUST_USE;

/* A key as the name of a file within one folder, with .npy: everything but letters, digits and ._-+ and space becomes
 * %XX, so does a leading dot; a name that grows too long is cut and ends in the key's hash. Never empty, never with a
 * slash. */
void mert_npy_file_name(char *to, size_t size, const char *key);

#endif
