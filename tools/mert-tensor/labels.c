/* labels: code streams to HuBERT label files, for codes that were made in shards: the parts, in order, give the files that one run
 * over everything would have written with --labels. */
#include "commands.h"

#include "../../formats/labels.h"
#include "../../libcommon/base/report.h"

static const char *pattern;

const mert_option tensor_labels_options[] = {
    {"output", 'o', MERT_STRING, &pattern, "PATTERN", 0, 0, NULL, "label files to write: FILE, or with %d for the codebook; each with a .meta"},
    {0}};

static int take(mert_labels_writer *w, int event)
{
    const mts_failure *x = mts_reader_failure(tensor_in.reader);
    switch (event) {
    case MTS_BEGIN: return mert_labels_stream(w, mts_reader_begin(tensor_in.reader), &tensor_error);
    case MTS_RECORD: return mert_labels_record(w, mts_reader_record(tensor_in.reader), &tensor_error);
    case MTS_CHUNK: return mert_labels_frames(w, mts_reader_data(tensor_in.reader), mts_reader_frames(tensor_in.reader), &tensor_error);
    case MTS_RECORD_END: return mert_labels_end(w, &tensor_error);
    case MTS_FAILED: return mert_labels_failed(w, x->key, x->row, &tensor_error);
    default: return 0;
    }
}

int tensor_labels_run(int argc, char **argv)
{
    int whole = 1;
    if (!pattern)
        mert_usage_error("-o PATTERN is needed");
    mert_labels_writer *w = mert_labels_create(pattern, &tensor_error);
    if (!w)
        mert_usage_error("%s", tensor_error.text);
    mert_inputs_open(&tensor_in, argv, argc);
    for (int event; whole && (event = mert_inputs_next(&tensor_in, &tensor_error)) != MTS_EOF;) {
        int stop = mert_inputs_report(&tensor_in, event, &tensor_error);
        if (event == MTS_ERROR || stop)
            whole = 0;
        else if (take(w, event)) {
            mert_report_broken("%s", tensor_error.text);
            whole = 0;
        }
    }
    if (!whole)
        mert_labels_abandon(w); /* what stands under the final names stays */
    else if (mert_labels_commit(w, &tensor_error))
        mert_report_broken("%s", tensor_error.text);
    return tensor_finish();
}
