/* Selects audio files by the ending of their names, and counts the others. */
#ifndef MERT_MANIFEST_ENDINGS_H
#define MERT_MANIFEST_ENDINGS_H

/* The default of --ext: common formats that FFmpeg reads, with video files that have sound. */
extern const char *const endings_known;

/* 1: the name has one of the endings in a comma-separated list (case is ignored); 0: not, and it is counted; -1: out of
 * memory. */
int endings_want(const char *list, const char *name);
/* "passed over: 7 jpg, 4 txt, 1 without an ending", the most frequent first; NULL: none. Valid until the next call. */
const char *endings_passed_over(void);

#endif
