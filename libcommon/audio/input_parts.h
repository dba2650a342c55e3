/* What the parts of input.c need of each other: input_open.c (a file, its streams, a codec), input_follow.c (what the
 * containers say that FFmpeg does not). Internal to input.c. */
#ifndef MERT_AUDIO_INPUT_PARTS_H
#define MERT_AUDIO_INPUT_PARTS_H

#include "libcommon/audio/input.h"

/* ---- input_open.c ---- */

int mert_input_open_io(mert_input *in, const char *path, mert_error *e) MERT_MUST_USE;
/* The streams of what in->io reads, and the codec of the one that is wanted. known: the format; NULL: FFmpeg finds
 * it. */
int mert_input_open_streams(mert_input *in, const AVInputFormat *known, mert_error *e) MERT_MUST_USE;
/* Bytes begin to end of the file instead of what was open, as the format that it was. */
int mert_input_open_span(mert_input *in, int64_t begin, int64_t end, mert_error *e) MERT_MUST_USE;
void mert_input_close_streams(mert_input *in);
/* Containers of nothing but one audio stream, whose header counts its samples. */
int mert_input_counts_samples(const AVInputFormat *f);

/* ---- input_follow.c ---- */

/* Before the streams are opened: what comes through a pipe and is Ogg is read by mert_ogg_pipe; of WAV the header is
 * looked at. */
int mert_input_look_into_pipe(mert_input *in, mert_error *e) MERT_MUST_USE;
/* After: what the container says of its length, where it is damaged, cut off, or ends. */
int mert_input_follow(mert_input *in, mert_error *e) MERT_MUST_USE;
/* Of Ogg through a pipe, what is known by now. */
void mert_input_take_pipe(mert_input *in);
/* After the last frame: 1: another link of an Ogg chain follows and is open, 0: the end, -1: a fault. */
int mert_input_next_link(mert_input *in, mert_error *e) MERT_MUST_USE;

#endif
