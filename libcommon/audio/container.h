/* What a container says of itself that FFmpeg does not pass on: where an Ogg file is damaged, how long a cut-off WAV
 * file was to be. Internal to audio. */
#ifndef MERT_AUDIO_CONTAINER_H
#define MERT_AUDIO_CONTAINER_H

#include "../../formats/error.h"

#include <stdint.h>

/* Walks the pages of an Ogg file: checksums, page numbers, a last page that is whole and says that it is the last (RFC
 * 3533). Returns 0 and *at = -1, or *at = the byte where the first fault lies and why->text what it is. -1: the file
 * cannot be read. */
int mert_ogg_check(const char *path, int64_t *at, mert_error *why);

/* How many bytes of samples a RIFF or RF64 WAV header promises beyond what the file has: 0 if all is there, or the
 * header was written into a pipe and does not know. */
int64_t mert_wav_missing(const char *path);

#endif
