/* The arithmetic of a pass, as the paper's formulas have it: what "share of the sgemm rate" divides by, and what a run
 * is planned by. Multiplications and additions count one each; norms, activations and the like are left out. A backward
 * pass is twice the forward pass. */
#ifndef MERT_FLOPS_H
#define MERT_FLOPS_H

#include "libcommon/models/config/config.h"

double mert_forward_flops(const mert_config *c, int64_t B, int64_t L); /* of the encoder on B clips of L samples */
double mert_heads_flops(const mert_config *c,
                       int64_t S); /* on S frames: projections, cosines with every class, regression */

#endif
