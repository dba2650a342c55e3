/* What one pass of the model is trained on. */
#ifndef MERT_BATCH_H
#define MERT_BATCH_H

#include <stdint.h>

enum { MERT_MASK_EMBEDDING = -1 };

/* A batch in host memory: B clips of one length. */
typedef struct mert_batch {
    int64_t B, L;
    int64_t T;              /* frames that take part: mert_config_frames(L), or fewer where the labels end before */
    int K;
    const float *clean;     /* [B, L]: what the regression targets are computed from */
    const float *audio;     /* [B, L]: what the model hears (with the mixture); may be == clean */
    const int32_t *labels;  /* [K, B, T]: class of each frame, 0..V-1 */
    const uint8_t *mask;    /* [B, T]: 1 where masked: what is to be predicted */
    /* [B, T]: what stands in the place of a masked frame: MERT_MASK_EMBEDDING, or the row b * T + t of a frame, its own
     * (it stays) or another (each at most once); NULL: MERT_MASK_EMBEDDING everywhere */
    const int32_t *source;
    const uint8_t *channels; /* [B, D]: 1 where a channel is silent in all frames of its clip; NULL: none */
    const int64_t *items;   /* [B]: global item numbers, for keys of random numbers and messages */
} mert_batch;

#endif
