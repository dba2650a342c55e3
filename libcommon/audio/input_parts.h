/* Functions shared by the parts of input.c: input_open.c (opens a file, its streams and a codec), input_follow.c (facts
 * from the containers that FFmpeg does not report). Internal to these files. */
#ifndef MERT_AUDIO_INPUT_PARTS_H
#define MERT_AUDIO_INPUT_PARTS_H

#include "libcommon/audio/input.h"

/* ---- input_open.c ---- */

int mert_input_open_io(mert_input *in, const char *path, mert_error *e) MERT_MUST_USE;
/* Opens the streams of in->io, and the codec of the selected one. known: the format; NULL: FFmpeg finds it. */
int mert_input_open_streams(mert_input *in, const AVInputFormat *known, mert_error *e) MERT_MUST_USE;
/* Reopens bytes [begin, end) of the file, with the same format. */
int mert_input_open_span(mert_input *in, int64_t begin, int64_t end, mert_error *e) MERT_MUST_USE;
void mert_input_close_streams(mert_input *in);
/* Containers with one audio stream only, whose header has the number of samples. */
int mert_input_counts_samples(const AVInputFormat *f);

/* ---- input_follow.c ---- */

/* For a pipe, before the streams are opened: Ogg is read through mert_ogg_pipe; of WAV the header is looked at. */
int mert_input_look_into_pipe(mert_input *in, mert_error *e) MERT_MUST_USE;
/* After the streams are opened: reads from the container its length, and where it is damaged, cut off, or ends. */
int mert_input_follow(mert_input *in, mert_error *e) MERT_MUST_USE;
/* For Ogg through a pipe: takes over what is known so far. */
void mert_input_take_pipe(mert_input *in);
/* To be called after the last frame. 1: the next link of a chained Ogg file is open, 0: the end, -1: a fault. */
int mert_input_next_link(mert_input *in, mert_error *e) MERT_MUST_USE;

#endif
