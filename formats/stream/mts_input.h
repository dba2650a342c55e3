/* A window on the input: as many bytes as are asked for, never more than that from a pipe that still flows, with their
 * offset. Memory grows with what has really arrived, not with what is asked for. Internal to the stream library. */
#ifndef MTS_INPUT_H
#define MTS_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct mts_input {
    FILE *f;
    unsigned char *data; /* what has arrived and is not dropped yet: data[0..n) */
    size_t n;
    int64_t offset;      /* of data[0] */
    int error;           /* errno of a failed read or of a failed allocation; then there is no more */
    int stop;            /* set by another thread: there is no more */
    unsigned char *buffer;
    size_t room;
} mts_input;

/* 1: at least `want` bytes are there; 0: the input ends before (or failed: ->error). */
int mts_input_need(mts_input *in, size_t want);
void mts_input_drop(mts_input *in, size_t n);
/* Drops n bytes, most of them unread. Only for seekable files. 0, or -1 if there are not so many. */
int mts_input_jump(mts_input *in, int64_t n);
void mts_input_free(mts_input *in);

#endif
