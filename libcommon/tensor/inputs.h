/* The streams of a command line, one after the other, as one sequence of events: files named last, or standard input
 * (contract P3).
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
/* Who is told of what comes in (program/report.h has one): every event; for MTS_ERROR, e says how. Not 0: stop. */
typedef int mert_inputs_listener(const mert_inputs *in, int event, const mert_error *e);

struct mert_inputs {
    char **files;
    int n, at;
    FILE *f;
    mts_reader *reader; /* of the event last given */
    const char *name;   /* "standard input", or the file's name */
    int64_t records;    /* ended well so far */
};

void mert_inputs_open(mert_inputs *in, char **files, int n); /* n 0: standard input; "-" is standard input, too */
/* An mts_event. MTS_ERROR: this input came to a bad end, e says how; the next call goes on with the next one. MTS_EOF:
 * all inputs are through. */
int mert_inputs_next(mert_inputs *in, mert_error *e) MERT_MUST_USE;
void mert_inputs_close(mert_inputs *in);

double mert_record_seconds(const mts_record *r); /* of time steps; 0 where the rate is not known */

#endif
