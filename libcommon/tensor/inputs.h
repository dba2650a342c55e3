/* Reads the streams of a command line (files, or standard input: contract P3) as one sequence of events.
 *
 *     mert_inputs in;
 *     mert_error e;
 *     mert_inputs_open(&in, files, nfiles);
 *     for (int event; (event = mert_inputs_next(&in, &e)) != MTS_EOF;)
 *         if (event == MTS_CHUNK) use(mts_reader_record(in.reader), mts_reader_data(in.reader));
 *         else if (report(&in, event, &e)) break;
 *     mert_inputs_close(&in);
 */
#ifndef MERT_INPUTS_H
#define MERT_INPUTS_H

#include "formats/error.h"
#include "formats/stream/mts.h"

#include <stdio.h>

typedef struct mert_inputs mert_inputs;
/* Called for every event of the input (program/report.h has one); for MTS_ERROR, e is the error. Not 0: stop. */
typedef int mert_inputs_listener(const mert_inputs *in, int event, const mert_error *e);

struct mert_inputs {
    char **files;
    int n, at;
    FILE *f;
    mts_reader *reader; /* of the last event */
    const char *name;   /* "standard input", or the file's name */
    int64_t records;    /* complete records so far */
};

void mert_inputs_open(mert_inputs *in, char **files, int n); /* n 0: standard input; so is "-" */
/* Returns an mts_event. MTS_ERROR: this input ended with the error e; the next call continues with the next input.
 * MTS_EOF: all inputs have ended. */
int mert_inputs_next(mert_inputs *in, mert_error *e) MERT_MUST_USE;
void mert_inputs_close(mert_inputs *in);

double mert_record_seconds(const mts_record *r); /* duration; 0: rate not known */

#endif
