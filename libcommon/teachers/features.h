/* What features are: the contract between what made them and what was trained on them (contract S8). */
#ifndef MERT_FEATURES_H
#define MERT_FEATURES_H

#include "formats/error.h"
#include "formats/stream/mts.h"

enum { MERT_RECIPE_MAX = 2048 };

#define MERT_FEATURE_MOST 1e18f /* features lie below: their squares and the sums of those are numbers */

typedef struct mert_features {
    char kind[MTS_KIND_MAX];                /* "" in all: not known */
    int64_t width;                          /* values of a frame */
    int64_t sample_rate;
    int64_t frame_rate_num, frame_rate_den;
    uint64_t model;                         /* hash of the model that made them; 0: none */
    /* the program that made them, and its settings: "mert-mel mfcc=1"; "": not known */
    char recipe[MERT_RECIPE_MAX];
} mert_features;

/* Describes a stream's record. Refuses what is no features: pcm, codes. */
int mert_features_of(mert_features *f, const mts_begin *b, const mts_record *r, mert_error *e) MERT_MUST_USE;

/* Refuses `have` where it is not what `want` says, naming both. What is not known fits everything. any_recipe:
 * settings may differ. */
int mert_features_check(const mert_features *want, const mert_features *have, int any_recipe, mert_error *e)
    MERT_MUST_USE;

/* 1: the rows of x [n, width] are all the same, bit for bit. */
int mert_features_same(const float *x, int64_t n, int64_t width);

/* What stands for the item in keyed random numbers: a hash of its key, which no shard or order changes, nor a manifest
 * that is cut into several or gets more rows. Items that come from no manifest may share a name: their row counts,
 * too. */
uint64_t mert_features_item(const mts_begin *b, const mts_record *r);

/* Features as they come in: what a stage that reads features keeps of its input. Zeroed before the first use. */
typedef struct mert_feature_input {
    mts_begin stream;       /* that the records come from */
    mert_features features; /* of the open record */
    mts_record record;      /* the open record */
    int64_t frame, before;  /* its frames so far; those before the last chunk */
    float *values;
    int64_t room;
} mert_feature_input;

void mert_feature_input_stream(mert_feature_input *in, const mts_begin *b);
int mert_feature_input_begin(mert_feature_input *in, const mts_record *r, mert_error *e) MERT_MUST_USE;
/* The frames of a chunk as float32 [frames, width], the chunk itself where it is that, valid until the next call;
 * NULL where one holds a NaN, an infinity or a value beyond MERT_FEATURE_MOST: the error names the frame. */
const float *mert_feature_input_read(mert_feature_input *in, const void *data, int64_t frames, mert_error *e);
/* The same for a caller who finds such values himself (nearest.h), and what he then says of row `row` of this chunk. */
const float *mert_feature_input_floats(mert_feature_input *in, const void *data, int64_t frames, mert_error *e);
int mert_feature_input_refuse(const mert_feature_input *in, int64_t row, mert_error *e) MERT_MUST_USE;
void mert_feature_input_free(mert_feature_input *in);

/* Frames side by side: rows of n frames each, none used twice; frames at the end that make no whole row are left out.
 * Zeroed before the first use, but for n and width. */
typedef struct mert_stack {
    int64_t n, width;
    int64_t held, kept;     /* frames of a row that is not whole, and where in `rows` they lie */
    float *rows;
    int64_t room;
} mert_stack;

void mert_stack_reset(mert_stack *s); /* an item begins */
/* x [frames, width] -> [*rows, n * width], valid until the next call (x itself where n is 1); NULL: out of memory. */
const float *mert_stack_add(mert_stack *s, const float *x, int64_t frames, int64_t *rows, mert_error *e);
void mert_stack_free(mert_stack *s);

#endif
