#include "libcommon/train/recipe/schedule.h"

double mert_schedule_rate(double lr, int64_t warmup, int64_t total, int64_t update)
{
    int64_t done = update - 1;
    if (warmup > 0 && done <= warmup)
        return lr * (double)done / (double)warmup;
    if (done >= total)
        return 0;
    return lr * (1 - (double)(done - warmup) / (double)(total - warmup));
}
