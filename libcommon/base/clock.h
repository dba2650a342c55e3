#ifndef MERT_CLOCK_H
#define MERT_CLOCK_H

double mert_seconds(void); /* since some moment in the past; never runs back (CLOCK_MONOTONIC) */

#endif
