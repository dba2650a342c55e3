/* One line on stderr, in one write, with the program's name before it; nothing else ever prints there. */
#ifndef MERT_LOG_H
#define MERT_LOG_H

#include "formats/attributes.h"

void mert_log_name(const char *program); /* once, in main */
/* "mert-cqt: track07.mp3: sample rate is 16000 Hz, ...": errors, always shown. */
void mert_log_error(const char *format, ...) MERT_PRINTF(1, 2);
/* Things a person may want to know; not shown with -q. */
void mert_log_note(const char *format, ...) MERT_PRINTF(1, 2);
/* The progress line: shown only when asked for or when stderr is a terminal, after a second, a few times per second. */
void mert_log_progress(const char *format, ...) MERT_PRINTF(1, 2);
void mert_log_progress_end(void); /* wipes the line */

/* At once when all is printed on standard output: 0; where it could not be written, says why, and 1. */
int mert_log_stdout(void);

#endif
