/* A residual quantiser as a stage between streams, whichever model it is: EnCodec (pcm <-> codes) or codebooks of our
 * own (features <-> codes). Codes are [T, K] u16 (i32 beyond 65535 classes), and carry classes, frame rate and the
 * model's hash.
 *
 * Decoding gives whole frames back: the audio is a multiple of hop samples (320), up to hop - 1 longer than what was
 * encoded, since codes do not say how long that was. */
#ifndef MERT_CODEC_H
#define MERT_CODEC_H

#include "libcommon/teachers/codebook_file.h"
#include "libcommon/tensor/stage.h"

typedef struct mert_codec mert_codec;

/* path: a MODEL (contract P2). codebooks: how many of them encoding uses; 0: 8 of EnCodec's (or all where there are
 * fewer), all of one's own. any_settings: as in mert_features_check. batch: EnCodec encodes so many items in lock-step
 * (batch.h); 0 or 1: one after the other. */
mert_codec *mert_codec_open(const char *path, int64_t codebooks, int decode, int any_settings, int64_t batch,
                            mert_error *e);
void mert_codec_free(mert_codec *c); /* NULL is fine */

const mert_stage *mert_codec_stage(const mert_codec *c); /* self: the codec */
uint64_t mert_codec_hash(const mert_codec *c);
int64_t mert_codec_codebooks(const mert_codec *c);

#endif
