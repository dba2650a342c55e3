/* check: checks that streams are complete and undamaged. cmp: compares two inputs, and prints where and by how much
 * they differ. */
#include "tools/mert-tensor/commands.h"

#include "formats/finite.h"
#include "libcommon/program/report.h"
#include "libcommon/tensor/compare.h"
#include "libcommon/tensor/statistics.h"

#include <inttypes.h>
#include <string.h>

/* ---- check ---- */

static int complete;

const mert_option tensor_check_options[] = {
    {"complete", 0, MERT_FLAG, &complete, NULL, 0, 0, NULL,
     "all streams must belong to one manifest, and have each row exactly once"},
    {0}};

static mert_row_set rows;
static int64_t rows_total = -1;
static uint64_t manifest;
static int streams;

/* All streams must have the manifest of the first one. */
static void check_begin(const mts_begin *b)
{
    if (!streams++) {
        rows_total = b->rows_total;
        manifest = b->manifest;
    } else if (b->rows_total != rows_total || b->manifest != manifest) {
        mert_report_broken("%s: streams of different manifests: %" PRId64 " rows (%016" PRIx64 ") and %" PRId64
                           " rows (%016" PRIx64 ")",
                           tensor_in.name, rows_total, manifest, b->rows_total, b->manifest);
    }
}

static void check_row(int64_t row, const char *key)
{
    if (row < 0)
        mert_report_broken("%s: %s has no row", tensor_in.name, tensor_key(key));
    else if (rows_total >= 0 && row >= rows_total)
        mert_report_broken("%s: %s is row %" PRId64 " of %" PRId64, tensor_in.name, tensor_key(key), row, rows_total);
    else if (mert_row_set_add(&rows, row) != 1)
        mert_report_broken("%s: row %" PRId64 " (%s) comes twice", tensor_in.name, row, tensor_key(key));
}

static void check_missing(void)
{
    int64_t next = 0;
    if (streams && rows_total < 0)
        mert_report_broken("%s: the number of rows is not known", tensor_in.name);
    for (int64_t i = 0; i <= rows.n && rows_total >= 0; i++) {
        int64_t first = i < rows.n ? rows.span[i][0] : rows_total;
        if (first - next == 1)
            mert_report_broken("row %" PRId64 " is missing", next);
        else if (first > next)
            mert_report_broken("rows %" PRId64 " to %" PRId64 " are missing", next, first - 1);
        next = i < rows.n ? rows.span[i][1] : first;
    }
}

static int codes_bad; /* the open record has bad codes, which is reported */

static int check_codes(const mts_record *r, const double *x, int64_t n, int64_t first)
{
    codes_bad = mert_codes_check(r->ncodebooks, r->classes, x, n / r->ncodebooks, first / r->ncodebooks, &tensor_error);
    return codes_bad;
}

int tensor_check_run(int argc, char **argv)
{
    int64_t element = 0;
    int stop = 0, spoilt = 0; /* spoilt: the open record has a NaN or infinity, which is reported */
    tensor_open(argv, argc);
    for (int event; !stop && (event = mert_inputs_next(&tensor_in, &tensor_error)) != MTS_EOF;) {
        const mts_record *r = event == MTS_ERROR ? NULL : mts_reader_record(tensor_in.reader);
        const mts_failure *x = event == MTS_ERROR ? NULL : mts_reader_failure(tensor_in.reader);
        char why[MTS_STAGE_MAX + MTS_REASON_MAX + 32];
        switch (event) {
        case MTS_BEGIN:
            if (complete)
                check_begin(mts_reader_begin(tensor_in.reader));
            break;
        case MTS_RECORD: element = codes_bad = spoilt = 0; break;
        case MTS_CHUNK:
            if (!spoilt && mert_finite_check(r->dtype, mts_reader_data(tensor_in.reader),
                                             mts_reader_frames(tensor_in.reader), mts_record_width(r),
                                             element / mts_record_width(r), &tensor_error)) {
                spoilt = 1;
                stop = mert_report_failed(r->key, tensor_error.text, 1);
            }
            if (!stop && r->ncodebooks && !codes_bad && tensor_each_block(element, check_codes))
                stop = mert_report_failed(r->key, tensor_error.text, 1);
            element += mts_reader_frames(tensor_in.reader) * mts_record_width(r);
            break;
        case MTS_RECORD_END:
            if (complete)
                check_row(r->row, r->key);
            if (!codes_bad && !spoilt)
                stop = mert_inputs_report(&tensor_in, event, &tensor_error);
            break;
        case MTS_FAILED:
            if (complete && x->row >= 0)
                check_row(x->row, x->key);
            snprintf(why, sizeof why, "%s%s%s%s", x->here ? "" : "failed in ", x->here ? "" : x->stage,
                     x->here ? "" : ": ", x->reason);
            stop = mert_report_failed(x->key, why, 1);
            break;
        default: stop = mert_inputs_report(&tensor_in, event, &tensor_error);
        }
    }
    if (complete && !stop)
        check_missing();
    mert_row_set_free(&rows);
    return tensor_finish();
}

/* ---- cmp ---- */

static mert_tolerance tolerance;

const mert_option tensor_cmp_options[] = {
    {"rtol", 0, MERT_DOUBLE, &tolerance.rtol, "X", 0, 1e30, NULL, "allowed difference relative to the value of B"},
    {"atol", 0, MERT_DOUBLE, &tolerance.atol, "Y", 0, 1e30, NULL, "allowed difference"},
    {"ptol", 0, MERT_DOUBLE, &tolerance.ptol, "Z", 0, 1e30, NULL,
     "allowed difference relative to the largest value of B's record"},
    {0}};

static void print_difference(const mert_difference *d)
{
    printf("%s\t%s\t", tensor_row(d->row), tensor_key(d->key));
    if (d->what[0])
        printf("%s%s", d->what, d->elements ? "; " : "\n");
    if (d->what[0] && !d->elements)
        return;
    if (!d->unequal)
        printf("equal: %" PRId64 " values", d->elements);
    else
        printf("largest difference %.3g at [%" PRId64 ", %" PRId64
               "]: %.9g and %.9g; %.3g of the value, %.3g of the peak %.4g; "
               "%" PRId64 " of %" PRId64 " differ",
               d->largest, d->at_frame, d->at_element, d->a, d->b, d->relative, d->largest / d->peak, d->peak,
               d->unequal, d->elements);
    printf("%s\n", d->beyond && !d->what[0] ? "; beyond the tolerance" : "");
}

int tensor_cmp_run(int argc, char **argv)
{
    mert_inputs other;
    mert_difference d;
    int64_t beyond = 0;
    int rc = 0;
    if (argc != 2 || (!strcmp(argv[0], "-") && !strcmp(argv[1], "-")))
        mert_usage_error("two streams are compared: two files, or one and - for standard input");
    mert_inputs_open(&tensor_in, argv, 1);
    mert_inputs_open(&other, argv + 1, 1);
    mert_comparison *c = mert_comparison_new(&tensor_in, &other, &tolerance, mert_inputs_report);
    while (c && !ferror(stdout) && (rc = mert_comparison_next(c, &d)) == 1) {
        print_difference(&d);
        beyond += d.beyond;
    }
    if (!c)
        mert_report_broken("out of memory");
    if (beyond)
        mert_report_broken("%s and %s: %" PRId64 " record%s differ%s", argv[0], argv[1], beyond, beyond == 1 ? "" : "s",
                           beyond == 1 ? "s" : "");
    mert_comparison_free(c);
    mert_inputs_close(&other);
    return tensor_finish();
}
