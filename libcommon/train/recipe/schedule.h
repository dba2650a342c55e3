/* The learning rate of each update (fairseq's polynomial_decay of power 1): update n, counted from 1, uses
 *
 *     lr * (n - 1) / warmup                                  while n - 1 <= warmup
 *     lr * (1 - (n - 1 - warmup) / (total - warmup))         from there down to 0 at n - 1 = total */
#ifndef MERT_SCHEDULE_H
#define MERT_SCHEDULE_H

#include <stdint.h>

double mert_schedule_rate(double lr, int64_t warmup, int64_t total, int64_t update);

#endif
