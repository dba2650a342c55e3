/* A batch as the device takes it: targets, lists of frames and flags in one piece of pinned memory, which is uploaded
 * at once. The loader's thread makes it ahead of time; what comes without is prepared by the trainer. */
#ifndef MERT_PREPARED_H
#define MERT_PREPARED_H

#include "formats/error.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"
#include "libcommon/train/data/batch.h"

/* Offsets count bytes of the block, and are multiples of 64; there is no memory behind those of lists of nothing. */
typedef struct mert_prepared {
    mert_ops *ops; /* whose pinned memory it is */
    char *block;
    size_t bytes, room;
    int64_t S;                       /* masked frames */
    size_t rows, targets, cqt, mel;  /* int32 [S]: row of [B * T]; int32 [K, S]: row of the codebook's own label
                                        embeddings; float [S, bins] each */
    int64_t others;                  /* frames that are not masked, where they have cross entropies */
    size_t other_rows, other_targets;
    size_t mask, channels;           /* float [B, mask_T], [B, D]: 1 or 0 */
    int64_t mask_T;                  /* T; of a Conformer, whose masks act before its subsampler, frames of its front
                                        end */
    int64_t replaced;                /* masked frames whose place another one takes */
    size_t replaced_to, replaced_from, replaced_rows; /* int32 [replaced] each; float [B * T]: 1 or 0 */
    size_t input;                    /* float [B, T, cqt_input_bins]: the CQT beside the waveform; or: */
    int64_t mel_frames;              /* float [B, mel_frames, mels]: the spectra in its place; 0: it hears the waveform */
} mert_prepared;

void mert_prepared_free(mert_prepared *p); /* of a zeroed or filled one */

/* Makes them for models of that layout, which must outlive it; of the weights, only a Conformer's tables are read
 * (w->values NULL: the usual ones, for a rehearsal without numbers). others: frames that are not masked have cross
 * entropies as well. Any thread may use it; of several, one waits for the other. */
typedef struct mert_preparer mert_preparer;
mert_preparer *mert_preparer_new(const mert_weights *w, int others, mert_ops *ops, mert_error *e);
void mert_preparer_free(mert_preparer *p); /* NULL is fine */
mert_ops *mert_preparer_ops(const mert_preparer *p);

/* Fills *to (zeroed, or filled before). training: with the frames that are not masked, if at all. The error of a label
 * outside of its classes names codebook and frame. */
int mert_prepare(mert_preparer *p, const mert_batch *b, int training, mert_prepared *to, mert_error *e) MERT_MUST_USE;

#endif
