/* The header of a WAV file or one of its relatives (RF64, BW64, RIFX, W64), as it is and not as FFmpeg guesses it.
 * Internal to audio.
 *
 * FFmpeg takes the bits that are valid for the bits that are stored, 24 bits in 4 bytes for floats, and the samples of
 * RIFX for little-endian ones. Here the stored width decides: block align divided by channels. Fewer valid bits than
 * stored ones lie at the top (WAVEFORMATEXTENSIBLE says so), so that the rest needs no looking at. */
#ifndef MERT_AUDIO_RIFF_H
#define MERT_AUDIO_RIFF_H

#include "../../formats/error.h"

#include <libavcodec/avcodec.h>
#include <stdint.h>

/* Sets the codec of a file of plain samples (integers, floats, A-law, mu-law) to what its header says; leaves all
 * others alone. 1: that was another one than FFmpeg's guess, and *frames is how many the header has (-1: it does not
 * know); 0: it was not. -1: the header contradicts itself, and nobody can know how the samples lie. */
int mert_wav_settle(const char *path, AVCodecParameters *p, int64_t *frames, mert_error *e);

#endif
