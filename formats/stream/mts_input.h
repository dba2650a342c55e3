/* Buffered input with offsets. It reads as many bytes as are asked for, and from a pipe never waits for more. Memory
 * grows with the bytes that have arrived, not with the number asked for. Internal to the stream library. */
#ifndef MTS_INPUT_H
#define MTS_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct mts_input {
    FILE *f;
    unsigned char *data; /* bytes that are read and not yet dropped: data[0..n) */
    size_t n;
    int64_t offset;      /* of data[0] */
    int error;           /* errno of a failed read or allocation; no more input after it */
    int stop;            /* set by another thread: no more input */
    unsigned char *buffer;
    size_t room;
} mts_input;

/* 1: at least `want` bytes are in data; 0: the input ended before (or failed: ->error). */
int mts_input_need(mts_input *in, size_t want);
void mts_input_drop(mts_input *in, size_t n);
/* Drops n bytes by seeking instead of reading. Only for seekable files. 0, or -1 if there are fewer bytes. */
int mts_input_jump(mts_input *in, int64_t n);
void mts_input_free(mts_input *in);

#endif
