/* What happened to the items: one line for each that failed, the count, the exit status (contracts F1, F2), and the
 * closing line (contract P4). */
#ifndef MERT_REPORT_H
#define MERT_REPORT_H

#include "libcommon/tensor/inputs.h"

#include <stdint.h>

void mert_report_item(double audio_seconds); /* one more item done */
/* One more item failed. here: it failed in this program, so its line is printed (after ten of the same reason they are
 * counted, for one line at the end); otherwise it was said upstream.
 * Returns 1 if --fail-fast says to stop now. */
int mert_report_failed(const char *key, const char *reason, int here);
/* There were items, and each failed here: why nothing came of them has been said. */
int mert_report_all_failed(void);
/* Something is wrong that is not an item's fault: the run fails whatever --max-failed allows. An empty text adds no
 * line to what has been said. */
void mert_report_broken(const char *format, ...) MERT_PRINTF(1, 2);
/* Prints how many more failed for reasons that were told ten times, and the -v line, and returns the exit status: 0, or
 * 1 if more failed than allowed; where nothing has said why, and no program before this one can have, one line does. */
int mert_report_finish(void);

/* Reports and counts what goes wrong in the input: FAILED, DAMAGE, ERROR; and counts records. Other events pass.
 * 1: --fail-fast says to stop. */
int mert_inputs_report(const mert_inputs *in, int event, const mert_error *e) MERT_MUST_USE;

#endif
