/* Low-rank adapters (Hu et al. 2021, "LoRA") of a model's linear layers, merged into its weights: W += (alpha / rank) B
 * A. A file has, for each layer that it changes,
 *
 *     [PREFIX.]LAYER.lora_A.weight [rank, in]     LAYER: as the model's own files name it,
 *     [PREFIX.]LAYER.lora_B.weight [out, rank]    e.g. layers.0.attn.query_proj
 *
 * as SheetSage2 and PEFT write it. Other tensors of the file are passed over: the model on top of the features. */
#ifndef MERT_ADAPTER_H
#define MERT_ADAPTER_H

#include "libcommon/models/weights/weights.h"

#include <stddef.h>

/* SheetSage2's, of rank 64. Tensors alone do not tell it. */
#define MERT_ADAPTER_ALPHA 128.0

typedef struct mert_adapter {
    int layers;          /* that were changed */
    int rank;            /* of the first of them */
    double alpha;        /* that was taken */
    int others;          /* tensors that were passed over: */
    char names[256];     /* the first of them, with blanks between */
} mert_adapter;

/* alpha 0: as adapter_config.json beside the file has it (lora_alpha, with use_rslora over the root of the rank), else
 * MERT_ADAPTER_ALPHA. path: the file, or a folder that has adapter_model.safetensors. A pair that no layer of the model
 * takes, or a setting that changes more than this, is an error that names it; so is a packed model. Afterwards the
 * model's hash is that of the merged weights. about: may be NULL. */
int mert_adapter_merge(mert_weights *w, const char *path, double alpha, mert_adapter *about, mert_error *e)
    MERT_MUST_USE;
/* "merged into 96 layers: rank 64, alpha 128; 3 tensors are no part of it: a b c" */
void mert_adapter_text(const mert_adapter *about, char *to, size_t size);

#endif
