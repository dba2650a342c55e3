/* Joining the codes of several teachers: chunks of any length, and failures. */
#include "libcommon/tensor/paste.h"
#include "tests/unit/stream.h"

#include <unistd.h>

enum { INPUTS = 3 };

/* Code k of frame t in input i. */
static int32_t code_of(int i, int64_t t, int k)
{
    return (int32_t)((t * 7 + 13 * i + 3 * k) % (i == 1 ? 70000 : 1000));
}

typedef struct source {
    const char *name;
    FILE *f;
    mts_writer *w;
    int K, i;
    mts_dtype dtype;
} source;

static mts_record record_of(const source *s, const char *key, int64_t row)
{
    mts_record r = {.kind = "codes",
                    .row = row,
                    .dtype = s->dtype,
                    .ndim = 2,
                    .shape = {-1, s->K},
                    .sample_rate = 24000,
                    .frame_rate_num = s->i == 2 ? 75 : 24000,
                    .frame_rate_den = s->i == 2 ? 1 : 320,
                    .ncodebooks = s->K,
                    .model = 0xa0 + (uint64_t)s->i};
    snprintf(r.key, sizeof r.key, "%s", key);
    for (int k = 0; k < s->K; k++)
        r.classes[k] = s->i == 1 ? 70000 : 1000;
    return r;
}

static void put_frames(source *s, int64_t frames)
{
    for (int64_t t = 0; t < frames; t++) {
        int32_t wide[8];
        int16_t narrow[8];
        for (int k = 0; k < s->K; k++)
            narrow[k] = (int16_t)(wide[k] = code_of(s->i, t, k));
        CHECK(!mts_write_frames(s->w, s->dtype == MTS_I32 ? (void *)wide : narrow, 1));
    }
}

static void put_item(source *s, const char *key, int64_t row, int64_t frames)
{
    mts_record r = record_of(s, key, row);
    CHECK(!mts_write_record(s->w, &r));
    put_frames(s, frames);
    CHECK(!mts_write_record_end(s->w));
}

static void open_sources(source *s, mts_begin *b)
{
    static const mts_dtype dtypes[] = {MTS_U16, MTS_I32, MTS_I16};
    static const char *const names[] = {"a.mts", "b.mts", "c.mts"};
    for (int i = 0; i < INPUTS; i++) {
        s[i] = (source){.name = strdup(test_tmp(names[i])), .K = i + 1, .i = i, .dtype = dtypes[i]};
        s[i].f = fopen(s[i].name, "wb");
        snprintf(b->provenance, sizeof b->provenance, "teacher-%d 1\n", i);
        s[i].w = mts_writer_open(s[i].f, s[i].name, b, MTS_LEVEL_DEFAULT);
        CHECK(s[i].w != NULL);
    }
}

static void close_sources(source *s)
{
    for (int i = 0; i < INPUTS; i++) {
        CHECK(!mts_writer_close(s[i].w, 1, NULL, 0) && !fclose(s[i].f));
        free((char *)s[i].name);
    }
}

typedef struct pasted {
    int begins, records, failures, wrong, final;
    int64_t frames[8];
    mts_begin begin;
    mts_record record; /* the last */
    mts_failure failure[8];
    mert_error e;
} pasted;

static int unheard(const mert_inputs *in, int event, const mert_error *e)
{
    (void)in;
    (void)event;
    (void)e;
    return 0;
}

/* Reads everything, and checks the position of every code. */
static void read_pasted(pasted *x, int n, int64_t tolerance)
{
    static char path[INPUTS][1200];
    char *files[INPUTS] = {path[0], path[1], path[2]};
    mert_inputs in[INPUTS];
    memset(x, 0, sizeof *x);
    for (int i = 0; i < n; i++) {
        snprintf(path[i], sizeof path[i], "%s", test_tmp(i == 0 ? "a.mts" : i == 1 ? "b.mts" : "c.mts"));
        mert_inputs_open(&in[i], &files[i], 1);
    }
    mert_paste *p = mert_paste_new(in, n, tolerance, unheard);
    int64_t t = 0;
    for (int event; (event = mert_paste_next(p, &x->e)) > MTS_EOF || !(x->final = event, 1);) {
        const mts_record *r = mert_paste_record(p);
        switch (event) {
        case MTS_BEGIN: x->begins++; x->begin = *mert_paste_begin(p); break;
        case MTS_RECORD: t = 0; break;
        case MTS_CHUNK:
            x->wrong += mert_paste_first(p) != t;
            for (int64_t at = 0; at < mert_paste_frames(p); at++, t++)
                for (int i = 0; i < n; i++)
                    for (int k = mert_paste_column(p, i); k < mert_paste_column(p, i + 1); k++) {
                        int32_t code = r->dtype == MTS_I32
                                           ? ((const int32_t *)mert_paste_data(p))[at * r->shape[1] + k]
                                           : ((const uint16_t *)mert_paste_data(p))[at * r->shape[1] + k];
                        x->wrong += code != code_of(i, t, k - mert_paste_column(p, i));
                    }
            break;
        case MTS_RECORD_END:
            x->record = *r;
            x->wrong += r->shape[0] != t;
            x->frames[x->records++ % 8] = t;
            break;
        case MTS_FAILED: x->failure[x->failures++ % 8] = *mert_paste_failure(p); break;
        default: x->wrong++;
        }
    }
    mert_paste_free(p);
    for (int i = 0; i < n; i++)
        mert_inputs_close(&in[i]);
}

/* A chunk has 1 MiB, so the chunks of the three inputs end at different frames. */
TEST(three_teachers_of_any_chunks)
{
    enum { FRAMES = 300001 };
    source s[INPUTS];
    pasted x;
    mts_begin b = {.manifest = 0xfeed, .row_first = 0, .row_end = 2, .rows_total = 2};
    open_sources(s, &b);
    for (int i = 0; i < INPUTS; i++) {
        put_item(&s[i], "long", 0, FRAMES + i);
        put_item(&s[i], "short", 1, i ? 1 : 0);
    }
    close_sources(s);
    read_pasted(&x, 3, 2);
    CHECK(x.begins == 1 && x.records == 2 && !x.failures && !x.wrong && x.final == MTS_EOF);
    CHECK(x.frames[0] == FRAMES && x.frames[1] == 0);
    CHECK(x.record.dtype == MTS_I32 && x.record.ncodebooks == 6 && x.record.shape[1] == 6 && x.record.classes[0] == 1000
          && x.record.classes[1] == 70000 && x.record.classes[2] == 70000 && x.record.classes[5] == 1000);
    CHECK(x.record.model == mts_xxh64("00000000000000a0:1 00000000000000a1:2 00000000000000a2:3", 56, 0));
    CHECK(x.begin.manifest == 0xfeed && x.begin.rows_total == 2
          && !strcmp(x.begin.provenance, "teacher-0 1\nteacher-1 1\nteacher-2 1\n"));
    read_pasted(&x, 3, 1); /* three lengths, two frames apart */
    CHECK(x.records == 1 && x.failures == 1 && x.failure[0].here && !strcmp(x.failure[0].key, "long")
          && strstr(x.failure[0].reason, "300001 frames in ") && strstr(x.failure[0].reason, "differ by more than 1"));
    read_pasted(&x, 1, 0);
    CHECK(x.records == 2 && x.record.model == 0xa0 && x.record.dtype == MTS_U16 && !x.wrong);
}

TEST(what_fails_in_one_fails_and_the_rest_goes_on)
{
    source s[INPUTS];
    pasted x;
    mts_begin b = {.row_first = 0, .row_end = 5, .rows_total = 5};
    open_sources(s, &b);
    for (int i = 0; i < INPUTS; i++) {
        mts_record r = record_of(&s[i], "half", 1);
        if (i == 2)
            CHECK(!mts_write_failed(s[i].w, "gone", 0, "mert-x", "no sound"));
        else
            put_item(&s[i], "gone", 0, 3);
        r.frame_rate_num = 24000;
        r.frame_rate_den = 320;
        CHECK(!mts_write_record(s[i].w, &r));
        put_frames(&s[i], 100000);
        CHECK(!(i == 0 ? mts_write_failed(s[i].w, "half", 1, "mert-y", "stopped") : mts_write_record_end(s[i].w)));
        r = record_of(&s[i], "rate", 2);
        r.frame_rate_den += i == 1;
        CHECK(!mts_write_record(s[i].w, &r) && !mts_write_record_end(s[i].w));
        r = record_of(&s[i], "kind", 3);
        if (i == 2) {
            snprintf(r.kind, sizeof r.kind, "mel");
            r.ncodebooks = 0;
        }
        CHECK(!mts_write_record(s[i].w, &r) && !mts_write_record_end(s[i].w));
        put_item(&s[i], "whole", 4, 5);
    }
    close_sources(s);
    read_pasted(&x, 3, 2);
    CHECK(x.failures == 4 && x.records == 1 && x.frames[0] == 5 && !x.wrong && x.final == MTS_EOF);
    CHECK(!strcmp(x.failure[0].stage, "mert-x") && !x.failure[0].here && x.failure[0].row == 0
          && !strcmp(x.failure[0].reason, "no sound"));
    CHECK(!strcmp(x.failure[1].key, "half") && !strcmp(x.failure[1].reason, "stopped") && !x.failure[1].here);
    CHECK(x.failure[2].here && strstr(x.failure[2].reason, "frame rate is 24000/320 in ")
          && strstr(x.failure[2].reason, "24000/321"));
    CHECK(x.failure[3].here && strstr(x.failure[3].reason, "is mel of i16; codes [T, K] can be pasted"));
}

/* A code outside its classes, as a faulty program might write it. */
TEST(codes_outside_their_classes_fail)
{
    source s[INPUTS];
    pasted x;
    mts_begin b = {.row_first = -1, .row_end = -1, .rows_total = -1};
    const int16_t bad[] = {1, 2, 3, 4, -5, 6};
    open_sources(s, &b);
    for (int i = 0; i < INPUTS; i++) {
        mts_record r = record_of(&s[i], "x", -1);
        if (i < 2) {
            put_item(&s[i], "x", -1, 2);
        } else {
            CHECK(!mts_write_record(s[i].w, &r) && !mts_write_frames(s[i].w, bad, 2) && !mts_write_record_end(s[i].w));
        }
    }
    close_sources(s);
    read_pasted(&x, 3, 2);
    CHECK(x.failures == 1 && !x.records
          && strstr(x.failure[0].reason, "c.mts: frame 1: code -5 of codebook 1 is outside"));
}

static void refused(const char *why, const char *key, int64_t row, int items, uint64_t manifest)
{
    source s[INPUTS];
    pasted x;
    mts_begin b = {.manifest = 1, .row_first = 0, .row_end = 8, .rows_total = 8};
    open_sources(s, &b);
    mts_writer_close(s[1].w, 0, NULL, 0);
    rewind(s[1].f);
    b.manifest = manifest;
    s[1].w = mts_writer_open(s[1].f, s[1].name, &b, MTS_LEVEL_DEFAULT);
    put_item(&s[0], "a", 0, 2);
    put_item(&s[0], "b", 1, 2);
    put_item(&s[1], "a", 0, 2);
    if (items == 2)
        put_item(&s[1], key, row, 2);
    close_sources(s);
    read_pasted(&x, 2, 2);
    if (x.final != MTS_ERROR || !strstr(x.e.text, why))
        printf("# %d '%s' lacks '%s'\n", x.final, x.e.text, why);
    CHECK(x.final == MTS_ERROR && strstr(x.e.text, why));
}

TEST(items_that_do_not_pair_are_refused)
{
    refused("has row 1 (b) where ", "c", 1, 2, 1);
    refused("b.mts has row 7 (b)", "b", 7, 2, 1);
    refused("b.mts ends where ", "", 0, 1, 1);
    refused("is made of the manifest 0000000000000001, ", "b", 1, 2, 2);
}

TEST(models_of_parts)
{
    const mert_paste_part whole = {7, 0, 8}, rest[2] = {{7, 0, 4}, {7, 4, 4}}, unknown[2] = {{7, 0, 4}, {0, 0, 4}},
                          one[1] = {{7, 3, 1}};
    CHECK(mert_paste_model(&whole, 1) == 7 && mert_paste_model(unknown, 2) == 0);
    CHECK(mert_paste_model(rest, 2) == mts_xxh64("0000000000000007:4 0000000000000007+4:4", 39, 0));
    CHECK(mert_paste_model(one, 1) == mts_xxh64("0000000000000007+3:1", 20, 0));
}

int main(void)
{
    RUN(three_teachers_of_any_chunks);
    RUN(what_fails_in_one_fails_and_the_rest_goes_on);
    RUN(codes_outside_their_classes_fail);
    RUN(items_that_do_not_pair_are_refused);
    RUN(models_of_parts);
    return test_done();
}
