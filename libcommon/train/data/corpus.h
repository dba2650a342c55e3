/* The training data: a manifest, the labels of its rows, and their audio in packed pcm streams (mert-decode --manifest,
 * f32 or i16) or in place, in the manifest's own files. Opening it checks everything that can be checked before the
 * first update: labels and audio belong to the manifest, their lengths agree, every label is one of the classes. Rows
 * that failed before (an empty label line, a failed record in the packed audio) are left out and counted. Rows that are
 * missing in packed audio or codes are left out, too, and listed separately. So are up to bad_max rows with bad labels:
 * no labels of these classes, or too many or too few for the audio.
 *
 * All that opening needs of labels and packed audio is read from the indexes beside them (formats/labels/index.h,
 * records.h). Its time and memory grow with the number of rows, not with the hours of audio.
 *
 * The rate of the labels may differ from the model's frame rate: with label_rate labels per second, frame t of an item
 * (of `stride` samples per frame) has label floor(t * label_rate * stride / sample_rate). Frames after the last label
 * are cut. */
#ifndef MERT_CORPUS_H
#define MERT_CORPUS_H

#include "libcommon/train/data/part.h"

#include <stdint.h>
#include <stdio.h>

typedef struct mert_corpus_item {
    int64_t row;     /* in its part's manifest */
    int part, shard; /* the recipe decides which shard an epoch uses */
    int file;        /* the one with its packed audio */
    int32_t labels;  /* number of labels in each codebook; -1: not the same in all */
    int64_t samples; /* in the packed audio */
    int64_t offset;  /* of its record in the file */
} mert_corpus_item;

/* Of a whole item (level.h). */
typedef struct mert_level {
    double mean, variance;
    int known;
} mert_level;

typedef struct mert_corpus {
    mert_corpus_config config;
    mert_corpus_part *parts;
    int nparts;
    int64_t rows; /* of all manifests */
    int K;
    mert_codebook_labels *codebooks; /* [K] */
    mert_corpus_item *items;  /* in the order of the manifests, without failed items */
    int64_t n;
    mert_level *levels;       /* [n]; NULL: none is known */
    int64_t failed;         /* number of rows that are left out */
    const char *failed_key; /* the first of them that failed before; NULL: none */
    struct mert_corpus_absent {
        const char *key, *manifest, *file; /* file NULL: the packed audio files */
    } *absent;              /* rows that no file has, neither complete nor failed: perhaps the manifest was changed */
    int64_t nabsent;
    int64_t nbad;       /* number of rows with bad labels that are left out, which `failed` includes */
    const char *bad_key; /* the first of them */
    char *bad_why;      /* what is wrong with it */
    int64_t off_count;  /* number of rows whose length in the manifest differs from that in the packed audio */
    double seconds;     /* of the items */
    struct mert_file_state *states; /* [rows], of audio in place, between the two functions of files.h; else NULL */
    int64_t touched;        /* number of files that were written again, with the same size and ends (files.h) */
    const char *touched_key; /* the first of them */
    char **files;         /* [nfiles]: names of the packed audio files; mert_corpus_read opens them */
    int nfiles, nameless; /* nameless: items failed in them without a name; any missing item may be one of them */
    struct mert_corpus *replay; /* its items follow after n (mert_corpus_join); NULL: none */
    const struct mert_task *task; /* a labelled task (train/task/task.h), whose examples take the place of labels of
                                     codebooks; NULL: there is none */
    struct mert_open_files *open_files; /* of mert_corpus_read; NULL: none was read yet */
    struct mert_decoders *decoders; /* of items in place, also of `replay`; NULL: none was read yet */
} mert_corpus;

/* labels: file names, or patterns with one %d for codebooks 0, 1, ... ("DIR/train.encodec_%d"); several names are
 * joined to one list of codebooks. If there is no such file, but one with .npy after its name, that one is used
 * (labels.h). A name that ends in .mts is a packed stream of codes with all its codebooks (codes.h). nlabels 0: there
 * are no labels yet; the corpus has no codebooks (K 0), and crops can be planned but not filled.
 *
 * shards n > 1: "DIR/train.tsv" means DIR/train_0_n.tsv .. DIR/train_(n-1)_n.tsv, the names of the official task, and
 * label names are changed in the same way. If the first of these does not exist, the rows of the single manifest are
 * divided into n shards.
 *
 * pcm: packed audio files, which together have the manifests' rows, with the path as key; other items in them are
 * ignored. */
int mert_corpus_open(mert_corpus *c, const mert_corpus_config *config, const char *manifest, const char *const *labels,
                     int nlabels, const char *const *pcm, int npcm, mert_error *e) MERT_MUST_USE;
void mert_corpus_close(mert_corpus *c); /* a zeroed one is fine */
/* Leaves out the items for which keep() is 0. Labels of codebooks are counted as before. */
void mert_corpus_keep(mert_corpus *c, int (*keep)(void *arg, const char *key), void *arg);

/* Appends the items of `replay`, a former corpus that training repeats parts of (plans decide how often:
 * train/loader.h); they are numbered from n on. Its codebooks must be those of c. Label counts, n and seconds of c do
 * not change. The caller closes replay, after c. */
int mert_corpus_join(mert_corpus *c, mert_corpus *replay, mert_error *e) MERT_MUST_USE;
/* The corpus of an item; *item becomes its number in that corpus. */
static inline const mert_corpus *mert_corpus_owner(const mert_corpus *c, int64_t *item)
{
    if (!c->replay || *item < c->n)
        return c;
    *item -= c->n;
    return c->replay;
}

const char *mert_corpus_key(const mert_corpus *c, int64_t item);
uint64_t mert_corpus_hash(const mert_corpus *c); /* of the manifests and the descriptions of the codebooks */

/* The descriptions of the codebooks [K], for mert_recipe_model. */
void mert_corpus_metas(const mert_corpus *c, mert_labels_meta *metas);

/* Checks that b can validate a model that is trained on a: the number of codebooks, their classes, rates and hashes are
 * equal. */
int mert_corpus_fits(const mert_corpus *a, const mert_corpus *b, mert_error *e) MERT_MUST_USE;

/* The entropy of codebook k in bits per label: the cost of a guess by frequency. */
double mert_corpus_entropy(const mert_corpus *c, int k);
/* The cross entropy of the labels of `on` with the frequencies of `model` (one added to each class). */
double mert_corpus_cross_entropy(const mert_corpus *model, const mert_corpus *on, int k);

/* A crop begins at sample `start`: a multiple of the stride or, with jitter, any sample. For a multiple, frame t of the
 * crop has label floor((start / stride + t) * ratio), ratio = label_rate * stride / sample_rate; otherwise, as in the
 * official loader, label round(start * label_rate / sample_rate) + floor(t * ratio), halves to even. */
/* The number of frames of the item from `start` on for which all codebooks have labels; <= 0: none. */
int64_t mert_corpus_frames(const mert_corpus *c, int64_t item, int64_t start);
/* The labels of T frames of codebook k; the item must have so many. One thread at a time. */
int mert_corpus_labels(const mert_corpus *c, int64_t item, int k, int64_t start, int64_t T, int32_t *to, mert_error *e)
    MERT_MUST_USE;
/* Samples [first, first + n), i16 scaled by 2^-15. -1: damaged or unreadable; the corpus stays usable. One thread at a
 * time. */
int mert_corpus_audio(mert_corpus *c, int64_t item, int64_t first, int64_t n, float *to, mert_error *e)
    MERT_MUST_USE;
/* The same of many items at once, each by a thread of the pool. Each thread opens the files that it needs and keeps a
 * few of them open; with many files the others are closed. Crops of audio in place are decoded by other processes, as
 * many as the pool has threads; the pool itself is free for other work meanwhile. */
typedef struct mert_corpus_crop {
    int64_t item, first, n;
    float *to;
    int bad;
    mert_error why;
} mert_corpus_crop;
/* Fails only if out of memory. */
int mert_corpus_read(mert_corpus *c, mert_corpus_crop *crops, int64_t n, mert_error *e) MERT_MUST_USE;

#endif
