/* Joint counts of two labels per frame, and the measures that HuBERT uses to compare a teacher with phones (Hsu et al.
 * 2021, section IV-D). Memory grows with the number of different pairs, up to the size of a table of all pairs.
 *
 *     int64_t budget = 1 << 30;
 *     mert_joint *j = mert_joint_new(500, 24, &budget);
 *     mert_joint_add(j, label, reference, &e);             // once for each frame
 *     mert_joint_measure(j, &m, &e);
 *     mert_joint_free(j);
 */
#ifndef MERT_JOINT_H
#define MERT_JOINT_H

#include "formats/error.h"

#include <stdint.h>

/* p(z, y) is the fraction of frames with label z and reference label y. Entropies and information are in bits and exact
 * (no small number is added before a logarithm). If the reference is constant, pnmi is NaN. */
typedef struct mert_joint_measures {
    int64_t frames, pairs;                  /* pairs: number of different pairs */
    double entropy, reference_entropy;      /* H(z), H(y) */
    double mutual;                          /* I(z; y) = sum p(z, y) log2 (p(z, y) / (p(z) p(y))) */
    double phone_purity;                    /* sum over z of max over y of p(z, y): accuracy of the best map from z
                                               to y */
    double cluster_purity;                  /* sum over y of max over z of p(z, y) */
    double pnmi;                            /* I(z; y) / H(y): the fraction of the reference's information that the
                                               label has */
} mert_joint_measures;

typedef struct mert_joint mert_joint;

/* budget: bytes that all objects with this budget may still allocate; must outlive them. NULL: out of memory. At most
 * 2^31 - 1 classes each. */
mert_joint *mert_joint_new(int64_t classes, int64_t reference_classes, int64_t *budget);
/* label and reference: within their classes */
int mert_joint_add(mert_joint *j, int64_t label, int64_t reference, mert_error *e) MERT_MUST_USE;
int mert_joint_measure(const mert_joint *j, mert_joint_measures *m, mert_error *e) MERT_MUST_USE;
void mert_joint_free(mert_joint *j); /* NULL is fine */

#endif
