/* Hidden states of whole clips: what stands around the encoder when a published model is used. Per clip: mean and variance
 * normalisation where the model asks for it, the CQT input of the models that have one, the encoder, the chosen layers. */
#ifndef MERT_INFERENCE_H
#define MERT_INFERENCE_H

#include "encoder.h"

typedef struct mert_inference mert_inference;

/* Takes the weights to the device; w's layout must outlive it. layers: indices 0..N in the order in which they come out. */
mert_inference *mert_inference_new(const mert_weights *w, mert_ops *ops, const int *layers, int n_layers, mert_error *e);
void mert_inference_free(mert_inference *m); /* NULL is fine */

/* One clip of n samples at the model's rate. *hidden: [n_layers][T][D], owned by the object, valid until the next call. Memory grows
 * linearly with n. The result is a function of the clip alone (contract A1). Fewer samples than the receptive field are an error. */
int mert_inference_run(mert_inference *m, const float *pcm, int64_t n, const float **hidden, int64_t *T, mert_error *e);

#endif
