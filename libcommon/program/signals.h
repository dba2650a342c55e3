/* Signals that end a program: temporary files are removed (formats/file.h). */
#ifndef MERT_SIGNALS_H
#define MERT_SIGNALS_H

/* Called first by mert_options_parse (options.h). Every signal that ends a program (SIGINT, SIGTERM, SIGPIPE, a crash),
 * except SIGKILL, now removes the temporary files before the default action. Signals that are ignored (nohup) or
 * handled already are not changed. exit() removes the files, too. SIGBUS (a mapped file was cut short) prints one line
 * and exits with 1. SIGXFSZ (a file is larger than allowed) becomes a write error. */
void mert_signals_prepare(const char *name); /* name: of the program; not copied */
/* Ends the program by SIGPIPE: the reader of its output has ended. */
void mert_end_by_sigpipe(void);

#endif
