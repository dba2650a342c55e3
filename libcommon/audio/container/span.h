/* Some bytes of a file as if they were all of it, for FFmpeg to read. Internal to audio. */
#ifndef MERT_AUDIO_SPAN_H
#define MERT_AUDIO_SPAN_H

#include "formats/error.h"

#include <libavformat/avio.h>
#include <stdint.h>

/* Bytes begin to end (or to the file's own, where that is before) of a file that can be sought in. NULL on error. */
AVIOContext *mert_span_open(const char *path, int64_t begin, int64_t end, mert_error *e);
void mert_span_close(AVIOContext **io); /* NULL is fine */

#endif
