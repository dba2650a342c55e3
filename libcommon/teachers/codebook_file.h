/* Our own codebooks as files: one .safetensors with the tensors `codebooks.0` ... [V, D] float32, for normalised
 * features `mean` and `scale` [W], where codewords live elsewhere than frames (projected.h) `project.K` [D, S],
 * `project_bias.K` [D] and perhaps `out.K` [S, D], `out_bias.K` [S], S = stack * W; and `config`, JSON text as U8,
 * which says what they are and which features they belong to:
 *
 *     {"type": "kmeans", "classes": 500, "width": 39, "kind": "mfcc", "sample_rate": 16000, "frame_rate": [16000, 160],
 *      "stack": 1, "features": "mert-mel mfcc=1", "features_model": "0000000000000000"}
 *
 * classes and width are V and D. Plain centroids as others have them, a .npy [V, D], are read too; then nothing is
 * known of their features but the width. */
#ifndef MERT_CODEBOOK_FILE_H
#define MERT_CODEBOOK_FILE_H

#include "formats/checkpoint/checkpoint.h"
#include "libcommon/teachers/features.h"

typedef struct mert_codebook {
    /* "kmeans", "rvq", "melrvq", "random"; "kmeans-sums": teachers/kmeans/shard.h */
    char type[16];
    mert_features features; /* what it was trained on */
    int64_t count;          /* codebooks; kmeans: 1 */
    int64_t classes, width; /* V, D of each */
    float *codewords;       /* [count, classes, width] */
    float *mean, *scale;    /* [features.width]: codewords are of (x - mean) * scale; NULL: of x */
    /* Frames that one code stands for (1), and projections to codewords and back (NULL: none); S = stack *
     * features.width */
    int64_t stack;
    float *project, *project_bias; /* [count, width, S], [count, width] */
    float *out, *out_bias;         /* [count, S, width], [count, S] */
    uint64_t hash;          /* contract S9, over all tensors but config */
} mert_codebook;

int mert_codebook_write(mert_codebook *b, const char *path, mert_error *e) MERT_MUST_USE; /* sets the hash */
/* With other tensors behind its own, under another type than its own, if not NULL: what is no codebook, but belongs to
 * one. */
int mert_codebook_write_with(mert_codebook *b, const char *type, const mert_tensor_out *more, size_t n_more,
                             const char *path, mert_error *e) MERT_MUST_USE;
/* Refuses what is no codebook of ours, one that is not what its checksum says, shapes that differ, values that are not
 * finite, a codebook without classes, and one whose classes are all the same. */
int mert_codebook_read(mert_codebook *b, const char *path, mert_error *e) MERT_MUST_USE;
/* The same from an open checkpoint. */
int mert_codebook_from(mert_codebook *b, const mert_checkpoint *c, mert_error *e) MERT_MUST_USE;
void mert_codebook_free(mert_codebook *b);

/* Sets mean and scale (1 / deviation; 1 where a dimension is constant) from x [n, width], and brings x there. */
int mert_codebook_normalise(mert_codebook *b, float *x, int64_t n, mert_error *e) MERT_MUST_USE;
/* Features normalised, and back (in place). */
void mert_codebook_to_words(const mert_codebook *b, const float *x, int64_t n, float *z);
void mert_codebook_from_words(const mert_codebook *b, float *z, int64_t n);

#endif
