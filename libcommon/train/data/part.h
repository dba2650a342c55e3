/* A part of a corpus: a manifest, the labels of its rows, and the description of its codebooks. A corpus has one part,
 * or one for each shard. */
#ifndef MERT_CORPUS_PART_H
#define MERT_CORPUS_PART_H

#include "formats/error.h"
#include "formats/labels/index.h"
#include "formats/labels/labels.h"
#include "formats/labels/manifest.h"
#include "formats/stream/mts.h"
#include "libcommon/models/config/config.h"
#include "libcommon/train/data/codes.h"

#include <stdint.h>
#include <stdio.h>

typedef struct mert_corpus_config {
    int64_t sample_rate, stride;
    int codebooks;          /* how many to use; 0: all */
    int64_t classes;        /* of labels without a .meta file; 0: such labels are refused */
    double label_rate;      /* 0: from the .meta files, or else sample_rate / stride */
    double label_tolerance; /* the largest difference in length between an item's labels and audio, in seconds */
    int jitter;             /* 1: crops begin at any sample, not only at multiples of the stride */
    int shards;             /* > 1: number of shards of the items */
    int unpacked;           /* 1: there is no packed audio yet: lengths are those of the manifest, and audio cannot be
                               read */
    int in_place;           /* 1: audio is decoded from the manifests' own files when it is needed (decoders.h); lengths
                               are those of the manifest, which was made for this sample rate */
    double patience;        /* audio in place: seconds that a decoder may be silent (decoders.h); 0: for ever */
    int64_t bad_max;        /* up to so many rows with bad labels are left out, more are an error; -1: bad_percent */
    double bad_percent;     /* the same in percent of the rows */
    mert_index_keeping keeping; /* of indexes that have to be made */
} mert_corpus_config;

/* Tells which rows of a part are items: begin(arg), then is(arg, row) for each row in order. */
typedef struct mert_corpus_rows {
    void (*begin)(void *arg);
    int (*is)(void *arg, int64_t row);
    void *arg;
} mert_corpus_rows;

/* A manifest and its labels. */
typedef struct mert_corpus_part {
    mert_manifest manifest;
    char *path; /* of the manifest */
    mert_labels *labels; /* [K]; only name and meta for codebooks in a stream of codes */
    struct mert_corpus_column {
        mert_codes *codes; /* the stream of codes; NULL: in labels */
        int column, owner; /* owner: this column closes the stream */
        int64_t reads;     /* number of reads, which decides when pages of the file are released */
        uint64_t sum;      /* XXH64 of the items' labels as classes: for each item their number (8 bytes), then the
                              labels (4 bytes each) */
    } *columns;            /* [K] */
    uint64_t sound;        /* XXH64 over the items: number of samples, XXH64 of the samples (8 bytes each). Of audio in
                              place: see files.h */
    const char *other;     /* audio in place: the first item whose file is another than before (files.h); NULL: none */
    int gone;              /* 1: it cannot be read */
    int64_t items;         /* number of rows that are items */
    int64_t first;         /* number of rows in earlier parts */
} mert_corpus_part;

typedef struct mert_codebook_labels {
    const char *path; /* path of its (first) label file */
    int verified;     /* each of its files has a .meta */
    mert_labels_meta meta;
    int64_t classes;
    int64_t rate_num, rate_den; /* labels per second */
    int64_t *counts;            /* [classes]: number of occurrences in the items */
    int64_t total;              /* sum of counts */
} mert_codebook_labels;

/* The name with _shard_shards after the last "train" of its file name, to be freed. NULL: there is no "train", or out
 * of memory. */
char *mert_shard_name(const char *name, int shard, int shards);
int mert_shards_apart(const char *manifest, int shards); /* 1: each shard has its own manifest */

/* Reads the manifest, opens its labels and checks that they belong to it. p: zeroed; must be closed in any case.
 * labels: as in mert_corpus_open; shard: number of the shard whose files are opened; -1: the names are used unchanged.
 * codebooks [MERT_CODEBOOKS_MAX] and *K: if *K is 0 they are set by this part, otherwise it must have the same
 * codebooks. */
int mert_corpus_part_open(mert_corpus_part *p, const mert_corpus_config *config, const char *manifest,
                          const char *const *labels, int nlabels, int shard, mert_codebook_labels *codebooks, int *K,
                          mert_error *e) MERT_MUST_USE;
/* Checks by the index that all labels of a row of codebook k are below `classes`. 0: yes; -1: no. */
int mert_corpus_part_check(const mert_corpus_part *p, int k, int64_t row, int64_t classes, mert_error *e) MERT_MUST_USE;
/* Adds the number of occurrences of each label of codebook k in the items' rows to b, and sets the column's sum. If all
 * rows of a label file with labels are items, both are in its index. Otherwise they are counted once and stored in an
 * index of kind "items", NAME.items-K.index. Its context is a hash of the rows that are items. Its sections: the sum
 * and the number of labels; the occurrences of each class (8 bytes each). */
int mert_corpus_part_add_up(mert_corpus_part *p, int k, mert_codebook_labels *b, const mert_corpus_rows *items,
                            mert_index_keeping keeping, mert_error *e) MERT_MUST_USE;
/* Lets the kernel release the pages of indexes and labels that were read. */
void mert_corpus_part_rest(const mert_corpus_part *p);
void mert_corpus_part_close(mert_corpus_part *p);

/* The number of labels of a row (0: it failed), and its labels [first, first + n). */
int64_t mert_corpus_part_count(const mert_corpus_part *p, int k, int64_t row);
int mert_corpus_part_read(const mert_corpus_part *p, int k, int64_t row, int64_t first, int64_t n, int32_t *to,
                          mert_error *e) MERT_MUST_USE;

#endif
