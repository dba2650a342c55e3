/* Whether a file has all that its container says it has. FFmpeg reads most files that were cut off as if they were
 * whole; the containers themselves mostly know better:
 *
 *   WAV, RF64, BW64, RIFX, W64, AIFF, AU, CAF   the size of the chunk with the samples, and AIFF's count of frames
 *   AVI                                         the size of its list of packets
 *   MP4, M4A, MOV, 3GP                          the size of each box that has media, the index of segments (sidx)
 *   ASF, WMA                                    the size of the data object, its count of packets
 *   FLV                                         the size of each tag; file size and duration in its metadata
 *   Matroska, WebM                              the size of the segment, and of what is in it
 *   RealMedia                                   the size of its data
 *   Musepack SV8                                the size of each packet, the packet that ends it
 *   ADTS, AC-3, E-AC-3                          the size of the last frame
 *
 * What was written into a pipe has no sizes (0, or the greatest there are): then there is nothing to hold it to.
 * Internal to audio. */
#ifndef MERT_AUDIO_WHOLE_H
#define MERT_AUDIO_WHOLE_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_whole {
    mert_error cut;     /* what is promised and what is there, as "its data chunk promises 48000 bytes, 47999 are
                           there"; "": nothing is missing, or nobody can know */
    int64_t end;        /* at this byte the audio ends by the container's own word: what follows are tags, zeros. -1: it
                           does not tell */
    int64_t skip, keep; /* Musepack SV8: so many samples of the decoder's are dropped, so many kept behind them; keep
                           -1: it does not tell */
} mert_whole;

/* demuxer: FFmpeg's name for the container. One that is not known here, or what is no regular file, promises nothing.
 * -1: the file cannot be opened, or there is no memory. */
int mert_whole_check(const char *demuxer, const char *path, mert_whole *w, mert_error *e) MERT_MUST_USE;

#endif
