#include "libcommon/program/label_writer.h"

#include "libcommon/program/report.h"

#include <stddef.h>

int mert_label_writer_open(mert_label_writer *t, const char *pattern, mert_error *e)
{
    t->writer = mert_labels_create(pattern, e);
    return t->writer ? 0 : -1;
}

void mert_label_writer_close(mert_label_writer *t)
{
    if (t->writer)
        mert_labels_abandon(t->writer);
    t->writer = NULL;
}

static int stream(void *self, const mts_begin *b, mert_error *e)
{
    return mert_labels_stream(((mert_label_writer *)self)->writer, b, e);
}

static int record(void *self, const mts_record *r, mert_error *e)
{
    mert_label_writer *t = self;
    t->begun = 1;
    return mert_labels_record(t->writer, r, e);
}

static int frames(void *self, const void *data, int64_t n, mert_error *e)
{
    return mert_labels_frames(((mert_label_writer *)self)->writer, data, n, e);
}

static int end(void *self, mert_error *e)
{
    return mert_labels_end(((mert_label_writer *)self)->writer, e);
}

static int failed(void *self, const char *key, int64_t row, mert_error *e)
{
    return mert_labels_failed(((mert_label_writer *)self)->writer, key, row, e);
}

static int commit(void *self, mert_error *e)
{
    mert_label_writer *t = self;
    mert_labels_writer *w = t->writer;
    t->writer = NULL;
    if (mert_labels_commit(w, e))
        return !t->begun && mert_report_all_failed() ? mert_fail(e, "%s", "") : -1;
    return 0;
}

const mert_observer mert_label_writer_calls = {
    .stream = stream, .record = record, .frames = frames, .end = end, .failed = failed, .commit = commit};
