/* Which files are taken for audio by the ending of their name, and what was passed over. */
#ifndef MERT_MANIFEST_ENDINGS_H
#define MERT_MANIFEST_ENDINGS_H

/* The endings of --ext where it is not given: those of all that FFmpeg reads and people have, films with sound, too. */
extern const char *const endings_known;

/* Whether a file's name has one of the endings in a list with commas, in any case; otherwise it is counted among those
 * passed over. -1: out of memory. */
int endings_want(const char *list, const char *name);
/* "passed over: 7 jpg, 4 txt, 1 without an ending", most first; NULL: nothing was. Valid until the next call. */
const char *endings_passed_over(void);

#endif
