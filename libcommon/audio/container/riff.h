/* Reads the header of a WAV file or a related format (RF64, BW64, RIFX, W64), in cases where FFmpeg misreads it.
 * Internal to audio.
 *
 * FFmpeg uses the number of valid bits as the stored width, reads 24 bits in 4 bytes as floats, and reads the samples
 * of RIFX as little endian. Here the stored width is block align / channels. If fewer bits are valid, they are the most
 * significant ones (WAVEFORMATEXTENSIBLE), so the number of valid bits is not needed. */
#ifndef MERT_AUDIO_RIFF_H
#define MERT_AUDIO_RIFF_H

#include "formats/error.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avio.h>
#include <stdint.h>

/* For a pipe, before it is read: looks at the bytes of the header, for mert_wav_settle. -1: out of memory. */
int mert_wav_look(AVIOContext *pipe, mert_error *e) MERT_MUST_USE;

/* pipe: NULL, or the pipe instead of a file. Sets the codec of a file of uncompressed samples (integers, floats, A-law,
 * mu-law) from its header; changes no others. *frames: number of frames, from the size of the samples; -1: not known.
 * Returns 1 if the codec differs from FFmpeg's, 0 if not. -1: the header contradicts itself, so that the layout of the
 * samples is not known; or the file cannot be opened again; or out of memory. */
int mert_wav_settle(const char *path, AVIOContext *pipe, AVCodecParameters *p, int64_t *frames, mert_error *e)
    MERT_MUST_USE;

#endif
