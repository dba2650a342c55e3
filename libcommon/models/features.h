/* What features are: the contract between what made them and what was trained on them (S8). */
#ifndef MERT_FEATURES_H
#define MERT_FEATURES_H

#include "../../formats/error.h"
#include "../../formats/stream/mts.h"

enum { MERT_RECIPE_MAX = 2048 };

typedef struct mert_features {
    char kind[MTS_KIND_MAX];                /* "" in all: not known */
    int64_t width;                          /* values of a frame */
    int64_t sample_rate;
    int64_t frame_rate_num, frame_rate_den;
    uint64_t model;                         /* hash of the model that made them; 0: none */
    char recipe[MERT_RECIPE_MAX];           /* the program that made them, and its settings: "mert-mel mfcc=1"; "": not known */
} mert_features;

/* Describes a stream's record. Refuses what is no features: pcm, codes. */
int mert_features_of(mert_features *f, const mts_begin *b, const mts_record *r, mert_error *e);

/* Refuses `have` where it is not what `want` says, naming both. What is not known fits everything. any_recipe: settings may differ. */
int mert_features_check(const mert_features *want, const mert_features *have, int any_recipe, mert_error *e);

/* The line of a provenance that made the features, without the version: the last one that is not mert-tensor's, which only carries
 * things, and without the settings that do not matter (dtype, device). */
void mert_features_recipe(char recipe[MERT_RECIPE_MAX], const char *provenance);

/* `frames` steps of a record as float32: to[frames * width]. */
int mert_features_read(const mts_record *r, const void *data, int64_t frames, float *to, mert_error *e);

/* What stands for the item in keyed random numbers: its manifest row, or a hash of its key. */
uint64_t mert_features_item(const mts_record *r);

#endif
