/* A batch as the device needs it: targets, lists of frames, and masks in one block of pinned memory, which is
 * uploaded at once. The loader's thread prepares batches ahead of time. The trainer prepares a batch that is not
 * prepared yet. */
#ifndef MERT_PREPARED_H
#define MERT_PREPARED_H

#include "formats/error.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"
#include "libcommon/train/data/batch.h"

/* Offsets are in bytes of the block, and multiples of 64. An offset of an empty list is not used. */
typedef struct mert_prepared {
    mert_ops *ops; /* the backend that pinned the block */
    char *block;
    size_t bytes, room;
    int64_t S;                       /* masked frames */
    size_t rows, targets, cqt, mel;  /* int32 [S]: row of [B * T]; int32 [K, S]: row of the codebook's own label
                                      * embeddings; float [S, bins] each */
    int cqt_later;                   /* 1: the device computes the CQT targets (cqt_device.h); they are not here */
    int64_t others;                  /* number of frames that are not masked, if they have cross entropies */
    size_t other_rows, other_targets;
    size_t mask, channels;           /* float [B, mask_T], [B, D]: 1 or 0 */
    int64_t mask_T;                  /* T, or with a Conformer, whose masks act before its subsampler, the frames of its
                                      * front end */
    int64_t replaced;                /* number of masked frames that are replaced by another frame */
    size_t replaced_to, replaced_from, replaced_rows; /* int32 [replaced] each; float [B * T]: 1 or 0 */
    size_t input;                    /* float [B, T, cqt_input_bins]: the CQT input; or, for a model with spectra as
                                      * input: */
    int64_t examples;                /* of a labelled task */
    size_t shares, answers;          /* float [examples, T]: weights of frames; int32 or float [examples, C or 1] */
    int64_t mel_frames;              /* float [B, mel_frames, mels]: the spectra. 0: the input is the waveform */
} mert_prepared;

void mert_prepared_free(mert_prepared *p); /* p is zeroed or was filled */

/* Prepares batches for models of one layout, which must outlive it. Of the weights only a Conformer's tables are read
 * (w->values NULL: standard tables, for --plan). others: frames that are not masked have cross entropies as well.
 * Several threads may use one preparer; they wait for each other. */
typedef struct mert_preparer mert_preparer;
mert_preparer *mert_preparer_new(const mert_weights *w, int others, mert_ops *ops, mert_error *e);
void mert_preparer_free(mert_preparer *p); /* p may be NULL */
mert_ops *mert_preparer_ops(const mert_preparer *p);

/* Fills *to (zeroed, or filled before). training: also prepares the frames that are not masked, if the preparer has
 * `others`. A label that is outside of its classes is an error that names codebook and frame. */
int mert_prepare(mert_preparer *p, const mert_batch *b, int training, mert_prepared *to, mert_error *e) MERT_MUST_USE;

#endif
