/* The description of features, by which codebooks and models refuse features that they were not trained on (contract
 * S8). */
#ifndef MERT_FEATURES_H
#define MERT_FEATURES_H

#include "formats/error.h"
#include "formats/stream/mts.h"

enum { MERT_RECIPE_MAX = 2048 };

#define MERT_FEATURE_MOST 1e18f /* the limit of features: squares and their sums must stay finite */

typedef struct mert_features {
    char kind[MTS_KIND_MAX];                /* "": nothing is known */
    int64_t width;                          /* values per frame */
    int64_t sample_rate;
    int64_t frame_rate_num, frame_rate_den;
    uint64_t model;                         /* hash of the model that made them; 0: none */
    /* the program that made them, with its settings: "mert-mel mfcc=1"; "": not known */
    char recipe[MERT_RECIPE_MAX];
} mert_features;

/* Describes a stream's record. Refuses pcm and codes, which are not features. */
int mert_features_of(mert_features *f, const mts_begin *b, const mts_record *r, mert_error *e) MERT_MUST_USE;

/* Refuses `have` if it differs from `want`; the error names both. Unknown fields are not compared. any_recipe: settings
 * may differ. */
int mert_features_check(const mert_features *want, const mert_features *have, int any_recipe, mert_error *e)
    MERT_MUST_USE;

/* 1: all rows of x [n, width] are equal, bit for bit. */
int mert_features_same(const float *x, int64_t n, int64_t width);

/* The item's number for keyed random numbers: a hash of its key. So it does not depend on shards, order, or other rows
 * of the manifest. Without a manifest, items may have equal names, so their row is hashed, too. */
uint64_t mert_features_item(const mts_begin *b, const mts_record *r);

/* The input of a stage that reads features. Zero the structure before the first use. */
typedef struct mert_feature_input {
    mts_begin stream;       /* the current stream */
    mert_features features; /* of the open record */
    mts_record record;      /* the open record */
    int64_t frame, before;  /* its frames so far; its frames before the last chunk */
    float *values;
    int64_t room;
} mert_feature_input;

void mert_feature_input_stream(mert_feature_input *in, const mts_begin *b);
int mert_feature_input_begin(mert_feature_input *in, const mts_record *r, mert_error *e) MERT_MUST_USE;
/* The frames of a chunk as float32 [frames, width] (the chunk itself if it is float32), valid until the next call.
 * NULL: a NaN, an infinity or a value beyond MERT_FEATURE_MOST; the error names the frame. */
const float *mert_feature_input_read(mert_feature_input *in, const void *data, int64_t frames, mert_error *e);
/* _floats: the same without the check, for callers that find such values themselves (nearest.h); _refuse: the error for
 * row `row` of this chunk. */
const float *mert_feature_input_floats(mert_feature_input *in, const void *data, int64_t frames, mert_error *e);
int mert_feature_input_refuse(const mert_feature_input *in, int64_t row, mert_error *e); /* is -1 */
void mert_feature_input_free(mert_feature_input *in);

/* Concatenates frames to rows of n frames each, without overlap; an incomplete row at the end is dropped. Before the
 * first use, set n and width and zero the rest. */
typedef struct mert_stack {
    int64_t n, width;
    int64_t held, kept;     /* number of frames of an incomplete row, and their position in `rows` */
    float *rows;
    int64_t room;
} mert_stack;

void mert_stack_reset(mert_stack *s); /* to be called at the beginning of an item */
/* x [frames, width] -> [*rows, n * width], valid until the next call (for n = 1 x itself); NULL: out of memory. */
const float *mert_stack_add(mert_stack *s, const float *x, int64_t frames, int64_t *rows, mert_error *e);
void mert_stack_free(mert_stack *s);

#endif
