/* EnCodec's encoder and quantiser as operations of a backend (nn/ops.h), for devices: samples in, codes out. On the CPU
 * seanet_part.c and seanet_lstm.c do the same without storing the results of each operation in memory.
 *
 * The items of a call stand one behind the other in one array of rows, with room between them for their padding. So a
 * layer is two or three operations, however many items there are. A row depends only on the rows of its receptive
 * field, in a fixed order: a code does not depend on the other items, or on how an item is divided into calls (contract
 * A1). */
#ifndef MERT_ENCODEC_DEVICE_H
#define MERT_ENCODEC_DEVICE_H

#include "libcommon/nn/ops.h"
#include "libcommon/teachers/encodec/encodec.h"

typedef struct mert_encodec_device mert_encodec_device;

/* Copies the weights to the device. use: the number of codebooks. frames: number of frames, of all items together,
 * that the layers before the LSTM process at a time; a longer part of an item is divided. Memory on the device at
 * EnCodec's size: 0.15 MB for each of them, and 16 KB for each frame of a call. `ops` has float32 elements; both
 * must outlive it. */
mert_encodec_device *mert_encodec_device_new(const mert_encodec *m, mert_ops *ops, int64_t use, int64_t frames,
                                             mert_error *e);
void mert_encodec_device_free(mert_encodec_device *d); /* NULL is fine */

/* A stretch of an item, as in mert_seanet_stretch, with codes [ceil(rows / hop), use]. more: the item goes on; it is
 * the last one of this call, and the first one of the next. */
typedef struct mert_encodec_stretch {
    const float *x;
    int64_t before, rows;
    int more;
    int32_t *codes;
} mert_encodec_stretch;

/* A code is -1 if the embedding of its frame has a number that is not finite, or 1e18 or more. -1: the device failed,
 * and the call may be repeated. */
int mert_encodec_device_run(mert_encodec_device *d, const mert_encodec_stretch *s, int64_t n, mert_error *e)
    MERT_MUST_USE;

#endif
