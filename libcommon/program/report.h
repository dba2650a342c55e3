/* The report of a run: one line for each failed item, the counts, the exit status (contracts F1, F2), and the last line
 * (contract P4). */
#ifndef MERT_REPORT_H
#define MERT_REPORT_H

#include "libcommon/tensor/inputs.h"

#include <stdint.h>

/* Adds to the number of items that are expected, for the progress line. */
void mert_report_expect(int64_t more);
void mert_report_item(double audio_seconds); /* one more item done */
/* Counts a failed item. here: it failed in this program, so its line is printed (after ten lines with the same reason,
 * further ones are only counted, for one line at the end). Otherwise the program before this one has printed it.
 * Returns 1 if the run must stop now (--fail-fast). */
int mert_report_failed(const char *key, const char *reason, int here);
/* 1: there were items, and all of them failed here, so their reasons have been printed. */
int mert_report_all_failed(void);
/* An error of the run, not of an item: the run fails regardless of --max-failed. An empty text prints no line. */
void mert_report_broken(const char *format, ...) MERT_PRINTF(1, 2);
/* Prints the numbers of further failures with reasons that were printed ten times, and the -v line. Returns the exit
 * status: 0, or 1 if the run or more items than allowed failed. If no line has said why, and no program before this one
 * can have, it prints one. */
int mert_report_finish(void);

/* Reports and counts FAILED, DAMAGE and ERROR of the input, and counts records. Ignores other events. 1: the run must
 * stop (--fail-fast). */
int mert_inputs_report(const mert_inputs *in, int event, const mert_error *e) MERT_MUST_USE;

#endif
