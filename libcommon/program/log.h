/* Messages: one line on stderr, in one write, after the program's name. Nothing else prints there. */
#ifndef MERT_LOG_H
#define MERT_LOG_H

#include "formats/attributes.h"

void mert_log_name(const char *program); /* once, in main */
/* "mert-cqt: track07.mp3: sample rate is 16000 Hz, ...": errors, always shown. */
void mert_log_error(const char *format, ...) MERT_PRINTF(1, 2);
/* Information for the user; not shown with -q. */
void mert_log_note(const char *format, ...) MERT_PRINTF(1, 2);
/* The progress line: shown after a second, a few times per second, with --progress, or if stderr is a terminal and
 * standard output is no pipe: so only the last program of a pipe shows one. */
void mert_log_progress(const char *format, ...) MERT_PRINTF(1, 2);
void mert_log_progress_end(void); /* erases the line */

/* To be called right after printing on standard output: flushes it. Returns 0, or 1 with a message if it could not be
 * written. */
int mert_log_stdout(void);

#endif
