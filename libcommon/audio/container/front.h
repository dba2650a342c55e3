/* Bytes in front of a file's container that are none of it, which FFmpeg does not look behind. Internal to audio. */
#ifndef MERT_AUDIO_FRONT_H
#define MERT_AUDIO_FRONT_H

#include <stdint.h>

/* The byte where a container begins, if it is not the first one but one of the first 65,536 (behind an ID3v2 tag: that
 * follow the tag); *name: "a FLAC file". 0: none, or at the very beginning. A tag alone does no harm, except to MP4,
 * which counts places from the file's first byte. */
int64_t mert_front(const char *path, const char **name);

#endif
