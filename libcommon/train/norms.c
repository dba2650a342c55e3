#include "libcommon/train/norms.h"

#include <math.h>
#include <stdlib.h>

static double norm_of(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

int mert_norms_measure(mert_norms *norms, mert_trainer *t, int here, double divisor, mert_error *e)
{
    const mert_groups *groups = mert_trainer_groups(t);
    const mert_group *last = &groups->group[groups->n - 1];
    size_t bytes = here ? (size_t)(last->from + last->n) * sizeof(float) : 1;
    mert_shards_arrays a = {malloc(bytes), malloc(bytes)};
    int bad = !a.weights || !a.gradients ? mert_fail(e, "out of memory for a copy of weights and gradients")
                                         : mert_trainer_get(t, &a, here, e);
    norms->n = groups->n;
    for (int i = 0; !bad && here && i < groups->n; i++) {
        norms->gradient[i] = norm_of(a.gradients + groups->group[i].from, groups->group[i].n) / divisor;
        norms->weight[i] = norm_of(a.weights + groups->group[i].from, groups->group[i].n);
    }
    free(a.weights);
    free(a.gradients);
    return bad ? -1 : 0;
}
