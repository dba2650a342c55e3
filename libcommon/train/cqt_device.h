/* The CQT target on the device: of the frames that have a loss, from the clean samples, by MERT_OP_CQT. The loader's
 * thread computes it instead (targets.h) if the backend does not want to (mert_ops.cqt), or if it would be slow: with
 * an odd hop, low bins cannot be computed at a lower rate. */
#ifndef MERT_CQT_DEVICE_H
#define MERT_CQT_DEVICE_H

#include "formats/error.h"
#include "libcommon/models/config/config.h"
#include "libcommon/nn/arena.h"

/* Floating-point operations of one frame; 0: the loader's thread computes the target, or the model has none. */
double mert_cqt_device_work(const mert_config *c, const mert_ops *ops);

/* The tables on the device. c and ops must outlive it. NULL: out of memory. Only if there is work. */
typedef struct mert_cqt_device mert_cqt_device;
mert_cqt_device *mert_cqt_device_new(const mert_config *c, mert_ops *ops, mert_error *e);
void mert_cqt_device_free(mert_cqt_device *t); /* NULL is fine */
size_t mert_cqt_device_memory(const mert_cqt_device *t); /* of the tables, in bytes */

/* Queues the target of rows [S] of [B * T], for clips [B, L]; rows and clips are on the device. The result [S, bins],
 * in the form of the configuration, is in the arena. NULL: out of memory. Magnitudes differ from the definition by at
 * most 2e-6 of the largest one plus 4e-6 of the largest sample, ln(|Y| + 1e-5) by 0.03 beside a tone of amplitude 0.9.
 * So they are closer to it than those of targets.h, whose errors are in dsp/cqt.h. */
const float *mert_cqt_device_run(mert_cqt_device *t, mert_arena *arena, int64_t B, int64_t L, int64_t T, int64_t S,
                                 const int32_t *rows, const float *clips) MERT_MUST_USE;

#endif
