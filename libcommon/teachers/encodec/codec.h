/* A residual quantiser as a stage: EnCodec (pcm <-> codes) or our own codebooks (features <-> codes). Codes are [T, K]
 * u16 (i32 for more than 65535 classes), with classes, frame rate and the model's hash.
 *
 * Decoding gives whole frames: the audio is a multiple of hop samples (320), up to hop - 1 longer than the original,
 * whose length the codes do not contain. */
#ifndef MERT_CODEC_H
#define MERT_CODEC_H

#include "libcommon/nn/ops.h"
#include "libcommon/teachers/codebook_file.h"
#include "libcommon/tensor/stage.h"

typedef struct mert_codec mert_codec;

/* path: a MODEL (contract P2). codebooks: how many are used for encoding; 0: 8 of EnCodec (or all if there are fewer),
 * or all of our own. any_settings: as in mert_features_check. batch: number of items that EnCodec encodes in lock-step
 * (batch.h); 0 or 1: one after the other. ops: a device with float32 elements that encodes, which must outlive the
 * codec; NULL: the CPU. Only EnCodec runs on devices. */
mert_codec *mert_codec_open(const char *path, int64_t codebooks, int decode, int any_settings, int64_t batch,
                            mert_ops *ops, mert_error *e);
void mert_codec_free(mert_codec *c); /* NULL is fine */

const mert_stage *mert_codec_stage(const mert_codec *c); /* self: the codec */
uint64_t mert_codec_hash(const mert_codec *c);
int64_t mert_codec_codebooks(const mert_codec *c);

#endif
