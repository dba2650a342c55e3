/* Why a call of FFmpeg failed, as a line of ours: what could not be done, then FFmpeg's own words in brackets where
 * they add something. Its words never stand alone, since they tell of its inside ("Operation not permitted" is what it
 * makes of a plain -1). Internal to audio. */
#ifndef MERT_AUDIO_FF_ERROR_H
#define MERT_AUDIO_FF_ERROR_H

#include "formats/error.h"

/* Once per process: FFmpeg's messages are kept, each thread's own, and printed by nobody. */
void mert_ff_listen(void);
/* Before a call: the first error message since then is the most telling one. */
void mert_ff_forget(void);
/* That message, without a line end; "": none. Valid until the thread's next call of FFmpeg. */
const char *mert_ff_said(void);

/* "WHAT (FFmpeg: ITS WORDS)", or with its number where it has none. code: what the call returned, 0 for what was only
 * said. Where the system is to blame (no memory, a disk that cannot be read), that is the reason, without brackets. */
#define mert_ff_fail(e, code, ...) (mert_error_set((e), __VA_ARGS__), mert_ff_add((e), (code)), mert_minus_one())
void mert_ff_add(mert_error *e, int code);

#endif
