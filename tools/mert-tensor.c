/* Lists, converts and compares streams. All commands stream: none keeps more than a chunk in memory. This file has
 * shared functions, ls and cat, and the table of commands; the other commands are in mert-tensor/.
 *
 *     mert-decode song.mp3 | mert-cqt | mert-tensor stat
 *     mert-tensor from-npy --kind mel --rate 24000 --frame-rate 75/1 a.npy | mert-tensor cmp --atol 1e-5 - b.mts */
#include "libcommon/base/integer.h"
#include "tools/mert-tensor/commands.h"
#include "tools/mert-tensor/gather.h"

#include "libcommon/program/report.h"
#include "libcommon/tensor/values.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

mert_inputs tensor_in;
mert_error tensor_error;
static double values[MERT_VALUES_BLOCK];

/* Checks that standard output was written. */
int tensor_finish(void)
{
    errno = 0;
    if (fflush(stdout) || ferror(stdout))
        mert_report_broken("cannot write to standard output: %s", strerror(errno ? errno : EIO));
    mert_inputs_close(&tensor_in);
    return mert_report_finish();
}

const char *tensor_row(int64_t row)
{
    static char text[24];
    snprintf(text, sizeof text, "%" PRId64, row);
    return row < 0 ? "-" : text;
}

const char *tensor_key(const char *key)
{
    static char text[3 * MTS_KEY_MAX + 1];
    return mert_key_print(text, sizeof text, key);
}

void tensor_frame_rate(const char *text, int64_t *num, int64_t *den)
{
    char *end;
    *num = strtoll(text, &end, 10);
    *den = 1;
    if (*end == '/' && end != text)
        *den = strtoll(end + 1, &end, 10);
    if (*end || end == text || *num < 1 || *num > INT32_MAX || *den < 1 || *den > INT32_MAX)
        mert_usage_error("--frame-rate: '%s' is no fraction like 24000/320", text);
}

void tensor_open(char **files, int n)
{
    mert_refuse_terminal(files, n);
    mert_inputs_open(&tensor_in, files, n);
}

void tensor_refuse_terminal(void)
{
    if (isatty(STDOUT_FILENO))
        mert_usage_error("a tensor stream is not written to a terminal: redirect it, or pipe it into another program");
}

int tensor_each_block(int64_t first, int (*use)(const mts_record *r, const double *x, int64_t n, int64_t first))
{
    const mts_record *r = mts_reader_record(tensor_in.reader);
    const unsigned char *data = mts_reader_data(tensor_in.reader);
    const int64_t width = mts_record_width(r), n = mts_reader_frames(tensor_in.reader) * width;
    const int64_t block = width < MERT_VALUES_BLOCK ? MERT_VALUES_BLOCK / width * width : MERT_VALUES_BLOCK;
    for (int64_t at = 0, now; at < n; at += now) {
        now = mert_smaller(n - at, block);
        mert_values_read(r->dtype, data + (size_t)at * mts_dtype_size(r->dtype), now, values);
        if (use(r, values, now, first + at))
            return -1;
    }
    return 0;
}

/* ---- ls ---- */

static int long_form;

static const mert_option ls_options[] = {
    {"long", 'l', MERT_FLAG, &long_form, NULL, 0, 0, NULL, "also print rows, manifest, provenance, model and classes"},
    {0}};

static void print_begin(const mts_begin *b)
{
    printf("# rows %" PRId64 " to %" PRId64 " of %" PRId64 ", manifest %016" PRIx64, b->row_first, b->row_end,
           b->rows_total, b->manifest);
    if (b->input)
        printf(", input %016" PRIx64, b->input);
    putchar('\n');
    for (const char *line = b->provenance; *line; line += strcspn(line, "\n") + 1)
        printf("# via %.*s\n", (int)strcspn(line, "\n"), line);
}

void tensor_print_record(const mts_record *r)
{
    char shape[128];
    printf("%s\t%s\t%s\t%s\t%s\t%" PRId64 "\t%" PRId64 "/%" PRId64, tensor_row(r->row), tensor_key(r->key), r->kind,
           mts_dtype_name(r->dtype), mert_shape_print(shape, sizeof shape, r), r->sample_rate, r->frame_rate_num,
           r->frame_rate_den);
    if (long_form) {
        printf("\tmodel=%016" PRIx64, r->model);
        for (int k = 0; k < r->ncodebooks; k++)
            printf("%s%" PRId64, k ? "," : "\tclasses=", r->classes[k]);
    }
    putchar('\n');
}

static int ls_run(int argc, char **argv)
{
    tensor_open(argv, argc);
    for (int event; !ferror(stdout) && (event = mert_inputs_next(&tensor_in, &tensor_error)) != MTS_EOF;) {
        if (event == MTS_BEGIN && long_form)
            print_begin(mts_reader_begin(tensor_in.reader));
        if (event == MTS_RECORD)
            mts_skip(tensor_in.reader);
        if (event == MTS_RECORD_END)
            tensor_print_record(mts_reader_record(tensor_in.reader));
        if (event == MTS_FAILED) {
            const mts_failure *x = mts_reader_failure(tensor_in.reader);
            printf("%s\t%s\tfailed\t%s: ", tensor_row(x->row), tensor_key(x->key), x->stage);
            printf("%s\n", tensor_key(x->reason));
        }
        if (mert_inputs_report(&tensor_in, event, &tensor_error))
            break;
    }
    return tensor_finish();
}

/* ---- cat ---- */

static int raw;

static const mert_option cat_options[] = {
    {"raw", 0, MERT_FLAG, &raw, NULL, 0, 0, NULL, "write the raw numbers, as zstd -dc does"},
    {0}};

/* Copies one event. -1: it could not be written. The output stream is ended only when it is known what follows the end
 * of the input stream: another begin, or the end of all input. So it has no end if we are killed, even between two
 * streams. */
static int pass_on(mts_writer **w, int event)
{
    const mts_record *r = event > 0 ? mts_reader_record(tensor_in.reader) : NULL;
    const mts_failure *x = event > 0 ? mts_reader_failure(tensor_in.reader) : NULL;
    mts_writer *last = *w;
    switch (event) {
    case MTS_BEGIN:
        *w = NULL;
        if (mts_writer_close(last, 1, tensor_error.text, sizeof tensor_error.text))
            return -1;
        *w = mts_writer_open(stdout, "standard output", mts_reader_begin(tensor_in.reader), mert_options.level);
        return *w ? 0 : mert_fail(&tensor_error, "out of memory");
    case MTS_RECORD: return mts_write_record(*w, r);
    case MTS_CHUNK: return mts_write_frames(*w, mts_reader_data(tensor_in.reader), mts_reader_frames(tensor_in.reader));
    case MTS_RECORD_END: return mts_write_record_end(*w);
    case MTS_FAILED: return mts_write_failed(*w, x->key, x->row, x->stage, x->reason);
    case MTS_EOF: *w = NULL; return mts_writer_close(last, 1, tensor_error.text, sizeof tensor_error.text);
    default: return 0;
    }
}

static int put_raw(int event)
{
    if (event != MTS_CHUNK)
        return 0;
    size_t size = (size_t)mts_reader_frames(tensor_in.reader) * mts_record_step(mts_reader_record(tensor_in.reader));
    if (fwrite(mts_reader_data(tensor_in.reader), 1, size, stdout) != size)
        return mert_fail(&tensor_error, "standard output: cannot write: %s", strerror(errno));
    return 0;
}

static int cat_run(int argc, char **argv)
{
    mts_writer *w = NULL;
    int event, stop = 0;
    tensor_refuse_terminal();
    tensor_open(argv, argc);
    do {
        event = mert_inputs_next(&tensor_in, &tensor_error);
        stop = mert_inputs_report(&tensor_in, event, &tensor_error) || event == MTS_ERROR;
        if (!stop && (raw ? put_raw(event) : pass_on(&w, event))) {
            mert_report_broken("%s", w ? mts_writer_error(w) : tensor_error.text);
            clearerr(stdout); /* reported already */
            stop = 1;
        }
    } while (!stop && event != MTS_EOF);
    mts_writer_close(w, 0, NULL, 0); /* without an end frame, so that the next reader notices */
    return tensor_finish();
}

static const mert_command commands[] = {
    {"ls", "[options] [FILE...]", "print one line per record: row, key, kind, type, shape, sample rate, frame rate",
     ls_options, ls_run},
    {"cat", "[options] [FILE...]", "join streams, and verify every checksum", cat_options, cat_run},
    {"gather", "--manifest TSV FILE...", "write the records of several files in the order of a manifest",
     tensor_gather_options, tensor_gather_run},
    {"check", "[options] [FILE...]",
     "read everything, and print one line per problem", tensor_check_options, tensor_check_run},
    {"cmp", "[options] A B", "compare the records of two streams in their order", tensor_cmp_options, tensor_cmp_run},
    {"stat", "[options] [FILE...]",
     "print smallest and largest value, mean, deviation; for codes, how classes are used", tensor_stat_options,
     tensor_stat_run},
    {"text", "[options] [FILE...]", "print numbers, one time step per line; codes as label lines",
     tensor_text_options, tensor_text_run},
    {"paste", "[options] A B...", "combine the codes of several teachers", tensor_paste_options, tensor_paste_run},
    {"labels", "-o PATTERN [options] [FILE...]",
     "write codes as label files; the streams together must have all rows of the manifest",
     tensor_labels_options, tensor_labels_run},
    {"from-labels", "[options] PATTERN", "read label files, text or padded arrays, and write codes",
     tensor_from_labels_options, tensor_from_labels_run},
    {"dict", "[options] PATTERN...", "write fairseq's dict.NAME.txt beside label files", tensor_dict_options,
     tensor_dict_run},
    {"to-fairseq", "--manifest FILE -o DIR [options] PATTERN...",
     "write manifest and label files for fairseq, without the rows that failed", tensor_to_fairseq_options,
     tensor_to_fairseq_run},
    {"from-npy", "--kind KIND --rate HZ [options] FILE.npy... | --manifest FILE DIR",
     "write NumPy files as a stream, one record each", tensor_from_options, tensor_from_run},
    {"to-npy", "-o FILE.npy | -d DIR [FILE...]", "write records as NumPy files", tensor_to_options, tensor_to_run},
    {0}};

static const mert_tool tool = {
    "mert-tensor", "list, check, compare and convert tensor streams and label files", "COMMAND [options] [FILE...]",
    "Streams are read from files or standard input.", NULL, commands};

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_DFL); /* if the reader of our output has ended, we end without a message, even if the parent
                                 ignored SIGPIPE */
    return mert_tool_main(&tool, argc, argv);
}
