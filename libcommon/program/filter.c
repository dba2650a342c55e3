#include "libcommon/program/filter.h"

#include "formats/array.h"
#include "formats/finite.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/program/read_ahead.h"
#include "libcommon/program/report.h"
#include "libcommon/program/signals.h"
#include "libcommon/program/write_behind.h"

#include "formats/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* An item whose output the stage returns later, or one that failed after such an item. */
typedef struct waiting {
    mts_record out;
    double seconds;
    int opened, failed;    /* opened: the output record is open; failed: to be reported in order */
    int spoilt;            /* its output has a NaN or infinity: the item fails, with `reason`, when its output is
                            * complete */
    char stage[MTS_STAGE_MAX], reason[MTS_REASON_MAX];
} waiting;

/* The output of the stage. */
typedef struct output {
    mert_sink sink;            /* the interface for the stage; first, so that a sink pointer can be cast to output */
    mert_write_behind *writer; /* NULL: no output */
    const mert_observer *observer;   /* NULL: none */
    void *observer_self;
    int broken;            /* writing failed: an error of the run, not of the item */
    int later;             /* the stage returns output later: */
    waiting **queue;       /* [n], the oldest first */
    mts_dtype type;        /* the open output record: */
    int64_t width, frames; /* values per frame, frames written so far */
    int64_t n, room;
} output;

enum { WAITING_MAX = 1024 };

typedef struct run {
    const mert_filter *f;
    output out;
    int to_stdout;
    int item_open, streams;
    int in_record;         /* the input is inside a record, even if the item failed here */
    double seconds;        /* of the open item */
} run;

static int open_oldest(output *s, mert_error *e);

/* For a stage that returns output later: marks the item, which fails when it is the oldest (mert_sink_done). */
static int spoil(waiting *w, const mert_error *why)
{
    w->spoilt = 1;
    snprintf(w->reason, sizeof w->reason, "%s", why->text);
    return 0;
}

static int sink_write(mert_sink *sink, const void *data, int64_t frames, mert_error *e)
{
    output *s = (output *)sink;
    if (frames <= 0)
        return 0;
    if (s->later && open_oldest(s, e))
        return -1;
    if (s->later && s->queue[0]->spoilt)
        return 0;
    if (mert_finite_check(s->type, data, frames, s->width, s->frames, e))
        return s->later ? spoil(s->queue[0], e) : -1;
    s->frames += frames;
    if (s->observer && s->observer->frames && s->observer->frames(s->observer_self, data, frames, e)) {
        s->broken = 1;
        return -1;
    }
    if (s->writer && mert_write_behind_frames(s->writer, data, frames) < 0) {
        s->broken = 1;
        return mert_fail(e, "%s", mert_write_behind_error(s->writer));
    }
    return 0;
}

static int written(output *s, int result, mert_error *e)
{
    if (result >= 0)
        return 0;
    if (mert_write_behind_pipe_closed(s->writer))
        mert_end_by_sigpipe();
    s->broken = 1;
    return mert_fail(e, "%s", mert_write_behind_error(s->writer));
}

/* ---- the output of an item: its record, its end, its failure ---- */

static int put_record(output *s, const mts_record *out, mert_error *e)
{
    s->type = out->dtype;
    s->width = mts_record_width(out);
    s->frames = 0;
    if (s->observer && s->observer->record && s->observer->record(s->observer_self, out, e))
        return -1;
    return s->writer ? written(s, mert_write_behind_record(s->writer, out), e) : 0;
}

static int put_end(output *s, double seconds, mert_error *e)
{
    if (s->observer && s->observer->end && s->observer->end(s->observer_self, e))
        return -1;
    if (s->writer && written(s, mert_write_behind_end(s->writer), e))
        return -1;
    mert_report_item(seconds);
    return 0;
}

static int put_failed(output *s, const char *key, int64_t row, const char *stage, const char *reason, mert_error *e)
{
    if (s->observer && s->observer->failed && s->observer->failed(s->observer_self, key, row, e))
        return -1;
    return s->writer ? written(s, mert_write_behind_failed(s->writer, key, row, stage, reason), e) : 0;
}

/* ---- items whose output comes later ---- */

static waiting *queue_push(output *s, mert_error *e)
{
    waiting *w = calloc(1, sizeof *w);
    if (w && s->n == s->room) {
        waiting **more = mert_array_grow(s->queue, &s->room, s->n + 1, sizeof *more);
        if (more) {
            s->queue = more;
        } else {
            free(w);
            w = NULL;
        }
    }
    if (!w) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    s->queue[s->n++] = w;
    return w;
}

static void queue_pop(output *s)
{
    free(s->queue[0]);
    memmove(s->queue, s->queue + 1, (size_t)--s->n * sizeof *s->queue);
}

/* Writes the failures of the oldest items in the queue. */
static int settle(output *s, mert_error *e)
{
    while (s->n && s->queue[0]->failed) {
        const waiting *w = s->queue[0];
        int bad = put_failed(s, w->out.key, w->out.row, w->stage, w->reason, e);
        queue_pop(s);
        if (bad) {
            s->broken = 1;
            return -1;
        }
    }
    return 0;
}

static int open_oldest(output *s, mert_error *e)
{
    if (!s->n)
        return mert_fail(e, "output without an item");
    if (s->queue[0]->opened)
        return 0;
    s->queue[0]->opened = 1;
    if (!put_record(s, &s->queue[0]->out, e))
        return 0;
    s->broken = 1;
    return -1;
}

static void fail_entry(waiting *w, const char *stage, const char *reason)
{
    w->failed = 1;
    snprintf(w->stage, sizeof w->stage, "%s", stage);
    snprintf(w->reason, sizeof w->reason, "%s", reason);
}

static int sink_fail(mert_sink *sink, const mert_error *why, mert_error *e)
{
    output *s = (output *)sink;
    int stop;
    if (!s->n)
        return mert_fail(e, "a failure without an item");
    stop = mert_report_failed(s->queue[0]->out.key, why->text, 1);
    fail_entry(s->queue[0], mert_tool_name(), why->text);
    if (settle(s, e))
        return -1;
    if (!stop)
        return 0;
    s->broken = 1;
    return mert_fail(e, "stopped at the first failure (--fail-fast)");
}

static int sink_done(mert_sink *sink, mert_error *e)
{
    output *s = (output *)sink;
    if (open_oldest(s, e))
        return -1;
    if (s->queue[0]->spoilt) {
        mert_error why;
        snprintf(why.text, sizeof why.text, "%s", s->queue[0]->reason);
        return sink_fail(sink, &why, e);
    }
    if (put_end(s, s->queue[0]->seconds, e)) {
        s->broken = 1;
        return -1;
    }
    queue_pop(s);
    return settle(s, e);
}

static int flush(run *r, mert_error *e)
{
    if (!r->out.later)
        return 0;
    if (r->f->stage->flush(r->f->self, &r->out.sink, e)) {
        r->out.broken = 1;
        return -1;
    }
    return r->out.n ? mert_fail(e, "an item has no output") : 0;
}

/* ---- streams ---- */

static int stream_close(run *r, int ok, mert_error *e)
{
    int bad;
    if (!r->out.writer)
        return 0;
    bad = mert_write_behind_close(r->out.writer, ok, e->text, sizeof e->text);
    r->out.writer = NULL;
    if (bad && errno == EPIPE)
        mert_end_by_sigpipe();
    return bad;
}

static int stream_begin(run *r, const mts_begin *in, mert_error *e)
{
    mts_begin *out = malloc(sizeof *out);
    size_t n;
    int bad = -1;
    if (flush(r, e) || (r->f->stage->stream && r->f->stage->stream(r->f->self, in, e))) {
        free(out);
        return -1;
    }
    if (!out)
        return mert_fail(e, "out of memory");
    *out = *in;
    n = strlen(out->provenance);
    if ((size_t)snprintf(out->provenance + n, sizeof out->provenance - n, "%s %s%s%s\n", mert_tool_name(),
                         mert_version(), r->f->settings ? " " : "",
                         r->f->settings ? r->f->settings : "") >= sizeof out->provenance - n) {
        mert_fail(e, "the stream's provenance is full: it passed too many programs");
        goto done;
    }
    r->streams++;
    if (in->row_first >= 0 && in->row_end > in->row_first)
        mert_report_expect(in->row_end - in->row_first);
    if (r->to_stdout) {
        if (stream_close(r, 1, e))
            goto done;
        r->out.writer = mert_write_behind_open(stdout, "standard output", out, mert_options.level,
                                                mert_options.threads > 1);
        if (!r->out.writer) {
            mert_fail(e, "out of memory");
            goto done;
        }
    }
    if (r->f->observer && r->f->observer->stream && r->f->observer->stream(r->f->observer_self, out, e))
        goto done;
    bad = 0;
done:
    free(out);
    return bad;
}

/* The open item, or one that was never opened, has failed: voids its record, writes the failure, counts it. -1: the run
 * ends. */
static int item_failed(run *r, const char *key, int64_t row, const char *stage, const char *reason, int here,
                       mert_error *e)
{
    int stop, was_open = r->item_open;
    output *s = &r->out;
    if (r->item_open && r->f->stage->drop)
        r->f->stage->drop(r->f->self);
    r->item_open = 0;
    if (s->later && s->n) {
        waiting *w = was_open ? s->queue[s->n - 1] : queue_push(s, e);
        if (!w)
            return -1;
        snprintf(w->out.key, sizeof w->out.key, "%s", key);
        w->out.row = row;
        fail_entry(w, stage, reason);
        if (settle(s, e) || (s->n >= WAITING_MAX && flush(r, e)))
            return -1;
    } else if (put_failed(s, key, row, stage, reason, e))
        return -1;
    stop = mert_report_failed(key, reason, here);
    return stop ? mert_fail(e, "stopped at the first failure (--fail-fast)") : 0;
}

static int item_failed_here(run *r, const mts_record *in, const mert_error *why, mert_error *e)
{
    return item_failed(r, in->key, in->row, mert_tool_name(), why->text, 1, e);
}

static int item_begin(run *r, const mts_record *in, mert_error *e)
{
    mts_record *out = calloc(1, sizeof *out);
    waiting *w;
    mert_error why;
    int bad = 0;
    if (!out)
        return mert_fail(e, "out of memory");
    memcpy(out->key, in->key, sizeof out->key);
    out->row = in->row;
    out->sample_rate = in->sample_rate;
    r->seconds = 0;
    if (r->f->stage->begin(r->f->self, in, out, &why)) {
        bad = item_failed_here(r, in, &why, e);
    } else if (r->out.later && !(w = queue_push(&r->out, e))) {
        if (r->f->stage->drop)
            r->f->stage->drop(r->f->self);
        bad = -1;
    } else {
        r->item_open = 1;
        if (r->out.later)
            w->out = *out;
        /* A stream cannot have such a record: this fails the item, not the run. */
        if (!bad && !r->f->no_output && mts_record_possible(out, why.text, sizeof why.text))
            bad = item_failed_here(r, in, &why, e);
        else if (!bad && !r->out.later)
            bad = put_record(&r->out, out, e);
    }
    free(out);
    return bad ? -1 : 0;
}

static int item_frames(run *r, const mts_record *in, const void *data, int64_t n, mert_error *e)
{
    mert_error why;
    if (!r->item_open) /* it failed: the rest of its input is skipped */
        return 0;
    if (in->frame_rate_num > 0)
        r->seconds += (double)n * (double)in->frame_rate_den / (double)in->frame_rate_num;
    if (r->out.later)
        r->out.queue[r->out.n - 1]->seconds = r->seconds;
    if (!r->f->stage->frames(r->f->self, data, n, &r->out.sink, &why))
        return 0;
    if (r->out.broken) {
        *e = why;
        return -1;
    }
    return item_failed_here(r, in, &why, e);
}

static int item_end(run *r, const mts_record *in, mert_error *e)
{
    mert_error why;
    if (!r->item_open)
        return 0;
    if (r->f->stage->end(r->f->self, &r->out.sink, &why)) {
        if (r->out.broken) {
            *e = why;
            return -1;
        }
        return item_failed_here(r, in, &why, e);
    }
    r->item_open = 0;
    return r->out.later ? 0 : put_end(&r->out, r->seconds, e);
}

static int input_run(run *r, FILE *f, const char *name, mert_error *e)
{
    mert_read_ahead *reader = mert_read_ahead_open(f, name, mert_options.threads > 1);
    const mert_event *event;
    const mts_failure *x;
    int bad = 0, streams = r->streams;
    if (!reader)
        return mert_fail(e, "out of memory");
    while (!bad && (event = mert_read_ahead_next(reader))->type != MTS_EOF) {
        const int failed_twice = r->in_record && !r->item_open && event->type == MTS_FAILED;
        if (event->type != MTS_CHUNK && event->type != MTS_DAMAGE)
            r->in_record = event->type == MTS_RECORD;
        if (failed_twice) /* it failed here, which was reported, and then also in the input */
            continue;
        switch (event->type) {
        case MTS_BEGIN: bad = stream_begin(r, event->begin, e); break;
        case MTS_RECORD: bad = item_begin(r, event->record, e); break;
        case MTS_CHUNK: bad = item_frames(r, event->record, event->data, event->frames, e); break;
        case MTS_RECORD_END: bad = item_end(r, event->record, e); break;
        case MTS_FAILED:
            x = event->failure;
            bad = item_failed(r, x->key, x->row, x->stage, x->reason, x->here, e);
            break;
        case MTS_DAMAGE: mert_report_broken("%s", event->failure->reason); break;
        case MTS_END: break;
        default: bad = mert_fail(e, "%s", event->error); break;
        }
    }
    if (!bad && r->streams == streams)
        bad = mert_fail(e, "%s: no stream in it (empty input)", name);
    mert_read_ahead_close(reader);
    return bad;
}

static int all_inputs(run *r, char **files, int nfiles, mert_error *e)
{
    static char *standard_input[] = {"-"};
    if (!nfiles) {
        files = standard_input;
        nfiles = 1;
    }
    for (int i = 0; i < nfiles; i++) {
        int is_stdin = !strcmp(files[i], "-"), bad;
        FILE *f = is_stdin ? stdin : fopen(files[i], "rb");
        struct stat st;
        if (!f)
            return mert_fail(e, "%s: %s", files[i], strerror(errno));
        bad = !fstat(fileno(f), &st) && S_ISDIR(st.st_mode)
                  ? mert_fail(e, "%s: is a folder, not a stream", files[i])
                  : mert_input_note(files[i], e);
        bad = bad || input_run(r, f, is_stdin ? "standard input" : files[i], e);
        if (!is_stdin)
            fclose(f);
        if (bad)
            return -1;
    }
    return 0;
}

int mert_filter_run(const mert_filter *f, char **files, int nfiles)
{
    run r = {.f = f};
    mert_error e = {{0}}, closing = {{0}};
    int bad;
    r.out.sink = (mert_sink){.write = sink_write, .done = sink_done, .fail = sink_fail};
    r.out.observer = f->observer;
    r.out.observer_self = f->observer_self;
    r.out.later = f->stage->flush != NULL;
    r.to_stdout = !f->no_output;
    if (r.to_stdout && isatty(STDOUT_FILENO)) {
        if (!f->observer)
            mert_usage_error("a tensor stream is not written to a terminal: redirect it, or pipe it into mert-tensor");
        r.to_stdout = 0;
    }
    mert_refuse_terminal(files, nfiles);
    bad = (f->output && mert_output_check(f->output, files, nfiles, &e)) || all_inputs(&r, files, nfiles, &e);
    if (bad && r.item_open && f->stage->drop)
        f->stage->drop(f->self);
    if (bad && r.item_open && r.out.later && !r.out.broken) /* it is the last in the queue; broken: the queue may be
                                                               empty */
        free(r.out.queue[--r.out.n]);
    /* Complete records are written, even if the input ended with an error. */
    if (!r.out.broken && flush(&r, bad ? &closing : &e))
        bad = -1;
    if (!bad && f->stage->finish && (bad = f->stage->finish(f->self, &e)) && mert_report_all_failed())
        *e.text = 0; /* the lines of the items have the reasons */
    if (bad)
        mert_report_broken("%s", e.text);
    while (r.out.n)
        free(r.out.queue[--r.out.n]);
    free(r.out.queue);
    /* Without an end frame the next reader notices that this run failed. */
    if (stream_close(&r, !bad, &closing) && !bad) {
        bad = -1;
        mert_report_broken("%s", closing.text);
    }
    if (!bad && f->observer && f->observer->commit && f->observer->commit(f->observer_self, &closing))
        mert_report_broken("%s", closing.text);
    return mert_report_finish();
}
