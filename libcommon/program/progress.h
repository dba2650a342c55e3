/* The text of the progress line of programs that process items: how many of how many items; the audio in them; the
 * speed; an estimate of the time left, if the items so far allow one. */
#ifndef MERT_PROGRESS_H
#define MERT_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

typedef struct mert_progress {
    int64_t items, expected; /* number of finished items, and of all items; 0: not known */
    double audio, seconds;   /* seconds of audio in them; seconds since the program started */
    int64_t items_before;    /* items that were finished at seconds_before; the time left is estimated from the
                              * others */
    double seconds_before;
} mert_progress;

/* "12 of 300 items, 0:35:10 of audio, 12.3 times real time, 0:04:20 left" */
void mert_progress_text(char *to, size_t size, const mert_progress *p);

#endif
