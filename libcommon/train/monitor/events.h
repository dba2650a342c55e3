/* TensorBoard's event files: a row of numbers for each step.
 *
 * A file is a sequence of TFRecords, little-endian:
 *
 *     uint64 length; uint32 masked CRC of the length; the data; uint32 masked CRC of the data
 *
 * with CRC-32C (Castagnoli), masked as ((crc >> 15) | (crc << 17)) + 0xa282ead8. The data is the protobuf message
 * Event:
 *
 *     wall_time = 1 (double), step = 2 (varint), and one of file_version = 3 (string), summary = 5, session_log = 7
 *     Summary: value = 1, repeated: tag = 1 (string), simple_value = 2 (float)
 *     SessionLog: status = 1 (varint, 1: START): values of this step and later ones in older files are not valid
 *
 * The first record has file_version "brain.Event:2". Source: the published descriptions of TFRecord and event.proto. */
#ifndef MERT_EVENTS_H
#define MERT_EVENTS_H

#include "formats/error.h"

#include <stdint.h>
#include <stdio.h>

typedef struct mert_events {
    FILE *stream; /* NULL: none is open */
    char *path;
    unsigned char *summary; /* of the step that is being written */
    size_t bytes, room;
    int failed;
} mert_events;

/* Makes the folder and a new file in it, named events.out.tfevents.TIME.HOST.PROCESS. The run continues after step
 * `after`; 0: it starts. */
int mert_events_open(mert_events *v, const char *folder, int64_t after, mert_error *e) MERT_MUST_USE;
/* Adds a value of the step, unless it is not finite. tag: for example "train/loss". */
void mert_events_add(mert_events *v, const char *tag, double value);
/* Writes the numbers since the last call as those of a step. */
int mert_events_step(mert_events *v, int64_t step, mert_error *e) MERT_MUST_USE;
int mert_events_close(mert_events *v, mert_error *e) MERT_MUST_USE; /* a zeroed one is fine */

#endif
