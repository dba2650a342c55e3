/* A field of FLAC files that FFmpeg does not report. Internal to audio. */
#ifndef MERT_AUDIO_FLAC_H
#define MERT_AUDIO_FLAC_H

/* Bits per sample in the STREAMINFO of a native FLAC file, also after ID3v2 tags; 0: not known. */
int mert_flac_bits(const char *path);

#endif
