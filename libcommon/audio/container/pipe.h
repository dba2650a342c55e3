/* A pipe or another input without seeking, for FFmpeg; its first bytes can be looked at before reading. Internal to
 * audio. */
#ifndef MERT_AUDIO_PIPE_H
#define MERT_AUDIO_PIPE_H

#include "formats/error.h"

#include <libavformat/avio.h>
#include <stddef.h>

enum { MERT_PIPE_LOOK_MAX = 1 << 20 }; /* the most bytes that can be looked at */

/* NULL on error. */
AVIOContext *mert_pipe_open(const char *path, mert_error *e);
void mert_pipe_close(AVIOContext **io); /* NULL is fine */

/* The first n bytes, valid until the next call; waits for these and no more. After io was read beyond the bytes that
 * were looked at, no further ones are available. NULL: there are fewer bytes, or n is too large. */
const unsigned char *mert_pipe_look(AVIOContext *io, size_t n);

#endif
