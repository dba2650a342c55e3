/* mert-decode --crops: random access to audio files for a program that does not link FFmpeg
 * (libcommon/train/data/decoders.h). A request is a line on standard input:
 *
 *     FIRST COUNT WHOLE PATH
 *
 * that is samples [FIRST, FIRST + COUNT) of the file at --rate; WHOLE: how many samples the whole file has, -1: not
 * known. The answer on standard output, before the next request is read: a line "ok", then COUNT samples of 16 bits,
 * little endian, as `--dtype i16` has them; or a line "failed REASON". */
#ifndef MERT_DECODE_CROPS_H
#define MERT_DECODE_CROPS_H

/* Answers until the end of standard input. Returns the exit status. */
int crops_answer(int rate);

#endif
