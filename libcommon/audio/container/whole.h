/* Checks that a file has all bytes that its container declares. FFmpeg reads most truncated files without an error, but
 * most containers have sizes that reveal it:
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
 * Files that were written into a pipe have no sizes (0, or the largest possible value); these are not checked. Internal
 * to audio. */
#ifndef MERT_AUDIO_WHOLE_H
#define MERT_AUDIO_WHOLE_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_whole {
    mert_error cut;     /* "its data chunk promises 48000 bytes, 47999 are there"; "": nothing is missing, or not
                           known */
    int64_t end;        /* the position where the audio ends according to the container: tags or zeros may follow. -1:
                           not known */
    int64_t skip, keep; /* Musepack SV8: the first `skip` decoded samples are dropped, the next `keep` kept; keep -1:
                           not known */
} mert_whole;

/* demuxer: FFmpeg's name of the container. If it is not known here, or the file is not regular, nothing is checked. -1:
 * the file cannot be opened, or out of memory. */
int mert_whole_check(const char *demuxer, const char *path, mert_whole *w, mert_error *e) MERT_MUST_USE;

#endif
