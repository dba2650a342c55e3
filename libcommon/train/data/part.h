/* A part of a corpus: a manifest and the labels of its rows, and what its codebooks are. A corpus has one, or one for
 * each of its shards. */
#ifndef MERT_CORPUS_PART_H
#define MERT_CORPUS_PART_H

#include "formats/error.h"
#include "formats/labels/labels.h"
#include "formats/labels/manifest.h"
#include "formats/stream/mts.h"
#include "libcommon/models/config.h"
#include "libcommon/train/data/codes.h"

#include <stdint.h>
#include <stdio.h>

typedef struct mert_corpus_config {
    int64_t sample_rate, stride;
    int codebooks;          /* how many to take; 0: all there are */
    int64_t classes;        /* of labels that have no .meta file; 0: then they are refused */
    double label_rate;      /* 0: what the .meta files say, else sample_rate / stride */
    double label_tolerance; /* seconds by which an item's labels and audio may differ in length */
    int jitter;             /* crops begin at any sample, not on the grid of frames */
    int shards;             /* above 1: every item belongs to one of so many shards */
    int unpacked;           /* there is no packed audio yet: lengths are the manifest's, and nothing can be heard */
} mert_corpus_config;

/* A manifest and its labels. */
typedef struct mert_corpus_part {
    mert_manifest manifest;
    char *path; /* the manifest's */
    mert_labels *labels; /* [K]; of codebooks in a stream of codes no more than name and meta ... */
    struct mert_corpus_column {
        mert_codes *codes; /* ... and where they are; NULL: in labels */
        int column, owner; /* owner: it is the first column's to close */
        mts_xxh64_state sum; /* of the items' labels, as classes (mert_run_inputs) */
    } *columns;              /* [K] */
    int64_t first;       /* rows of the parts before */
} mert_corpus_part;

typedef struct mert_codebook_labels {
    const char *path; /* of its (first) label file */
    int verified;     /* a .meta stood beside each of its files */
    mert_labels_meta meta;
    int64_t classes;
    int64_t rate_num, rate_den; /* labels per second */
    int64_t *counts;            /* [classes]: how often each label occurs in the items */
    int64_t total;              /* of counts */
} mert_codebook_labels;

/* The name with _shard_shards behind the last "train" of its file name, to be freed. NULL: it has none, or no
 * memory. */
char *mert_shard_name(const char *name, int shard, int shards);
int mert_shards_apart(const char *manifest, int shards); /* 1: the shards have manifests of their own */

/* Reads the manifest, opens its labels and checks that they are its. p: zeroed, to be closed in any case. labels: as
 * mert_corpus_open has them; shard: which of the shards' files; -1: those of the names as they are. codebooks
 * [MERT_CODEBOOKS_MAX] and *K: where *K is 0 this part says what the codebooks are, else it must have the same. */
int mert_corpus_part_open(mert_corpus_part *p, const mert_corpus_config *config, const char *manifest,
                          const char *const *labels, int nlabels, int shard, mert_codebook_labels *codebooks, int *K,
                          mert_error *e) MERT_MUST_USE;
void mert_corpus_part_close(mert_corpus_part *p);

/* Labels of a row as they stand: how many (0: it failed), and some of them. */
int64_t mert_corpus_part_count(const mert_corpus_part *p, int k, int64_t row);
int mert_corpus_part_read(const mert_corpus_part *p, int k, int64_t row, int64_t first, int64_t n, int32_t *to,
                          mert_error *e) MERT_MUST_USE;

#endif
