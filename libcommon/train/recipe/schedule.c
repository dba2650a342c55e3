#include "libcommon/train/recipe/schedule.h"

#include <math.h>

double mert_schedule_rate(mert_schedule kind, double lr, int64_t warmup, int64_t total, int64_t update)
{
    static const double pi = 3.14159265358979323846;
    int64_t done = update - 1;
    if (warmup > 0 && done <= warmup)
        return lr * (double)done / (double)warmup;
    if (kind == MERT_INVERSE_SQRT)
        return lr * sqrt((double)(warmup > 1 ? warmup : 1) / (double)(done > 1 ? done : 1));
    if (done >= total)
        return 0;
    if (kind == MERT_COSINE)
        return lr * 0.5 * (1 + cos(pi * (double)(done - warmup) / (double)(total - warmup)));
    return lr * (1 - (double)(done - warmup) / (double)(total - warmup));
}
