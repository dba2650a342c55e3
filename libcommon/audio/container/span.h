/* Presents a part of a file to FFmpeg as a whole file. Internal to audio. */
#ifndef MERT_AUDIO_SPAN_H
#define MERT_AUDIO_SPAN_H

#include "formats/error.h"

#include <libavformat/avio.h>
#include <stdint.h>

/* Bytes [begin, end) of a regular file or of a member of a tar file (place.h); end may be beyond its end. NULL on
 * error. */
AVIOContext *mert_span_open(const char *path, int64_t begin, int64_t end, mert_error *e);
void mert_span_close(AVIOContext **io); /* NULL is fine */

#endif
