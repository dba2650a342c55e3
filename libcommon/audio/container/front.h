/* Finds a container that begins after other bytes, in cases where FFmpeg does not find it. Internal to audio. */
#ifndef MERT_AUDIO_FRONT_H
#define MERT_AUDIO_FRONT_H

#include <stdint.h>

/* The position where a container begins, within the first 65,536 bytes of the file (or after an ID3v2 tag); *name: "a
 * FLAC file". 0: none, or at the very beginning. A tag alone in front is allowed, except for MP4, whose offsets count
 * from the file's first byte. */
int64_t mert_front(const char *path, const char **name);

#endif
