/* stat: statistics. For features their moments; for codes measures of a teacher, before a model is trained with it: how
 * its classes are used, and how they relate to reference labels. */
#include "tools/mert-tensor/commands.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/program/report.h"
#include "libcommon/tensor/joint.h"
#include "libcommon/tensor/paste.h"
#include "libcommon/tensor/statistics.h"
#include "libcommon/tensor/values.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *against;
static int64_t tolerance = TENSOR_TOLERANCE;
static int each;

const mert_option tensor_stat_options[] = {
    {"each", 0, MERT_FLAG, &each, NULL, 0, 0, NULL, "for codes, also print how often each class occurs"},
    {"against", 0, MERT_STRING, &against, "REF", 0, 0, NULL,
     "compare with codes of reference labels of the same items: mutual information, purity, PNMI"},
    {"tolerance", 0, MERT_INT64, &tolerance, "N", 0, 1e9, NULL,
     "number of frames by which an item's codes and reference may differ in length; the longer is cut"},
    {0}};

/* ---- features ---- */

static mert_moments moments, all;

static void print_moments(const char *row, const char *key, const char *kind, const char *shape, const mert_moments *m)
{
    static int head;
    if (!head++)
        printf("row\tkey\tkind\tshape\tmin\tmax\tmean\tstd\tnan\tinf\n");
    printf("%s\t%s\t%s\t%s\t%.6g\t%.6g\t%.6g\t%.6g\t%" PRId64 "\t%" PRId64 "\n", row, key, kind, shape,
           m->n ? m->min : NAN, m->n ? m->max : NAN, m->n ? m->mean : NAN, mert_moments_std(m), m->nan, m->inf);
}

/* ---- use of classes ---- */

static mert_code_counts counts;
static int counting;

/* Prints the result for a codebook in words. */
static void print_verdict(int k, const mert_code_use *u)
{
    const int64_t classes = counts.classes[k], unused = classes - u->used;
    if (!u->used)
        printf("empty: no frames");
    else if (u->used == 1)
        printf("constant: always class %" PRId64, u->commonest);
    else if (u->largest >= 0.9)
        printf("nearly constant: class %" PRId64 " in %.1f%% of the frames", u->commonest, 100 * u->largest);
    else if (counts.frames < classes)
        printf("fewer frames than classes");
    else if (unused)
        printf("%" PRId64 " of %" PRId64 " classes are dead", unused, classes);
    else
        printf("all classes are used");
}

static void print_each(int k)
{
    for (int64_t i = 0; i < counts.classes[k]; i++) {
        int64_t n = i < counts.room[k] ? counts.count[k][i] : 0;
        printf("%d\t%" PRId64 "\t%" PRId64 "\t%.6f\n", k, i, n, counts.frames ? (double)n / (double)counts.frames : 0);
    }
}

static void print_counts(int codebooks)
{
    printf("codebook\tclasses\tused\tframes\tentropy\tperplexity\tlargest\trun\tverdict\n");
    for (int k = 0; k < codebooks; k++) {
        mert_code_use u = mert_code_counts_use(&counts, k);
        printf("%d\t%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t%.4f\t%.2f\t%.4f\t%.2f\t", k, counts.classes[k], u.used,
               counts.frames, u.entropy, exp2(u.entropy), u.largest, u.run);
        print_verdict(k, &u);
        putchar('\n');
    }
    if (each)
        printf("codebook\tclass\tframes\tshare\n");
    for (int k = 0; each && k < codebooks; k++)
        print_each(k);
}

/* 0, or -1 with the error: this record cannot be counted together with the others. */
static int count_with(const mts_record *r)
{
    if (counting)
        return mert_code_counts_fit(&counts, r) ? 0 : mert_fail(&tensor_error, "its codebooks are not those before");
    if (mert_code_counts_begin(&counts, r, &tensor_error))
        return -1;
    counting = 1;
    return 0;
}

static int stat_values(const mts_record *r, const double *x, int64_t n, int64_t first)
{
    if (r->ncodebooks)
        return mert_code_counts_add(&counts, x, n / r->ncodebooks, first / r->ncodebooks, &tensor_error);
    mert_moments_add(&moments, x, n);
    return 0;
}

static int stat_begin(const mts_record *r)
{
    mert_moments_begin(&moments);
    return r->ncodebooks ? count_with(r) : 0;
}

static int stat_alone(int argc, char **argv)
{
    int64_t element = 0, records = 0;
    int bad = 0, stop = 0;
    char shape[128];
    mert_moments_begin(&all);
    tensor_open(argv, argc);
    for (int event; !stop && !ferror(stdout) && (event = mert_inputs_next(&tensor_in, &tensor_error)) != MTS_EOF;) {
        const mts_record *r = event == MTS_ERROR ? NULL : mts_reader_record(tensor_in.reader);
        if (event == MTS_RECORD || (event == MTS_CHUNK && !bad)) {
            bad = event == MTS_RECORD ? stat_begin(r) : tensor_each_block(element, stat_values);
            element = event == MTS_RECORD ? 0 : element + mts_reader_frames(tensor_in.reader) * mts_record_width(r);
            if (bad)
                stop = mert_report_failed(r->key, tensor_error.text, 1);
        } else if (event != MTS_RECORD_END) {
            stop = mert_inputs_report(&tensor_in, event, &tensor_error);
        } else if (!bad) {
            stop = mert_inputs_report(&tensor_in, event, &tensor_error);
            if (r->ncodebooks)
                continue;
            print_moments(tensor_row(r->row), tensor_key(r->key), r->kind, mert_shape_print(shape, sizeof shape, r),
                          &moments);
            mert_moments_merge(&all, &moments);
            records++;
        }
    }
    if (records > 1)
        print_moments("-", "all", "-", "-", &all);
    if (counting)
        print_counts(counts.codebooks);
    mert_code_counts_free(&counts);
    return tensor_finish();
}

/* ---- comparison with reference labels: each codebook with each codebook of the reference ---- */

static int64_t budget = (int64_t)1 << 30; /* the most bytes of joint counts */
static mert_joint **joint;                /* [codebooks, references] */
static int codebooks, references;

static void free_joint(void)
{
    for (int i = 0; joint && i < codebooks * references; i++)
        mert_joint_free(joint[i]);
    free(joint);
    joint = NULL;
}

static int joint_begin(const mert_paste *p)
{
    const mts_record *r = mert_paste_record(p);
    const int own = mert_paste_column(p, 1), theirs = r->ncodebooks - own;
    if (joint && own != codebooks)
        return mert_fail(&tensor_error, "its codebooks are not those before");
    if (count_with(r))
        return -1;
    if (joint)
        return 0;
    codebooks = own;
    references = theirs;
    if (!(joint = mert_array_zeroed(mert_array_count(own, theirs), sizeof *joint)))
        return mert_fail(&tensor_error, "out of memory");
    for (int i = 0; i < own * theirs; i++)
        if (!(joint[i] = mert_joint_new(r->classes[i / theirs], r->classes[own + i % theirs], &budget))) {
            free_joint(); /* the next item tries again */
            return mert_fail(&tensor_error, "out of memory");
        }
    return 0;
}

static int joint_frames(const mert_paste *p)
{
    static double x[MERT_VALUES_BLOCK];
    const mts_record *r = mert_paste_record(p);
    const int K = r->ncodebooks;
    const int64_t frames = mert_paste_frames(p), block = MERT_VALUES_BLOCK / K;
    const char *data = mert_paste_data(p);
    for (int64_t at = 0, n; at < frames; at += n) {
        n = mert_smaller(frames - at, block);
        mert_values_read(r->dtype, data + (size_t)at * mts_record_step(r), n * K, x);
        if (mert_code_counts_add(&counts, x, n, mert_paste_first(p) + at, &tensor_error))
            return -1;
        for (int i = 0; i < codebooks * references; i++)
            for (int64_t t = 0; t < n; t++)
                if (mert_joint_add(joint[i], (int64_t)x[t * K + i / references],
                                   (int64_t)x[t * K + codebooks + i % references], &tensor_error))
                    return -1;
    }
    return 0;
}

static void print_joint(void)
{
    mert_joint_measures m;
    printf("codebook\treference\tframes\tentropy\tref_entropy\tmutual\tphone_purity\tcluster_purity\tpnmi\n");
    for (int i = 0; i < codebooks * references; i++) {
        if (mert_joint_measure(joint[i], &m, &tensor_error)) {
            mert_report_broken("%s", tensor_error.text);
            return;
        }
        printf("%d\t%d\t%" PRId64 "\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t", i / references, i % references, m.frames,
               m.entropy, m.reference_entropy, m.mutual, m.phone_purity, m.cluster_purity);
        if (isnan(m.pnmi))
            printf("-\n"); /* the reference is constant */
        else
            printf("%.4f\n", m.pnmi);
    }
}

/* Handles one event of the joined inputs. 1: stop. */
static int take_pair(const mert_paste *p, int event, int *bad)
{
    const mts_record *r = mert_paste_record(p);
    const mts_failure *x = mert_paste_failure(p);
    switch (event) {
    case MTS_RECORD:
        *bad = joint_begin(p);
        return *bad && mert_report_failed(r->key, tensor_error.text, 1);
    case MTS_CHUNK:
        if (*bad || !joint_frames(p))
            return 0;
        mert_report_broken("%s: %s", r->key, tensor_error.text);
        return 1;
    case MTS_RECORD_END:
        if (!*bad)
            mert_report_item(mert_record_seconds(r));
        return 0;
    case MTS_FAILED: return mert_report_failed(x->key, x->reason, x->here);
    case MTS_ERROR:
        if (*tensor_error.text)
            mert_report_broken("%s", tensor_error.text);
        return 1;
    default: return 0;
    }
}

static int stat_against(int argc, char **argv)
{
    static char standard_input[] = "-";
    mert_inputs in[2];
    char *files[2] = {argc ? argv[0] : standard_input, (char *)against};
    int stop = 0, bad = 0;
    if (argc > 1 || (!strcmp(files[0], "-") && !strcmp(files[1], "-")))
        mert_usage_error("--against needs one stream of codes and one of reference labels");
    mert_inputs_open(&in[0], &files[0], 1);
    mert_inputs_open(&in[1], &files[1], 1);
    mert_paste *p = mert_paste_new(in, 2, tolerance, mert_inputs_report);
    if (!p)
        mert_report_broken("out of memory");
    for (int event; p && !stop && (event = mert_paste_next(p, &tensor_error)) != MTS_EOF;)
        stop = take_pair(p, event, &bad);
    if (!stop && joint) {
        print_counts(codebooks);
        print_joint();
    }
    free_joint();
    mert_code_counts_free(&counts);
    mert_paste_free(p);
    mert_inputs_close(&in[0]);
    mert_inputs_close(&in[1]);
    return tensor_finish();
}

int tensor_stat_run(int argc, char **argv)
{
    return against ? stat_against(argc, argv) : stat_alone(argc, argv);
}
