/* What cannot be sought in, for FFmpeg to read; its first bytes can be looked at before. Internal to audio. */
#ifndef MERT_AUDIO_PIPE_H
#define MERT_AUDIO_PIPE_H

#include "formats/error.h"

#include <libavformat/avio.h>
#include <stddef.h>

enum { MERT_PIPE_LOOK_MAX = 1 << 20 }; /* bytes that can be looked at */

/* NULL on error. */
AVIOContext *mert_pipe_open(const char *path, mert_error *e);
void mert_pipe_close(AVIOContext **io); /* NULL is fine */

/* The first n bytes: waits for them and for no more; once io is read behind those that were looked at, only these are
 * there. NULL: there are fewer, or n is more than can be looked at. Valid until the next call. */
const unsigned char *mert_pipe_look(AVIOContext *io, size_t n);

#endif
