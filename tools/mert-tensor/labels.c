/* Label files (text or arrays: formats/labels/labels.h) and streams of codes: labels converts a stream to label files,
 * from-labels converts them back. From codes that were made in shards it writes the same files as a single run with
 * --labels. dict and to-fairseq write files for fairseq. */
#include "tools/mert-tensor/commands.h"

#include "formats/array.h"
#include "formats/file.h"
#include "formats/labels/export.h"
#include "libcommon/base/integer.h"
#include "libcommon/program/log.h"
#include "libcommon/program/report.h"
#include "libcommon/tensor/paste.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- labels ---- */

static const char *pattern;
static int with_dict, npy_type;
static const char *const npy_types[] = {"auto", "i16", "i32", "i64", NULL};

const mert_option tensor_labels_options[] = {
    {"output", 'o', MERT_STRING, &pattern, "PATTERN", 0, 0, NULL,
     "label file to write, or one for each codebook with %d in the name; .npy: padded arrays"},
    {"dict", 0, MERT_FLAG, &with_dict, NULL, 0, 0, NULL, "also write dict.NAME.txt, which fairseq needs"},
    {"npy-type", 0, MERT_CHOICE, &npy_type, "TYPE", 0, 0, npy_types,
     "type of padded arrays; auto: i16, or i32 for more than 32768 classes"},
    {0}};

static int take(mert_labels_writer *w, int event)
{
    const mts_failure *x = mts_reader_failure(tensor_in.reader);
    const mts_reader *r = tensor_in.reader;
    switch (event) {
    case MTS_BEGIN: return mert_labels_stream(w, mts_reader_begin(r), &tensor_error);
    case MTS_RECORD: return mert_labels_record(w, mts_reader_record(r), &tensor_error);
    case MTS_CHUNK: return mert_labels_frames(w, mts_reader_data(r), mts_reader_frames(r), &tensor_error);
    case MTS_RECORD_END: return mert_labels_end(w, &tensor_error);
    case MTS_FAILED: return mert_labels_failed(w, x->key, x->row, &tensor_error);
    default: return 0;
    }
}

/* Reads all input in order. -1: labels cannot be written; the reason has been printed. */
static int take_all(mert_labels_writer *w, int argc, char **argv)
{
    tensor_open(argv, argc);
    for (int event; (event = mert_inputs_next(&tensor_in, &tensor_error)) != MTS_EOF;) {
        if (mert_inputs_report(&tensor_in, event, &tensor_error) || event == MTS_ERROR)
            return -1;
        if (take(w, event)) {
            mert_report_broken("%s", tensor_error.text);
            return -1;
        }
    }
    return 0;
}

int tensor_labels_run(int argc, char **argv)
{
    static const mert_npy_type types[] = {0, MERT_NPY_I16, MERT_NPY_I32, MERT_NPY_I64};
    if (!pattern)
        mert_usage_error("-o PATTERN is needed");
    mert_labels_writer *w = mert_labels_create(pattern, &tensor_error);
    if (!w && !strcmp(tensor_error.text, "out of memory"))
        mert_no_memory();
    if (!w)
        mert_usage_error("%s", tensor_error.text);
    if (with_dict)
        mert_labels_with_dict(w);
    if (npy_type)
        mert_labels_npy_type(w, types[npy_type]);
    if (take_all(w, argc, argv))
        mert_labels_abandon(w); /* existing files are not changed */
    else if (mert_labels_commit(w, &tensor_error))
        mert_report_broken("%s", tensor_error.text);
    return tensor_finish();
}

/* ---- reading label files ---- */

static const char *manifest_name, *frame_rate, *folder;
static mert_manifest manifest;
static int64_t classes, sample_rate, rate_num, rate_den = 1;

static const char not_known[]
    = "the number of classes is not known: there is no .meta and no dictionary (see --classes)";

/* Fills missing properties of labels from the command line. */
static int complete(mert_labels *l, mert_error *e)
{
    mert_labels_meta *m = &l->meta;
    if (classes && m->classes && m->classes != classes)
        return mert_fail(e, "%s: has %" PRId64 " classes, --classes says %" PRId64, l->path, m->classes, classes);
    if (rate_num && m->frame_rate_num && m->frame_rate_num * rate_den != rate_num * m->frame_rate_den)
        return mert_fail(e, "%s: has %" PRId64 "/%" PRId64 " labels per second, --frame-rate says %" PRId64 "/%" PRId64,
                         l->path, m->frame_rate_num, m->frame_rate_den, rate_num, rate_den);
    if (!m->classes && !classes)
        return mert_fail(e, "%s: %s", l->path, not_known);
    m->classes = m->classes ? m->classes : classes;
    if (!m->frame_rate_num) {
        m->frame_rate_num = rate_num;
        m->frame_rate_den = rate_den;
    }
    return 0;
}

/* A difference of a tenth of a second is only a warning in fairseq; here it is an error. */
static int match(const mert_labels *l, mert_error *e)
{
    const mert_labels_meta *m = &l->meta;
    return manifest_name
           && mert_labels_match(l, &manifest, sample_rate, 0, 1, 1 + m->frame_rate_num / (10 * m->frame_rate_den), e);
}

/* Printed only if there is no other error. */
static void say_unverified(const mert_labels *l)
{
    if (!l->verified)
        mert_log_note("%s: unverified: no .meta file beside it%s", l->path,
                      l->cut ? ", and its last line has no end" : "");
    else if (!l->meta.hash)
        mert_log_note("%s: unverified: its .meta has no hash of it", l->path);
}

/* K, or -1. */
static int open_labels(mert_labels **all, const char *name, mert_error *e)
{
    int K = mert_labels_open_all(all, name, e);
    for (int k = 0; k < K; k++)
        if (complete(&(*all)[k], e) || match(&(*all)[k], e)) {
            mert_labels_close_all(*all, K);
            return -1;
        }
    return K;
}

/* ---- from-labels ---- */

const mert_option tensor_from_labels_options[] = {
    {"manifest", 0, MERT_STRING, &manifest_name, "FILE", 0, 0, NULL,
     "manifest of the labels: its paths become keys (default: row-0, row-1, ...)"},
    {"rate", 0, MERT_INT64, &sample_rate, "HZ", 0, 2147483647, NULL,
     "sample rate of the audio; with --manifest the lengths are also checked (0: not known)"},
    {"classes", 0, MERT_INT64, &classes, "V", 1, 2147483647, NULL,
     "number of classes, for labels without a .meta and a dictionary"},
    {"frame-rate", 0, MERT_STRING, &frame_rate, "A/B", 0, 0, NULL, "labels per second, for labels without a .meta"},
    {0}};

enum { FRAMES = 16384 };

typedef struct reading {
    mert_labels *all;
    int K;
    int empty_is_failed; /* 1: a row without labels failed; 0: it is too short to have any */
    int32_t *column;     /* [FRAMES] */
    void *block;         /* [FRAMES, K] of the record's type */
    mts_writer *out;
    mts_record record;
} reading;

/* The model hash for these codebooks: consecutive codebooks of a model are a part. */
static uint64_t model_of(const mert_labels *all, int K)
{
    mert_paste_part parts[MTS_CODEBOOKS_MAX];
    int n = 0;
    for (int k = 0; k < K; k++) {
        const mert_labels_meta *m = &all[k].meta;
        if (k && m->codebook == all[k - 1].meta.codebook && m->codebook_index == all[k - 1].meta.codebook_index + 1)
            parts[n - 1].count++;
        else
            parts[n++] = (mert_paste_part){m->codebook, (int)m->codebook_index, 1};
    }
    return mert_paste_model(parts, n);
}

static void describe(reading *r)
{
    const mert_labels_meta *m = &r->all[0].meta;
    int64_t most = 0;
    r->record = (mts_record){.kind = "codes", .ndim = 2, .shape = {0, r->K}, .sample_rate = sample_rate,
                             .frame_rate_num = m->frame_rate_num, .frame_rate_den = m->frame_rate_den,
                             .ncodebooks = r->K, .model = model_of(r->all, r->K)};
    for (int k = 0; k < r->K; k++) {
        r->record.classes[k] = r->all[k].meta.classes;
        most = r->all[k].meta.classes > most ? r->all[k].meta.classes : most;
    }
    r->record.dtype = most > 65536 ? MTS_I32 : MTS_U16;
    /* Without a .meta, it is not known why a row is empty. */
    r->empty_is_failed = !r->all[0].verified || m->failed_rows > 0;
}

/* 0; 1: the row fails, with the reason in tensor_error. */
static int check_row(const reading *r, int64_t row, int64_t count)
{
    for (int k = 1; k < r->K; k++) {
        int64_t n = mert_labels_count(&r->all[k], row);
        if (n != count) {
            mert_fail(&tensor_error, "%" PRId64 " labels in %s, %" PRId64 " in %s", count, r->all[0].path, n,
                      r->all[k].path);
            return 1;
        }
    }
    return 0;
}

/* 0; 1: invalid label; -1: cannot write. */
static int put_frames(reading *r, int64_t row, int64_t count)
{
    mert_labels_cursor cursors[MTS_CODEBOOKS_MAX] = {{0}};
    for (int k = 0; k < r->K; k++)
        cursors[k].row = row;
    for (int64_t at = 0, n; at < count; at += n) {
        n = mert_smaller(count - at, FRAMES);
        for (int k = 0; k < r->K; k++) {
            if (mert_labels_read_on(&r->all[k], &cursors[k], n, r->column, &tensor_error))
                return 1;
            for (int64_t t = 0; t < n; t++)
                if (r->record.dtype == MTS_I32)
                    ((int32_t *)r->block)[t * r->K + k] = r->column[t];
                else
                    ((uint16_t *)r->block)[t * r->K + k] = (uint16_t)r->column[t];
        }
        if (mts_write_frames(r->out, r->block, n))
            return -1;
    }
    return 0;
}

/* 0; 1: stop (--fail-fast); -1: cannot write. */
static int put_row(reading *r, int64_t row)
{
    mts_record *x = &r->record;
    const int64_t count = mert_labels_count(&r->all[0], row);
    int bad = check_row(r, row, count);
    const int before = !bad && !count && r->empty_is_failed; /* it was reported where it failed */
    x->row = row;
    x->shape[0] = count;
    if (manifest_name)
        snprintf(x->key, sizeof x->key, "%s", manifest.rows[row].path);
    else
        snprintf(x->key, sizeof x->key, "row-%" PRId64, row);
    if (before)
        mert_fail(&tensor_error, "it has no labels");
    if (!bad && !before) {
        if (mts_write_record(r->out, x) || (bad = put_frames(r, row, count)) < 0)
            return -1;
        if (!bad) {
            mert_report_item(mert_record_seconds(x));
            return mts_write_record_end(r->out);
        }
    }
    if (mts_write_failed(r->out, x->key, row, mert_tool_name(), tensor_error.text))
        return -1;
    return mert_report_failed(x->key, tensor_error.text, !before);
}

static void put_all(reading *r)
{
    const mert_labels *l = r->all;
    mts_begin begin = {.manifest = manifest_name ? manifest.hash : l->meta.manifest, .row_first = 0, .row_end = l->rows,
                       .rows_total = l->rows};
    char *paths[MTS_CODEBOOKS_MAX];
    int rc = 0;
    for (int k = 0; k < r->K; k++)
        paths[k] = r->all[k].path;
    if (!begin.manifest)
        begin.input = mert_files_hash(paths, r->K);
    snprintf(begin.provenance, sizeof begin.provenance, "mert-tensor %s from-labels\n", mert_version());
    r->out = mts_writer_open(stdout, "standard output", &begin, mert_options.level);
    for (int64_t row = 0; r->out && !rc && row < l->rows; row++)
        rc = put_row(r, row);
    if (r->out && rc < 0)
        mert_fail(&tensor_error, "%s", mts_writer_error(r->out));
    if (!r->out || mts_writer_close(r->out, !rc, rc ? NULL : tensor_error.text, sizeof tensor_error.text) || rc < 0) {
        mert_report_broken("%s", r->out ? tensor_error.text : "out of memory");
        clearerr(stdout); /* reported already */
    }
}

int tensor_from_labels_run(int argc, char **argv)
{
    reading r = {0};
    if (argc != 1)
        mert_usage_error("one label file, or one pattern with %%d for the codebook");
    if (frame_rate)
        tensor_frame_rate(frame_rate, &rate_num, &rate_den);
    tensor_refuse_terminal();
    if ((manifest_name && mert_manifest_read(&manifest, manifest_name, &tensor_error))
        || (r.K = open_labels(&r.all, argv[0], &tensor_error)) < 0) {
        mert_report_broken("%s", tensor_error.text);
    } else {
        for (int k = 0; k < r.K; k++)
            say_unverified(&r.all[k]);
        describe(&r);
        r.column = mert_array(FRAMES, sizeof *r.column);
        r.block = mert_array(FRAMES, mts_record_step(&r.record));
        if (r.column && r.block)
            put_all(&r);
        else
            mert_report_broken("out of memory");
        mert_labels_close_all(r.all, r.K);
    }
    free(r.column);
    free(r.block);
    mert_manifest_free(&manifest);
    return tensor_finish();
}

/* ---- dict ---- */

const mert_option tensor_dict_options[] = {
    {"classes", 0, MERT_INT64, &classes, "V", 1, 2147483647, NULL, "number of classes, for labels without a .meta"},
    {0}};

int tensor_dict_run(int argc, char **argv)
{
    if (!argc)
        mert_usage_error("name the label files");
    for (int i = 0; i < argc; i++) {
        mert_labels *all;
        int K = open_labels(&all, argv[i], &tensor_error), bad = K < 0;
        for (int k = 0; k < K && !bad; k++) /* an existing dictionary was compared with the labels above */
            bad = !all[k].dict && mert_label_dict_write(all[k].path, all[k].meta.classes, &tensor_error);
        for (int k = 0; k < K && !bad; k++)
            say_unverified(&all[k]);
        if (bad)
            mert_report_broken("%s", tensor_error.text);
        if (K >= 0)
            mert_labels_close_all(all, K);
    }
    return tensor_finish();
}

/* ---- to-fairseq ---- */

const mert_option tensor_to_fairseq_options[] = {
    {"manifest", 0, MERT_STRING, &manifest_name, "FILE", 0, 0, NULL, "manifest of the labels"},
    {"output", 'o', MERT_STRING, &folder, "DIR", 0, 0, NULL, "folder to write to"},
    {"rate", 0, MERT_INT64, &sample_rate, "HZ", 0, 2147483647, NULL,
     "sample rate of the manifest: labels must cover the audio to 0.1 s (0: not checked)"},
    {"classes", 0, MERT_INT64, &classes, "V", 1, 2147483647, NULL,
     "number of classes, for labels without a .meta and a dictionary"},
    {0}};

/* The label files of all patterns. */
typedef struct label_list {
    mert_labels **sets;
    int *K, n;
    const mert_labels **all;
    int total;
} label_list;

static int gather(label_list *x, int n, char **patterns)
{
    x->sets = mert_array_zeroed(n, sizeof *x->sets);
    x->K = mert_array_zeroed(n, sizeof *x->K);
    x->all = mert_array_zeroed(n, MTS_CODEBOOKS_MAX * sizeof *x->all);
    if (!x->sets || !x->K || !x->all)
        return mert_fail(&tensor_error, "out of memory");
    for (; x->n < n; x->n++) {
        int K = open_labels(&x->sets[x->n], patterns[x->n], &tensor_error);
        if (K < 0)
            return -1;
        x->K[x->n] = K;
        for (int k = 0; k < K; k++)
            x->all[x->total++] = &x->sets[x->n][k];
    }
    return 0;
}

int tensor_to_fairseq_run(int argc, char **argv)
{
    label_list x = {0};
    int64_t dropped = 0;
    if (!manifest_name || !folder || !argc)
        mert_usage_error(!manifest_name ? "--manifest FILE is needed"
                         : !folder      ? "-o DIR is needed"
                                        : "name the label files");
    if (mert_manifest_read(&manifest, manifest_name, &tensor_error) || gather(&x, argc, argv)
        || mert_labels_export(manifest_name, &manifest, x.all, x.total, folder, &dropped, &tensor_error)) {
        mert_report_broken("%s", tensor_error.text);
    } else {
        for (int i = 0; i < x.total; i++)
            say_unverified(x.all[i]);
        for (int64_t i = 0; i < manifest.n - dropped; i++)
            mert_report_item(0);
        for (int64_t i = 0; i < dropped; i++)
            mert_report_failed("", "", 0);
        if (dropped)
            mert_log_note("%s: %" PRId64 " of %" PRId64 " rows have no labels and are left out", manifest_name, dropped,
                          manifest.n);
    }
    for (int i = 0; i < x.n; i++)
        mert_labels_close_all(x.sets[i], x.K[i]);
    free(x.sets);
    free(x.K);
    free(x.all);
    mert_manifest_free(&manifest);
    return tensor_finish();
}
