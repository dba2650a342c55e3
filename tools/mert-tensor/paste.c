/* paste: joins the codes of several teachers. */
#include "tools/mert-tensor/commands.h"

#include "formats/array.h"
#include "libcommon/program/report.h"
#include "libcommon/tensor/paste.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int64_t tolerance = TENSOR_TOLERANCE;

const mert_option tensor_paste_options[] = {
    {"tolerance", 0, MERT_INT64, &tolerance, "N", 0, 1e9, NULL,
     "number of frames by which the codes of an item may differ in length; longer ones are cut"},
    {0}};

static mts_writer *begin_stream(const mert_paste *p)
{
    mts_begin b = *mert_paste_begin(p);
    size_t n = strlen(b.provenance);
    int more = snprintf(b.provenance + n, sizeof b.provenance - n, "mert-tensor %s paste tolerance=%" PRId64 "\n",
                        mert_version(), tolerance);
    if (n + (size_t)more >= sizeof b.provenance) {
        mert_fail(&tensor_error, "the provenance of the streams is more than one can have");
        return NULL;
    }
    mts_writer *w = mts_writer_open(stdout, "standard output", &b, mert_options.level);
    if (!w)
        mert_fail(&tensor_error, "out of memory");
    return w;
}

/* Writes one event. 1: stop, -1: cannot write. */
static int put(mts_writer **w, const mert_paste *p, int event)
{
    const mts_record *r = mert_paste_record(p);
    const mts_failure *x = mert_paste_failure(p);
    mts_writer *last = *w;
    switch (event) {
    case MTS_BEGIN:
        *w = NULL;
        if (mts_writer_close(last, 1, tensor_error.text, sizeof tensor_error.text))
            return -1;
        return (*w = begin_stream(p)) ? 0 : -1;
    case MTS_RECORD: return mts_write_record(*w, r);
    case MTS_CHUNK: return mts_write_frames(*w, mert_paste_data(p), mert_paste_frames(p));
    case MTS_RECORD_END:
        mert_report_item(mert_record_seconds(r));
        return mts_write_record_end(*w);
    case MTS_FAILED:
        if (mts_write_failed(*w, x->key, x->row, strcmp(x->stage, "paste") ? x->stage : mert_tool_name(), x->reason))
            return -1;
        return mert_report_failed(x->key, x->reason, x->here);
    case MTS_EOF: *w = NULL; return mts_writer_close(last, 1, tensor_error.text, sizeof tensor_error.text);
    default: return 0;
    }
}

static void check_operands(int argc, char **argv)
{
    int from_stdin = 0;
    for (int i = 0; i < argc; i++)
        from_stdin += !strcmp(argv[i], "-");
    if (argc < 2 || from_stdin > 1)
        mert_usage_error(argc < 2 ? "at least two streams are pasted, one of them may be - for standard input"
                                  : "standard input can be one of the streams only");
}

int tensor_paste_run(int argc, char **argv)
{
    mts_writer *w = NULL;
    int event, rc = 0;
    check_operands(argc, argv);
    tensor_refuse_terminal();
    mert_inputs *in = mert_array_zeroed(argc, sizeof *in);
    for (int i = 0; in && i < argc; i++)
        mert_inputs_open(&in[i], &argv[i], 1);
    mert_paste *p = in ? mert_paste_new(in, argc, tolerance, mert_inputs_report) : NULL;
    if (!p)
        mert_report_broken("out of memory");
    for (int more = p != NULL; more; more = !rc && event != MTS_EOF) {
        event = mert_paste_next(p, &tensor_error);
        if (event == MTS_ERROR) {
            if (*tensor_error.text)
                mert_report_broken("%s", tensor_error.text);
            break;
        }
        if ((rc = put(&w, p, event)) < 0) {
            mert_report_broken("%s", w ? mts_writer_error(w) : tensor_error.text);
            clearerr(stdout); /* reported already */
        }
    }
    mts_writer_close(w, 0, NULL, 0); /* if it is still open: without an end frame, so that the next reader notices */
    mert_paste_free(p);
    for (int i = 0; in && i < argc; i++)
        mert_inputs_close(&in[i]);
    free(in);
    return tensor_finish();
}
