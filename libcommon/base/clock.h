#ifndef MERT_CLOCK_H
#define MERT_CLOCK_H

double mert_seconds(void); /* seconds since a fixed time in the past (CLOCK_MONOTONIC) */

#endif
