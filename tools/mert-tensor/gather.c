/* gather: writes records in the order of a manifest, from files that have them in any order. Items are found by their
 * keys and get the row numbers of the manifest; items that are not in the manifest are left out.
 *
 *     first pass: find the position of each item, and the failed items
 *     second pass: read the items in the order of the manifest, and write them */
#include "tools/mert-tensor/gather.h"

#include "formats/array.h"
#include "tools/mert-tensor/commands.h"

#include "formats/file.h"
#include "formats/labels/manifest.h"
#include "libcommon/program/report.h"
#include "libcommon/program/signals.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *manifest_path;

const mert_option tensor_gather_options[] = {
    {"manifest", 0, MERT_STRING, &manifest_path, "TSV", 0, 0, NULL, "manifest that gives the rows and their order"},
    {0}};

typedef struct place {
    const char *key;
    int64_t row;
    int file;             /* number of its file; -1: not found */
    int64_t offset;
    mts_failure *failure; /* if it failed, else NULL */
} place;

typedef struct gathering {
    mert_manifest manifest;
    place *by_key;   /* [rows of the manifest], sorted by key */
    place **by_row;  /* the same, in the order of the manifest */
    char **files;
    int nfiles;
    int open;        /* number of the open file; -1: none */
    FILE *f;
    mts_reader *reader;
    mts_begin begin; /* the begin of the first stream */
    int begun;
    mts_writer *writer;
} gathering;

static int compare(const void *a, const void *b)
{
    return strcmp(((const place *)a)->key, ((const place *)b)->key);
}

static int make_places(gathering *g, mert_error *e)
{
    const mert_manifest *m = &g->manifest;
    g->by_key = mert_array(m->n + 1, sizeof *g->by_key);
    g->by_row = mert_array(m->n + 1, sizeof *g->by_row);
    if (!g->by_key || !g->by_row) {
        free(g->by_key);
        g->by_key = NULL;
        return mert_fail(e, "out of memory");
    }
    for (int64_t i = 0; i < m->n; i++)
        g->by_key[i] = (place){.key = m->rows[i].path, .row = i, .file = -1};
    qsort(g->by_key, (size_t)m->n, sizeof *g->by_key, compare);
    for (int64_t i = 0; i < m->n; i++)
        g->by_row[g->by_key[i].row] = &g->by_key[i];
    return 0;
}

/* Finds the place of an item that was read: *p, or NULL if it is not in the manifest. -1: the item is there twice. */
static int take_place(gathering *g, const char *key, int file, place **p, mert_error *e)
{
    place wanted = {.key = key};
    *p = bsearch(&wanted, g->by_key, (size_t)g->manifest.n, sizeof wanted, compare);
    if (!*p)
        return 0;
    if ((*p)->file >= 0)
        return mert_fail(e, "%s: %s comes a second time", g->files[file], key);
    (*p)->file = file;
    return 0;
}

/* ---- first pass ---- */

static void close_file(gathering *g)
{
    mts_reader_close(g->reader);
    if (g->f)
        fclose(g->f);
    g->reader = NULL;
    g->f = NULL;
    g->open = -1;
}

static int open_file(gathering *g, int i, mert_error *e)
{
    if (g->open == i)
        return 0;
    close_file(g);
    if (!(g->f = fopen(g->files[i], "rb")))
        return mert_fail(e, "%s: %s", g->files[i], strerror(errno));
    if (mert_input_note(g->files[i], e))
        return -1;
    if (!(g->reader = mts_reader_open(g->f, g->files[i])))
        return mert_fail(e, "%s: out of memory", g->files[i]);
    g->open = i;
    return 0;
}

static int keep_failure(gathering *g, int i, mert_error *e)
{
    const mts_failure *x = mts_reader_failure(g->reader);
    place *p;
    if (take_place(g, x->key, i, &p, e))
        return -1;
    if (!p)
        return x->here ? mert_fail(e, "%s", x->reason) : 0;
    if (!(p->failure = malloc(sizeof *p->failure)))
        return mert_fail(e, "out of memory");
    *p->failure = *x;
    return 0;
}

/* Finds the failed items of a file. Reads all records, so that damage or a missing end is found now. */
static int find_failed(gathering *g, int i, mert_error *e)
{
    if (open_file(g, i, e))
        return -1;
    for (int event; (event = mts_next(g->reader)) != MTS_EOF;) {
        if (event == MTS_ERROR)
            return mert_fail(e, "%s", mts_reader_error(g->reader));
        if (event == MTS_DAMAGE)
            return mert_fail(e, "%s", mts_reader_failure(g->reader)->reason);
        if (event == MTS_BEGIN && !g->begun++)
            g->begin = *mts_reader_begin(g->reader);
        if (event == MTS_RECORD)
            mts_skip(g->reader);
        if (event == MTS_FAILED && keep_failure(g, i, e))
            return -1;
    }
    close_file(g);
    return 0;
}

static int find_records(gathering *g, int i, mert_error *e)
{
    mts_index x;
    place *p;
    int bad = 0;
    if (open_file(g, i, e) || mts_index_make(&x, g->f, g->files[i], e->text, sizeof e->text))
        return -1;
    for (size_t k = 0; !bad && k < x.n; k++)
        if (!(bad = take_place(g, x.entries[k].record.key, i, &p, e)) && p)
            p->offset = x.entries[k].offset;
    mts_index_free(&x);
    return bad;
}

/* ---- second pass: writing ---- */

static int written(gathering *g, int result, mert_error *e)
{
    if (result >= 0)
        return 0;
    if (mts_writer_pipe_closed(g->writer))
        mert_end_by_sigpipe();
    return mert_fail(e, "%s", mts_writer_error(g->writer));
}

static int put_failure(gathering *g, const place *p, const mts_failure *x, mert_error *e)
{
    if (written(g, mts_write_failed(g->writer, p->key, p->row, x->stage, x->reason), e))
        return -1;
    return mert_report_failed(p->key, x->reason, x->here)
               ? mert_fail(e, "stopped at the first failure (--fail-fast)") : 0;
}

static int put_item(gathering *g, const place *p, mert_error *e)
{
    mts_entry at = {.offset = p->offset};
    mts_record r = {0};
    int bad = open_file(g, p->file, e);
    if (!bad && mts_reader_seek(g->reader, &at))
        bad = mert_fail(e, "%s", mts_reader_error(g->reader));
    while (!bad) {
        switch (mts_next(g->reader)) {
        case MTS_RECORD:
            r = *mts_reader_record(g->reader);
            r.row = p->row;
            bad = written(g, mts_write_record(g->writer, &r), e);
            break;
        case MTS_CHUNK:
            bad = written(g, mts_write_frames(g->writer, mts_reader_data(g->reader), mts_reader_frames(g->reader)), e);
            break;
        case MTS_RECORD_END:
            if (r.frame_rate_num)
                mert_report_item((double)mts_reader_record(g->reader)->shape[0] * (double)r.frame_rate_den /
                                 (double)r.frame_rate_num);
            else
                mert_report_item(0);
            return written(g, mts_write_record_end(g->writer), e);
        case MTS_FAILED:
            return put_failure(g, p, mts_reader_failure(g->reader), e);
        case MTS_ERROR: bad = mert_fail(e, "%s", mts_reader_error(g->reader)); break;
        default:
            bad = mert_fail(e, "%s: %s is not where it was: did the file change?", g->files[p->file], p->key);
        }
    }
    return -1;
}

static int put_all(gathering *g, mert_error *e)
{
    const mert_manifest *m = &g->manifest;
    int bad = 0;
    g->begin.manifest = m->hash;
    g->begin.row_first = 0;
    g->begin.row_end = g->begin.rows_total = m->n;
    for (int64_t row = 0; row < m->n; row++)
        if (g->by_row[row]->file < 0)
            return mert_fail(e, "%s: row %" PRId64 " (%s) is missing: it is in none of the files", manifest_path, row,
                             g->by_row[row]->key);
    if (!(g->writer = mts_writer_open(stdout, "standard output", &g->begin, mert_options.level)))
        return mert_fail(e, "out of memory");
    for (int64_t row = 0; row < m->n && !bad; row++) {
        const place *p = g->by_row[row];
        bad = p->failure ? put_failure(g, p, p->failure, e) : put_item(g, p, e);
    }
    return bad;
}

static int gather(gathering *g, mert_error *e)
{
    if (mert_manifest_read(&g->manifest, manifest_path, e) || make_places(g, e))
        return -1;
    for (int i = 0; i < g->nfiles; i++)
        if (find_failed(g, i, e) || find_records(g, i, e))
            return -1;
    return put_all(g, e);
}

int tensor_gather_run(int argc, char **argv)
{
    static gathering g;
    char why[512];
    int bad;
    tensor_refuse_terminal();
    if (!manifest_path)
        mert_usage_error("--manifest TSV is needed: it gives the order");
    if (!argc)
        mert_usage_error("name files: items are read in another order than they come");
    g.files = argv;
    g.nfiles = argc;
    g.open = -1;
    bad = gather(&g, &tensor_error);
    if (bad)
        mert_report_broken("%s", tensor_error.text);
    /* Without an end frame the next reader notices that this run failed. */
    if (g.writer && mts_writer_close(g.writer, !bad, why, sizeof why) && !bad)
        mert_report_broken("%s", why);
    close_file(&g);
    for (int64_t i = 0; g.by_key && i < g.manifest.n; i++)
        free(g.by_key[i].failure);
    free(g.by_key);
    free(g.by_row);
    mert_manifest_free(&g.manifest);
    return tensor_finish();
}
