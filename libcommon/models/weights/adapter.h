/* Low-rank adapters (Hu et al. 2021, "LoRA") of a model's linear layers, merged into its weights: W += (alpha / rank) B
 * A. For each layer that it changes, a file has
 *
 *     [PREFIX.]LAYER.lora_A.weight [rank, in]     LAYER: the name in the model's own files,
 *     [PREFIX.]LAYER.lora_B.weight [out, rank]    e.g. layers.0.attn.query_proj
 *
 * as SheetSage2 and PEFT write it. Other tensors in the file, such as those of a model on top of the features, are
 * ignored. */
#ifndef MERT_ADAPTER_H
#define MERT_ADAPTER_H

#include "libcommon/models/weights/weights.h"

#include <stddef.h>

/* alpha of SheetSage2, whose rank is 64. It cannot be found from the tensors. */
#define MERT_ADAPTER_ALPHA 128.0

typedef struct mert_adapter {
    int layers;          /* number of layers that were changed */
    int rank;            /* of the first of these layers */
    double alpha;        /* the alpha that was used */
    int others;          /* number of tensors that were ignored */
    char names[256];     /* names of the first of these, separated by blanks */
} mert_adapter;

/* Merges an adapter into w. path: the file, or a folder with adapter_model.safetensors. alpha 0: lora_alpha of
 * adapter_config.json beside the file (with use_rslora, alpha is divided by the square root of the rank, not by the
 * rank), or MERT_ADAPTER_ALPHA if there is no such file. Errors, which name the cause: a pair of tensors that belongs
 * to no linear layer of the model; a setting that changes more than B A; a packed model. The hash of the model is then
 * that of the merged weights. about: may be NULL. */
int mert_adapter_merge(mert_weights *w, const char *path, double alpha, mert_adapter *about, mert_error *e)
    MERT_MUST_USE;
/* "merged into 96 layers: rank 64, alpha 128; 3 tensors are no part of it: a b c" */
void mert_adapter_text(const mert_adapter *about, char *to, size_t size);

#endif
