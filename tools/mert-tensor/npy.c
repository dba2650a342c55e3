/* from-npy, to-npy: convert NumPy arrays to records, and back. */
#include "tools/mert-tensor/commands.h"

#include "formats/file.h"
#include "formats/labels/manifest.h"
#include "libcommon/program/report.h"
#include "libcommon/tensor/npy_record.h"

#include <stdlib.h>
#include <string.h>

/* ---- from-npy ---- */

static mert_npy_meaning meaning = {.frame_rate_den = 1};
static const char *given_key, *frame_rate, *manifest_name;

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

static char *file_of(int64_t row)
{
    char name[256];
    if (!manifest_name)
        return strdup(operands[row]);
    mert_npy_file_name(name, sizeof name, manifest.rows[row].path);
    return mert_path_join(operands[0], name);
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
        mert_usage_error(argc ? "--kind is missing" : "which .npy files?");
    if (!strcmp(meaning.kind, "pcm") && !meaning.sample_rate)
        mert_usage_error("pcm needs --rate");
    if (given_key && (argc > 1 || manifest_name))
        mert_usage_error("--key names one record, here are %s",
                         manifest_name ? "those of a manifest" : "several files");
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

static const char *output, *folder;

const mert_option tensor_to_options[] = {
    {"output", 'o', MERT_STRING, &output, "FILE.npy", 0, 0, NULL, "the file to write, if there is one record"},
    {"dir", 'd', MERT_STRING, &folder, "DIR", 0, 0, NULL, "the folder for one file per record, named by its key"},
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

static mert_npy_writer *create_for(const mts_record *r, int64_t before)
{
    char name[256];
    if (output && before)
        return mert_fail(&tensor_error, "is a second record; -o takes one (see -d)"), NULL;
    if (output)
        return mert_npy_create(output, mert_npy_type_of(r->dtype), r->ndim, r->shape, &tensor_error);
    if (take_name(r->key))
        return NULL;
    mert_npy_file_name(name, sizeof name, r->key);
    char *path = mert_path_join(folder, name);
    mert_npy_writer *w = path ? mert_npy_create(path, mert_npy_type_of(r->dtype), r->ndim, r->shape, &tensor_error)
                              : NULL;
    free(path);
    return w;
}

int tensor_to_run(int argc, char **argv)
{
    mert_npy_writer *w = NULL;
    int64_t records = 0;
    int stop = 0;
    if (!output == !folder)
        mert_usage_error("either -o FILE.npy or -d DIR");
    if (folder && mert_make_directory(folder, &tensor_error)) {
        mert_report_broken("%s", tensor_error.text);
        return tensor_finish();
    }
    mert_inputs_open(&tensor_in, argv, argc);
    for (int event; !stop && (event = mert_inputs_next(&tensor_in, &tensor_error)) != MTS_EOF;) {
        const mts_record *r = event == MTS_ERROR ? NULL : mts_reader_record(tensor_in.reader);
        int bad = 0;
        if (event == MTS_RECORD) {
            bad = !(w = create_for(r, records++));
        } else if (event == MTS_CHUNK) {
            const void *data = mts_reader_data(tensor_in.reader);
            bad = w && mert_npy_append_frames(w, r, data, mts_reader_frames(tensor_in.reader), &tensor_error);
        } else if (event == MTS_RECORD_END) {
            bad = w && mert_npy_commit(w, &tensor_error);
            if (w && !bad)
                stop = mert_inputs_report(&tensor_in, event, &tensor_error);
            w = NULL;
        } else {
            if (event == MTS_FAILED || event == MTS_ERROR || event == MTS_DAMAGE) {
                mert_npy_abandon(event == MTS_DAMAGE ? NULL : w);
                w = event == MTS_DAMAGE ? w : NULL;
            }
            stop = mert_inputs_report(&tensor_in, event, &tensor_error);
        }
        if (bad) {
            stop = mert_report_failed(r->key, tensor_error.text, 1);
            mert_npy_abandon(event == MTS_RECORD_END ? NULL : w);
            w = NULL;
            mts_skip(tensor_in.reader);
        }
    }
    mert_npy_abandon(w);
    if (output && !records && !stop)
        mert_report_broken("no record that is whole came, %s is not written", output);
    free(taken);
    return tensor_finish();
}
