/* The text of the progress line of programs that process items: how many, of how many; the audio in them; the speed;
 * the time that is left, if what came so far says it. */
#ifndef MERT_PROGRESS_H
#define MERT_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

typedef struct mert_progress {
    int64_t items, expected; /* items that are done; so many in all, 0: not known */
    double audio, seconds;   /* seconds of audio in them; seconds since the program began */
    int64_t items_before;    /* of the items, those that took no time: done before `seconds_before` */
    double seconds_before;
} mert_progress;

/* "12 of 300 items, 0:35:10 of audio, 12.3 times real time, 0:04:20 left" */
void mert_progress_text(char *to, size_t size, const mert_progress *p);

#endif
