/* from-npy, to-npy: convert NumPy arrays to records, and back. */
#include "tools/mert-tensor/commands.h"

#include "formats/file.h"
#include "formats/labels/manifest.h"
#include "libcommon/program/report.h"
#include "libcommon/tensor/npy_record.h"
#include "libcommon/tensor/values.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- from-npy ---- */

static mert_npy_meaning meaning = {.frame_rate_den = 1};
static const char *given_key, *frame_rate, *manifest_name;
static int tree; /* used by both commands */

const mert_option tensor_from_options[] = {
    {"kind", 0, MERT_STRING, &meaning.kind, "KIND", 0, 0, NULL,
     "pcm, cqt, mel, mfcc, chroma, hidden, codes, or another word"},
    {"rate", 0, MERT_INT64, &meaning.sample_rate, "HZ", 0, 2147483647, NULL,
     "sample rate of the audio that the arrays were made from (0: not known)"},
    {"frame-rate", 0, MERT_STRING, &frame_rate, "A/B", 0, 0, NULL,
     "time steps per second, as 24000/320 or 75 (pcm: the sample rate)"},
    {"key", 0, MERT_STRING, &given_key, "KEY", 0, 0, NULL,
     "key of the record (one file only; default: the name of the file)"},
    {"classes", 0, MERT_STRING, &meaning.classes, "V[,V...]", 0, 0, NULL,
     "codes: number of classes of all codebooks, or of each (default: largest code + 1)"},
    {"transpose", 0, MERT_FLAG, &meaning.transpose, NULL, 0, 0, NULL,
     "time is the last axis of the arrays: [K, T] becomes [T, K]"},
    {"allow-nonfinite", 0, MERT_FLAG, &meaning.nonfinite, NULL, 0, 0, NULL,
     "write NaN and infinities as they are (default: the file fails)"},
    {"manifest", 0, MERT_STRING, &manifest_name, "FILE", 0, 0, NULL,
     "one record for each row of a manifest, from a folder that to-npy -d has written"},
    {"tree", 0, MERT_FLAG, &tree, NULL, 0, 0, NULL, "--manifest: to-npy -d has written it with --tree"},
    {0}};

/* 0; 1: this file failed, for the reason in tensor_error; -1: cannot write. */
static int import_file(mts_writer *w, const char *path, mts_record *r)
{
    mert_npy a;
    int rc = 1;
    if (mert_npy_open(&a, path, &tensor_error))
        return 1;
    if (mert_npy_record(&a, &meaning, r, &tensor_error))
        mert_fail_in(&tensor_error, "%s", path);
    else if (mts_write_record(w, r))
        rc = -1;
    else if (!mert_npy_frames(&a, &meaning, r, w, &tensor_error))
        rc = mts_write_record_end(w);
    else
        mert_fail_in(&tensor_error, "%s", path);
    mert_npy_close(&a);
    return mts_writer_error(w)[0] ? -1 : rc;
}

/* The input: the files of the command line, or a file in the folder for each row of the manifest. */
static mert_manifest manifest;
static char **operands;

static char *name_of(const char *key)
{
    char name[256];
    if (tree)
        return mert_npy_tree_name(key);
    mert_npy_file_name(name, sizeof name, key);
    return strdup(name);
}

static char *file_of(int64_t row)
{
    char *name, *path;
    if (!manifest_name)
        return strdup(operands[row]);
    name = name_of(manifest.rows[row].path);
    path = name ? mert_path_join(operands[0], name) : NULL;
    free(name);
    return path;
}

/* 0; 1: stop (--fail-fast); -1: cannot write, for the reason in tensor_error. */
static int import_row(mts_writer *w, int64_t row)
{
    mts_record r = {.row = row};
    char *path = file_of(row);
    int rc;
    if (!path)
        return mert_fail(&tensor_error, "out of memory");
    snprintf(r.key, sizeof r.key, "%s", manifest_name ? manifest.rows[row].path : given_key ? given_key : path);
    rc = import_file(w, path, &r);
    free(path);
    if (!rc)
        mert_report_item(mert_record_seconds(&r));
    if (rc == 1) {
        int stop = mert_report_failed("", tensor_error.text, 1);
        rc = mts_write_failed(w, r.key, row, mert_tool_name(), tensor_error.text) ? -1 : stop;
    }
    return rc < 0 ? mert_fail(&tensor_error, "%s", mts_writer_error(w)) : rc;
}

static void check_from(int argc)
{
    if (!meaning.kind || !argc)
        mert_usage_error(argc ? "--kind is missing" : "name the .npy files");
    if (!strcmp(meaning.kind, "pcm") && !meaning.sample_rate)
        mert_usage_error("pcm needs --rate");
    if (given_key && (argc > 1 || manifest_name))
        mert_usage_error("--key names one record, here are %s",
                         manifest_name ? "those of a manifest" : "several files");
    if (tree && !manifest_name)
        mert_usage_error("--tree goes with --manifest");
    if (manifest_name && argc > 1)
        mert_usage_error("with --manifest the one operand is a folder");
    if (frame_rate)
        tensor_frame_rate(frame_rate, &meaning.frame_rate_num, &meaning.frame_rate_den);
}

int tensor_from_run(int argc, char **argv)
{
    mts_begin begin = {0};
    int rc = 0;
    check_from(argc);
    tensor_refuse_terminal();
    if (manifest_name && mert_manifest_read(&manifest, manifest_name, &tensor_error)) {
        mert_report_broken("%s", tensor_error.text);
        return tensor_finish();
    }
    operands = argv;
    begin.manifest = manifest.hash;
    if (!manifest_name)
        begin.input = mert_files_hash(argv, argc);
    begin.row_end = begin.rows_total = manifest_name ? manifest.n : argc;
    snprintf(begin.provenance, sizeof begin.provenance, "mert-tensor %s from-npy\n", mert_version());
    mts_writer *w = mts_writer_open(stdout, "standard output", &begin, mert_options.level);
    if (!w)
        rc = mert_fail(&tensor_error, "out of memory");
    for (int64_t row = 0; !rc && row < begin.rows_total; row++)
        rc = import_row(w, row);
    if (w && mts_writer_close(w, !rc, rc ? NULL : tensor_error.text, sizeof tensor_error.text) && !rc)
        rc = -1;
    if (rc < 0) {
        mert_report_broken("%s", tensor_error.text);
        clearerr(stdout); /* reported already */
    }
    mert_manifest_free(&manifest);
    return tensor_finish();
}

/* ---- to-npy ---- */

static const char *output, *folder, *index_name;
static int join;

const mert_option tensor_to_options[] = {
    {"output", 'o', MERT_STRING, &output, "FILE.npy", 0, 0, NULL, "the file to write, if there is one record"},
    {"join", 0, MERT_FLAG, &join, NULL, 0, 0, NULL, "-o: all records as one array, one behind the other along time"},
    {"dir", 'd', MERT_STRING, &folder, "DIR", 0, 0, NULL, "the folder for one file per record, named by its key"},
    {"tree", 0, MERT_FLAG, &tree, NULL, 0, 0, NULL, "-d: folders as in the keys, and names in UTF-8 as they are"},
    {"index", 0, MERT_STRING, &index_name, "FILE", 0, 0, NULL,
     "also write a table: key, file in the folder, time steps; for each record that is whole"},
    {0}};

/* Hashes of the keys that were written: an equal key must not replace the file of the first one. */
static uint64_t *taken;
static size_t ntaken, taken_room;

static int take_name(const char *key)
{
    uint64_t hash = mts_xxh64(key, strlen(key), 0);
    size_t i, room = taken_room ? 2 * taken_room : 1024;
    if (2 * (ntaken + 1) > taken_room) {
        uint64_t *old = taken;
        if (!(taken = calloc(room, sizeof *taken))) {
            taken = old;
            return mert_fail(&tensor_error, "out of memory");
        }
        for (size_t k = 0; k < taken_room; k++) {
            for (i = old[k] % room; taken[i]; i = (i + 1) % room)
                ;
            taken[i] = old[k];
        }
        free(old);
        taken_room = room;
    }
    hash += !hash; /* 0 marks a free slot */
    for (i = hash % taken_room; taken[i]; i = (i + 1) % taken_room)
        if (taken[i] == hash)
            return mert_fail(&tensor_error, "a second record of this name; its file exists");
    taken[i] = hash;
    ntaken++;
    return 0;
}

static mert_npy_writer *created;  /* the one of the open record or, with --join, of all records */
static mts_record joined;         /* the first record; all others must have its properties */
static int64_t whole, steps;      /* number of complete records, and of their time steps */
static char *created_name;        /* its name in the folder */
static mert_output *table;

static int create(const char *path, const mts_record *r, int64_t first)
{
    int64_t shape[MTS_NDIM_MAX];
    memcpy(shape, r->shape, sizeof shape);
    shape[0] = first;
    created = mert_npy_create(path, mert_npy_type_of(r->dtype), r->ndim, shape, &tensor_error);
    return created ? 0 : -1;
}

static int join_on(const mts_record *r)
{
    const mts_record *first = &joined;
    if (!created) {
        joined = *r;
        return create(output, r, -1);
    }
    if (r->dtype != first->dtype || r->ndim != first->ndim || strcmp(r->kind, first->kind) ||
        memcmp(r->shape + 1, first->shape + 1, (size_t)(r->ndim - 1) * sizeof *r->shape)) {
        char a[128], b[128];
        return mert_fail(&tensor_error, "%s %s %s cannot be joined to %s %s %s", r->kind, mts_dtype_name(r->dtype),
                         mert_shape_print(a, sizeof a, r), first->kind, mts_dtype_name(first->dtype),
                         mert_shape_print(b, sizeof b, first));
    }
    return 0;
}

/* Makes the folders above a file, as mkdir -p. */
static int make_above(char *path)
{
    char *slash = strrchr(path, '/');
    int bad;
    *slash = 0;
    bad = mert_make_directory(path, &tensor_error);
    *slash = '/';
    return bad;
}

static int begin_record(const mts_record *r, int64_t before)
{
    char *path;
    int bad;
    if (join)
        return join_on(r);
    if (output && before)
        return mert_fail(&tensor_error, "is a second record; -o takes one (see -d and --join)");
    if (output)
        return create(output, r, r->shape[0]);
    if (take_name(r->key))
        return -1;
    free(created_name);
    created_name = name_of(r->key);
    if (!created_name || !(path = mert_path_join(folder, created_name)))
        return mert_fail(&tensor_error, "out of memory");
    bad = (tree && make_above(path)) || create(path, r, r->shape[0]);
    free(path);
    return bad ? -1 : 0;
}

/* Replaces tabs and line ends, which would end the field. */
static void print_field(const char *text)
{
    for (; *text; text++)
        if (strchr("\t\n\r", *text))
            fprintf(table->stream, "%%%02X", (unsigned char)*text);
        else
            putc(*text, table->stream);
    putc('\t', table->stream);
}

static int end_record(const mts_record *r)
{
    mert_npy_writer *w = created;
    whole++;
    steps += r->shape[0];
    if (!join) {
        created = NULL;
        if (mert_npy_commit(w, &tensor_error))
            return -1;
    }
    if (table) {
        print_field(r->key);
        print_field(folder ? created_name : output);
        fprintf(table->stream, "%" PRId64 "\n", r->shape[0]);
    }
    return 0;
}

/* Discards what was written of the open record. */
static int void_record(void)
{
    if (join && created)
        return mert_npy_rewind(created, steps * mts_record_width(&joined), &tensor_error);
    mert_npy_abandon(created);
    created = NULL;
    return 0;
}

static int broken(void)
{
    mert_report_broken("%s", tensor_error.text);
    return 1;
}

/* Handles one event. 1: there are no more. */
static int take_event(int event, int64_t *records, int *open)
{
    const mts_record *r = event == MTS_ERROR ? NULL : mts_reader_record(tensor_in.reader);
    int bad = 0;
    if (event == MTS_RECORD) {
        bad = begin_record(r, (*records)++);
        *open = !bad;
    } else if (event == MTS_CHUNK) {
        const void *data = mts_reader_data(tensor_in.reader);
        bad = *open && mert_npy_append_frames(created, r, data, mts_reader_frames(tensor_in.reader), &tensor_error);
    } else if (event == MTS_RECORD_END) {
        int was = *open;
        bad = *open && end_record(r);
        *open = 0;
        return bad ? mert_report_failed(r->key, tensor_error.text, 1)
                   : was && mert_inputs_report(&tensor_in, event, &tensor_error);
    } else {
        const mert_error why = tensor_error;
        if ((event == MTS_FAILED || event == MTS_ERROR) && *open) {
            *open = 0;
            if (void_record())
                return broken();
        }
        return mert_inputs_report(&tensor_in, event, &why);
    }
    if (!bad)
        return 0;
    bad = mert_report_failed(r->key, tensor_error.text, 1);
    if (*open && void_record())
        return broken();
    *open = 0;
    mts_skip(tensor_in.reader);
    return bad;
}

static void check_to(void)
{
    if (!output == !folder)
        mert_usage_error("either -o FILE.npy or -d DIR");
    if (tree && !folder)
        mert_usage_error("--tree says how the names in -d DIR are made");
    if (join && !output)
        mert_usage_error("--join writes one array: -o FILE.npy");
}

int tensor_to_run(int argc, char **argv)
{
    int64_t records = 0;
    int stop = 0, open = 0, event;
    check_to();
    tensor_open(argv, argc);
    if ((folder && mert_make_directory(folder, &tensor_error)) ||
        (index_name && !(table = mert_output_open(index_name, &tensor_error)))) {
        mert_report_broken("%s", tensor_error.text);
        return tensor_finish();
    }
    do {
        event = mert_inputs_next(&tensor_in, &tensor_error);
        if (event != MTS_EOF)
            stop = take_event(event, &records, &open);
    } while (!stop && event != MTS_EOF);
    if (!stop && join && whole)
        (void)(mert_npy_commit(created, &tensor_error) && broken());
    else
        mert_npy_abandon(created);
    if (output && !(join ? whole : records) && !stop)
        mert_report_broken("no record that is whole came, %s is not written", output);
    if (stop)
        mert_output_abandon(table);
    else if (table && mert_output_commit(table, &tensor_error))
        broken();
    free(created_name);
    free(taken);
    return tensor_finish();
}
