/* Codebook files: a .safetensors with the tensors `codebooks.0` ... [V, D] float32; for normalised features `mean` and
 * `scale` [W]; if codewords are in a projected space (projected.h), `project.K` [D, S], `project_bias.K` [D] and
 * optionally `out.K` [S, D], `out_bias.K` [S], with S = stack * W; and `config`, JSON text as U8, which describes the
 * codebooks and their features:
 *
 *     {"type": "kmeans", "codebooks": 1, "classes": 500, "width": 39, "kind": "mfcc", "sample_rate": 16000,
 *      "frame_rate": [16000, 160], "stack": 1, "features": "mert-mel mfcc=1", "features_model": "0000000000000000"}
 *
 * classes and width are V and D. A file that has other numbers of codebooks, classes or values than its config says,
 * or parts of more codebooks than it has, is refused as damaged ("codebooks" may be missing). A finite scalar
 * quantiser (rvq/fsq.h) has no codewords: `levels` [D] are whole numbers whose product is V, and its encoders and
 * decoders are `hidden.K` [H, S], `hidden_bias.K` [H], `project.K` [D, H], `project_bias.K` [D], `expand.K` [H, D],
 * `expand_bias.K` [H], `out.K` [S, H], `out_bias.K` [S]; a random one has only `project.K` [D, S] and
 * `project_bias.K`. Plain centroids in a .npy [V, D] can be read, too; then only the width of their features is
 * known. */
#ifndef MERT_CODEBOOK_FILE_H
#define MERT_CODEBOOK_FILE_H

#include "formats/checkpoint/checkpoint.h"
#include "libcommon/teachers/features.h"

/* Of a finite scalar quantiser: the most levels together, as codes are numbers of their combinations. */
enum { MERT_FSQ_WIDTH_MAX = 16, MERT_FSQ_CLASSES_MAX = 1 << 20 };

typedef struct mert_codebook {
    /* "kmeans", "rvq", "melrvq", "random", "fsq", "random-fsq"; "kmeans-sums": teachers/kmeans/shard.h */
    char type[16];
    mert_features features; /* features that it was trained on */
    int64_t count;          /* codebooks; kmeans: 1 */
    int64_t classes, width; /* V, D of each */
    struct {
        int64_t count, classes, width;
    } stated;               /* the same, as the config of the file says; 0: it does not */
    float *codewords;       /* [count, classes, width]; NULL: a finite scalar quantiser */
    float *mean, *scale;    /* [features.width]: codewords are for (x - mean) * scale; NULL: for x */
    /* Frames per code (1), and projections to the space of codewords and back (NULL: none); S = stack *
     * features.width */
    int64_t stack;
    float *project, *project_bias; /* [count, width, S], [count, width] */
    float *out, *out_bias;         /* [count, S, width], [count, S] */
    /* A finite scalar quantiser, levels[0] > 0. hidden > 0 is H: then project is [count, width, H], out [count, S, H],
     * and there are hidden layers. */
    int levels[MERT_FSQ_WIDTH_MAX];    /* [width], each at least 2 */
    int64_t hidden;
    float *hidden_in, *hidden_in_bias; /* [count, H, S], [count, H] */
    float *expand, *expand_bias;       /* [count, H, width], [count, H] */
    uint64_t hash;          /* contract S9, over all tensors except config */
} mert_codebook;

/* Levels as text, "8,5,5,5", to levels, width and classes of b. */
int mert_codebook_levels(mert_codebook *b, const char *text, mert_error *e) MERT_MUST_USE;

int mert_codebook_write(mert_codebook *b, const char *path, mert_error *e) MERT_MUST_USE; /* sets the hash */
/* Writes a codebook with more tensors after its own and, if not NULL, another type: for files that are based on a
 * codebook. */
int mert_codebook_write_with(mert_codebook *b, const char *type, const mert_tensor_out *more, size_t n_more,
                             const char *path, mert_error *e) MERT_MUST_USE;
/* Refuses other files, a wrong checksum, inconsistent shapes, values that are not finite, a codebook without classes,
 * and one whose codewords are all equal. */
int mert_codebook_read(mert_codebook *b, const char *path, mert_error *e) MERT_MUST_USE;
/* The same from an open checkpoint. */
int mert_codebook_from(mert_codebook *b, const mert_checkpoint *c, mert_error *e) MERT_MUST_USE;
void mert_codebook_free(mert_codebook *b);

/* Sets mean and scale (1 / deviation; 1 if a dimension is constant) from x [n, width], and normalises x. */
int mert_codebook_normalise(mert_codebook *b, float *x, int64_t n, mert_error *e) MERT_MUST_USE;
/* Normalises features, and back (in place). */
void mert_codebook_to_words(const mert_codebook *b, const float *x, int64_t n, float *z);
void mert_codebook_from_words(const mert_codebook *b, float *z, int64_t n);

#endif
