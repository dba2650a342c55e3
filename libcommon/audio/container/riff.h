/* The header of a WAV file or one of its relatives (RF64, BW64, RIFX, W64), as it is and not as FFmpeg guesses it.
 * Internal to audio.
 *
 * FFmpeg takes the bits that are valid for the bits that are stored, 24 bits in 4 bytes for floats, and the samples of
 * RIFX for little-endian ones. Here the stored width decides: block align divided by channels. Fewer valid bits than
 * stored ones lie at the top (WAVEFORMATEXTENSIBLE says so), so that the rest needs no looking at. */
#ifndef MERT_AUDIO_RIFF_H
#define MERT_AUDIO_RIFF_H

#include "formats/error.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avio.h>
#include <stdint.h>

/* Of a pipe, before it is read: looks at the header, if it is one, for mert_wav_settle. -1: out of memory. */
int mert_wav_look(AVIOContext *pipe, mert_error *e) MERT_MUST_USE;

/* pipe: NULL, or the pipe instead of a file.
 * Sets the codec of a file of plain samples (integers, floats, A-law, mu-law) to what its header says; leaves all
 * others alone. *frames: how many the size of its samples makes; -1: not known. 1: that was another codec than FFmpeg's
 * guess, 0: it was not. -1: the header contradicts itself, and nobody can know how the samples lie, or
 * the file cannot be opened again, or there is no memory. */
int mert_wav_settle(const char *path, AVIOContext *pipe, AVCodecParameters *p, int64_t *frames, mert_error *e)
    MERT_MUST_USE;

#endif
