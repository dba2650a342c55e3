/* A batch: the input of one pass in training. */
#ifndef MERT_BATCH_H
#define MERT_BATCH_H

#include <stdint.h>

enum { MERT_MASK_EMBEDDING = -1 };

/* What the clips of a batch have in place of labels of frames, where there is a labelled task: spans of frames, each of
 * which is an example. */
typedef struct mert_examples {
    int64_t n;
    int64_t *first;          /* [B + 1]: those of clip b are first[b] .. first[b + 1] - 1 */
    int64_t *row;            /* [n]: which rows of the task's table they are (train/task/task.h) */
    int32_t *from, *to;      /* [n]: frames of the clip, from .. to - 1 */
    int32_t *labels;         /* classify [n]; multilabel [n, C], 0 or 1; NULL: numbers */
    float *numbers;          /* regress [n, C] */
    int64_t outputs;         /* C */
    int single;              /* 1: classify */
    int64_t room, clips_room;
} mert_examples;

/* A batch in host memory: B clips of one length. */
typedef struct mert_batch {
    int64_t B, L;
    int64_t T;              /* number of frames: mert_config_frames(L), or fewer if the labels are shorter */
    int K;
    const float *clean;     /* [B, L]: for the regression targets */
    const float *audio;     /* [B, L]: the model's input (with the mixture); may be == clean */
    const int32_t *labels;  /* [K, B, T]: class of each frame, 0..V-1 */
    const uint8_t *mask;    /* [B, T]: 1: masked, to be predicted */
    /* [B, T]: what replaces a masked frame: MERT_MASK_EMBEDDING, or the row b * T + t of a frame: its own (unchanged)
     * or another one (each at most once); NULL: MERT_MASK_EMBEDDING everywhere */
    const int32_t *source;
    const uint8_t *channels; /* [B, D]: 1: the channel is zero in all frames of the clip; NULL: none */
    const int64_t *items;   /* [B]: global item numbers, for keys of random numbers and messages */
    const mert_examples *examples; /* of a labelled task, which has no mask and no labels of frames; NULL: none */
    const struct mert_prepared *prepared; /* train/prepared.h; NULL: not prepared yet */
} mert_batch;

#endif
