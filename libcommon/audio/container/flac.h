/* What a FLAC file says of itself that FFmpeg does not pass on. Internal to audio. */
#ifndef MERT_AUDIO_FLAC_H
#define MERT_AUDIO_FLAC_H

/* Bits of a sample by a native FLAC file's STREAMINFO, also behind ID3v2 tags; 0: not to be had. */
int mert_flac_bits(const char *path);

#endif
