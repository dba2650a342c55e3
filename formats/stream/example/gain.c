#include "mts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int status; /* our exit status */

static void complain(const char *key, const char *what)
{
    fprintf(stderr, "gain: %s%s%s\n", key, *key ? ": " : "", what);
    status = 1;
}

/* Begins our stream: the provenance of the input, then our own line. */
static mts_writer *begin(const mts_begin *from, double factor)
{
    static mts_begin b;
    size_t n = strlen(from->provenance);
    b = *from;
    snprintf(b.provenance + n, sizeof b.provenance - n,
             "gain 1 factor=%g\n", factor);
    return mts_writer_open(stdout, "standard output", &b,
                           MTS_LEVEL_DEFAULT);
}

static int scale(mts_writer *w, const mts_reader *r, double factor)
{
    static float y[MTS_CHUNK_MAX / sizeof(float)];
    const float *x = mts_reader_data(r);
    int64_t frames = mts_reader_frames(r);
    int64_t n = frames * mts_record_width(mts_reader_record(r));
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(factor * x[i]);
    return mts_write_frames(w, y, frames);
}

int main(int argc, char **argv)
{
    double factor = argc > 1 ? atof(argv[1]) : 1;
    mts_reader *r = mts_reader_open(stdin, "standard input");
    mts_writer *w = NULL;
    char error[MTS_REASON_MAX] = "out of memory";
    int event = MTS_ERROR, open = 0, bad = !r; /* bad: cannot write */

    while (!bad && (event = mts_next(r)) != MTS_EOF) {
        const mts_record *x = mts_reader_record(r);
        const mts_failure *f = mts_reader_failure(r);
        if (event == MTS_ERROR)
            break;
        switch (event) {
        case MTS_BEGIN:
            bad = mts_writer_close(w, 1, error, sizeof error);
            w = bad ? NULL : begin(mts_reader_begin(r), factor);
            bad = !w;
            break;
        case MTS_RECORD:
            open = !strcmp(x->kind, "pcm") && x->dtype == MTS_F32;
            if (open) {
                bad = mts_write_record(w, x);
                break;
            }
            complain(x->key, "not pcm of type f32");
            bad = mts_write_failed(w, x->key, x->row, "gain",
                                   "not pcm of type f32");
            mts_skip(r);
            break;
        case MTS_CHUNK:
            bad = scale(w, r, factor);
            break;
        case MTS_RECORD_END:
            if (open)
                bad = mts_write_record_end(w);
            break;
        case MTS_FAILED: /* pass it on; print it if we found it */
            bad = mts_write_failed(w, f->key, f->row, f->stage,
                                   f->reason);
            if (f->here)
                complain(f->key, f->reason);
            status = 1;
            break;
        case MTS_DAMAGE:
            complain("", f->reason);
            break;
        case MTS_END: /* we end ours when we know what follows */
            break;
        }
    }
    if (!bad && event == MTS_EOF) {
        bad = mts_writer_close(w, 1, error, sizeof error);
        w = NULL;
    }
    if (bad && w)
        snprintf(error, sizeof error, "%s", mts_writer_error(w));
    if (bad && !(w ? mts_writer_pipe_closed(w) : errno == EPIPE))
        complain("", error);
    if (r && *mts_reader_error(r))
        complain("", mts_reader_error(r));
    mts_writer_close(w, 0, NULL, 0); /* writes no end frame */
    mts_reader_close(r);
    return bad ? 1 : status;
}
