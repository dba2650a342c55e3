/* How a program ends when a signal ends it: nothing half-written stays (formats/file.h). */
#ifndef MERT_SIGNALS_H
#define MERT_SIGNALS_H

/* What the option table does first (options.h). Every signal that ends a program (SIGINT, SIGTERM, SIGPIPE, a crash)
 * but SIGKILL removes temporary files and then ends it as it would have; where one is ignored, as under nohup, or
 * handled, that stays. exit() removes them, too. SIGBUS, a mapped file that was cut short, is one line and exit status
 * 1. A file that grows beyond what is allowed (SIGXFSZ) fails as on a full disk. */
void mert_signals_prepare(const char *name); /* the program's, which stays */
/* When nobody reads any more the program ends as it would have ended by default. */
void mert_end_by_sigpipe(void);

#endif
