/* The learning rate of each update. All schedules rise in the same way: update n, counted from 1, uses
 *
 *     lr * (n - 1) / warmup                                  while n - 1 <= warmup
 *
 * and from there, with t = n - 1 - warmup and T = total - warmup (names and formulas are fairseq's):
 *
 *     polynomial_decay   lr * (1 - t / T)                    power 1, as published; 0 at n - 1 = total
 *     cosine             lr * (1 + cos(pi * t / T)) / 2      half a period, down to 0 likewise
 *     inverse_sqrt       lr * sqrt(warmup / (n - 1))         never 0; warmup at least 1 */
#ifndef MERT_SCHEDULE_H
#define MERT_SCHEDULE_H

#include <stdint.h>

typedef enum mert_schedule { MERT_POLYNOMIAL_DECAY, MERT_COSINE, MERT_INVERSE_SQRT } mert_schedule;

double mert_schedule_rate(mert_schedule kind, double lr, int64_t warmup, int64_t total, int64_t update);

#endif
