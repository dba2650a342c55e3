/* The number of floating-point operations of a pass, by the formulas of the paper. Used to report the share of the
 * sgemm rate, and to plan a run. A multiplication and an addition count as one operation each; norms, activations and
 * the like are not counted. A backward pass is twice a forward pass. */
#ifndef MERT_FLOPS_H
#define MERT_FLOPS_H

#include "libcommon/models/config/config.h"

double mert_forward_flops(const mert_config *c, int64_t B, int64_t L); /* of the encoder for B clips of L samples */
double mert_heads_flops(const mert_config *c,
                       int64_t S); /* for S frames: projections, cosines with all classes, regression */

#endif
