/* Error messages for failed FFmpeg calls: what could not be done, then FFmpeg's text in brackets if it is useful.
 * FFmpeg's text is never used alone, because it can mislead ("Operation not permitted" is its text for a plain -1).
 * Internal to audio. */
#ifndef MERT_AUDIO_FF_ERROR_H
#define MERT_AUDIO_FF_ERROR_H

#include "formats/error.h"

/* Once per process: from now on FFmpeg prints nothing; its messages are kept for each thread. */
void mert_ff_listen(void);
/* To be called before an FFmpeg call: the first error message after this is the one that is kept. */
void mert_ff_forget(void);
/* The kept message, without a line end; "": none. Valid until the thread's next FFmpeg call. */
const char *mert_ff_said(void);

/* "WHAT (FFmpeg: TEXT)", or its number if it has no text. code: the result of the call; 0: use only the kept message.
 * For system errors (out of memory, a disk that cannot be read) the reason has no brackets. */
#define mert_ff_fail(e, code, ...) (mert_error_set((e), __VA_ARGS__), mert_ff_add((e), (code)), mert_minus_one())
void mert_ff_add(mert_error *e, int code);

#endif
