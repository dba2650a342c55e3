/* What a model is trained on: a manifest, the labels of its rows, and their audio as packed pcm streams (mert-decode
 * --manifest, f32 or i16). Opening it checks everything that can be checked before the first update: that labels and
 * audio belong to the manifest, that their lengths agree, that every label is one of its classes. Rows that failed
 * upstream (an empty label line, a failed record in the packed audio) are left out and counted; so are rows that packed
 * audio or codes know nothing of, which are kept apart.
 *
 * Labels may run at another rate than the model's frames: with label_rate labels per second, frame t of an item (frames
 * of `stride` samples) takes label floor(t * label_rate * stride / sample_rate); frames beyond the labels are cut. */
#ifndef MERT_CORPUS_H
#define MERT_CORPUS_H

#include "libcommon/train/data/part.h"

#include <stdint.h>
#include <stdio.h>

typedef struct mert_corpus_item {
    int64_t row;     /* of its part's manifest */
    int part, shard; /* which shard is heard when: the recipe's */
    int64_t samples; /* of the packed audio */
    int64_t offset;  /* of its record in the file */
    uint64_t sound;  /* XXH64 of its samples as they are packed */
    int file;
} mert_corpus_item;

typedef struct mert_corpus {
    mert_corpus_config config;
    mert_corpus_part *parts;
    int nparts;
    int64_t rows; /* of all manifests */
    int K;
    mert_codebook_labels *codebooks; /* [K] */
    mert_corpus_item *items;  /* in the manifests' order, without the failed */
    int32_t *labelled;        /* [n, K]: how many labels each has; counting them in text takes time */
    int64_t n;
    int64_t failed;         /* rows left out ... */
    const char *failed_key; /* ... the first of them that failed before; NULL: none */
    struct mert_corpus_absent {
        const char *key, *manifest, *file; /* file NULL: none of the files of packed audio */
    } *absent;              /* ... those of them that no file knows, neither whole nor failed: was the manifest changed? */
    int64_t nabsent;
    int64_t off_count;  /* rows whose length in the manifest is not that of the packed audio */
    double seconds;     /* of the items */
    struct mert_corpus_file {
        FILE *stream;
        char *name;
        mts_reader *reader;
    } *files;
    int nfiles, nameless; /* nameless: items failed in them whose names are lost: any may be one of them */
    struct mert_corpus *older; /* whose items are this one's from n on; NULL: none (mert_corpus_join) */
} mert_corpus;

/* labels: file names, or patterns with one %d for the codebooks from 0 on ("DIR/train.encodec_%d"); several make one
 * list of codebooks. Where there is no such file, but one of that name with .npy behind it, it is that one (labels.h).
 * A name that ends in .mts is a packed stream of codes, all its codebooks at once (codes.h).
 *
 * shards n > 1: "DIR/train.tsv" stands for DIR/train_0_n.tsv .. DIR/train_(n-1)_n.tsv, as the official task names them,
 * and label names are changed likewise. Where there is no first of these, the one manifest's rows are cut into n.
 *
 * pcm: packed audio files, which together hold the manifests' rows, each under its path as key; what
 * else they hold is passed over. */
int mert_corpus_open(mert_corpus *c, const mert_corpus_config *config, const char *manifest, const char *const *labels,
                     int nlabels, const char *const *pcm, int npcm, mert_error *e) MERT_MUST_USE;
void mert_corpus_close(mert_corpus *c); /* a zeroed one is fine */

/* From now on c's items are its own n and, numbered from n on, those of `older`: an old corpus that training goes back
 * to now and then, as often as plans (train/loader.h) say. Its labels must be c's codebooks'; the frequencies of
 * labels, n and seconds stay those of c alone. older stays the caller's, open as long as c. */
int mert_corpus_join(mert_corpus *c, mert_corpus *older, mert_error *e) MERT_MUST_USE;
/* Of any item: whose it is, and by which number. */
static inline const mert_corpus *mert_corpus_owner(const mert_corpus *c, int64_t *item)
{
    if (!c->older || *item < c->n)
        return c;
    *item -= c->n;
    return c->older;
}

const char *mert_corpus_key(const mert_corpus *c, int64_t item);
uint64_t mert_corpus_hash(const mert_corpus *c); /* of the manifests and of what the codebooks are */

/* What the codebooks say of themselves, for mert_recipe_model: [K]. */
void mert_corpus_metas(const mert_corpus *c, mert_labels_meta *metas);

/* Whether b can be used to validate what learns from a: as many codebooks, of the same classes, rate and hash. */
int mert_corpus_fits(const mert_corpus *a, const mert_corpus *b, mert_error *e) MERT_MUST_USE;

/* Bits per label that a guess by frequency costs: the entropy of codebook k ... */
double mert_corpus_entropy(const mert_corpus *c, int k);
/* ... and what frequencies counted in `model` (one added to each class) cost on the labels of `on`. */
double mert_corpus_cross_entropy(const mert_corpus *model, const mert_corpus *on, int k);

/* Crops begin at sample `start`: a multiple of the stride, or (jitter) any. On the grid frame t of the crop takes label
 * floor((start / stride + t) * ratio), ratio = label_rate * stride / sample_rate; off it, as the official loader, label
 * round(start * label_rate / sample_rate) + floor(t * ratio), halves to even. */
/* Frames of the item from there on for which every codebook has a label; 0 or less: none. */
int64_t mert_corpus_frames(const mert_corpus *c, int64_t item, int64_t start);
/* The labels of T frames (there must be so many) of codebook k. One thread at a time. */
int mert_corpus_labels(const mert_corpus *c, int64_t item, int k, int64_t start, int64_t T, int32_t *to, mert_error *e)
    MERT_MUST_USE;
/* Samples first .. first + n - 1, i16 scaled by 2^-15. -1: damaged or unreadable; the corpus stays usable. One thread
 * at a time. */
int mert_corpus_audio(const mert_corpus *c, int64_t item, int64_t first, int64_t n, float *to, mert_error *e)
    MERT_MUST_USE;

#endif
