/* EnCodec (Défossez et al. 2022), the causal 24 kHz model: pcm -> SEANet encoder -> residual vector quantiser -> codes,
 * and back. Opens `encodec_24khz-*.th` of the official package, a HF directory or its safetensors, with either naming
 * of weight norm. All sizes come from the tensors; a config.json that differs is an error. Letters: T frames, D width
 * of the embedding, K codebooks of V classes. */
#ifndef MERT_ENCODEC_H
#define MERT_ENCODEC_H

#include "formats/checkpoint/checkpoint.h"
#include "formats/error.h"
#include "libcommon/teachers/encodec/seanet.h"
#include "libcommon/teachers/rvq/rvq.h"

typedef struct mert_encodec {
    int64_t sample_rate, hop; /* hop: samples per frame */
    mert_seanet encoder, decoder;
    mert_rvq *quantiser;      /* [K][V, D] */
    uint64_t hash;            /* contract S9, over the folded names "encoder.N...", "quantizer.k" of the codes */
} mert_encodec;

/* 1: the file's tensors are those of an EnCodec. */
int mert_encodec_is(const mert_checkpoint *c);
/* with_decoder 0: the decoder's tensors are ignored. Errors name the tensor that is missing, unused, or of a wrong
 * shape, or the configuration's key. */
mert_encodec *mert_encodec_open(const mert_checkpoint *c, int with_decoder, mert_error *e);
void mert_encodec_free(mert_encodec *m); /* NULL is fine */

/* The state of one item in the encoder or the decoder. The model must outlive it. */
typedef struct mert_encodec_item mert_encodec_item;
mert_encodec_item *mert_encodec_item_new(const mert_encodec *m, int decode, mert_error *e);
void mert_encodec_item_free(mert_encodec_item *i);
void mert_encodec_item_reset(mert_encodec_item *i);

/* Adds rows: samples [n, 1] or (decode) embeddings [n, D]. `give` is called with output rows, embeddings or samples, as
 * they become ready; -1 from it ends the call. last: the item ends after these rows, and another may begin. Frames in
 * total: ceil(samples / hop); decoding: hop samples per frame. */
typedef int (*mert_encodec_give)(void *arg, const float *rows, int64_t n, mert_error *e);
int mert_encodec_item_run(mert_encodec_item *i, const float *x, int64_t n, int last, mert_encodec_give give, void *arg,
                          mert_error *e) MERT_MUST_USE;

#endif
