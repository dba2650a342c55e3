/* What a container says of itself that FFmpeg does not pass on: how long a cut-off WAV file was to be. Internal to
 * audio. */
#ifndef MERT_AUDIO_CONTAINER_H
#define MERT_AUDIO_CONTAINER_H

#include "../../formats/error.h"

#include <stdint.h>

/* How many bytes of samples a RIFF or RF64 WAV header promises beyond what the file has: 0 if all is there, or the
 * header was written into a pipe and does not know. */
int64_t mert_wav_missing(const char *path);

#endif
