/* EnCodec, compared with the reference, for both containers and both namings, any chunks and any length; and
 * refusals. */
#include "tests/test.h"

#include "formats/checkpoint/write.h"
#include "formats/file.h"
#include "formats/npy.h"
#include "libcommon/base/random.h"
#include "libcommon/teachers/encodec/batch.h"
#include "tests/unit/threads.h"

#include <unistd.h>

typedef struct rows {
    float *x;
    int64_t n, width;
} rows;

static int collect(void *arg, const float *x, int64_t n, mert_error *e)
{
    rows *r = arg;
    (void)e;
    r->x = realloc(r->x, (size_t)((r->n + n) * r->width) * sizeof *r->x);
    memcpy(r->x + r->n * r->width, x, (size_t)(n * r->width) * sizeof *x);
    r->n += n;
    return 0;
}

static mert_encodec *model_at(const char *path, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(path, e);
    mert_encodec *m = c ? mert_encodec_open(c, 1, e) : NULL;
    mert_checkpoint_close(c);
    return m;
}

static mert_encodec *tiny(void)
{
    mert_error e = {{0}};
    mert_encodec *m = model_at(test_golden("encodec-tiny/model.safetensors"), &e);
    if (!m)
        printf("# %s\n", e.text);
    return m;
}

/* [rows, columns] of a .npy; the reference's embedding is stored column by column, which the library does not read. */
static float *load(const char *name, int64_t shape[2])
{
    mert_npy a;
    mert_error e;
    size_t size;
    if (!mert_npy_open(&a, test_golden(name), &e)) {
        float *x = mert_npy_floats(&a, &e);
        shape[0] = a.shape[0];
        shape[1] = a.ndim > 1 ? a.shape[1] : 1;
        mert_npy_close(&a);
        return x;
    }
    char *text = mert_file_read(test_golden(name), 1 << 20, &size, &e);
    char *at = text ? strstr(text + 10, "'shape': (") : NULL;
    float *x = NULL;
    long long r, c;
    if (at && sscanf(at, "'shape': (%lld, %lld)", &r, &c) == 2 && (size_t)(r * c * 4) < size) {
        const char *data = text + size - r * c * 4;
        x = malloc((size_t)(r * c) * sizeof *x);
        for (int64_t i = 0; i < r; i++)
            for (int64_t j = 0; j < c; j++)
                memcpy(&x[i * c + j], data + (j * r + i) * 4, sizeof *x);
        shape[0] = r;
        shape[1] = c;
    }
    free(text);
    return x;
}

static rows run(const mert_encodec *m, int decode, const float *x, int64_t n, int64_t chunk)
{
    mert_error e;
    mert_encodec_item *i = mert_encodec_item_new(m, decode, &e);
    rows r = {NULL, 0, decode ? 1 : m->quantiser->width};
    int64_t in = decode ? m->quantiser->width : 1;
    for (int64_t at = 0; at < n; at += chunk) {
        int64_t k = n - at < chunk ? n - at : chunk;
        (void)!mert_encodec_item_run(i, x + at * in, k, at + k == n, collect, &r, &e);
    }
    mert_encodec_item_free(i);
    return r;
}

static double furthest(const float *a, const float *b, int64_t n)
{
    double d = 0, most = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        d = fmax(d, fabs((double)a[i] - b[i]));
        most = fmax(most, fabs((double)b[i]));
    }
    return d / most;
}

static void agrees(const char *path)
{
    int64_t as[2], es[2], cs[2], ds[2], bad;
    float *audio = load("encodec-tiny/audio.npy", as), *embedding = load("encodec-tiny/embedding.npy", es);
    float *codes = load("encodec-tiny/codes.npy", cs), *decoded = load("encodec-tiny/decoded.npy", ds), *back;
    mert_error e = {{0}};
    mert_encodec *m = model_at(test_golden(path), &e);
    int32_t *mine;
    rows x, y;
    if (!m)
        printf("# %s\n", e.text);
    CHECK(m && audio && embedding && codes && decoded);
    CHECK(m->sample_rate == 24000 && m->hop == 320);
    x = run(m, 0, audio, as[0], 5000);
    CHECK(x.n == es[0] && x.width == es[1] && x.n == (as[0] + 319) / 320);
    CHECK_NEAR(furthest(x.x, embedding, x.n * x.width), 0, 2e-5);
    mine = malloc((size_t)(cs[0] * cs[1]) * sizeof *mine);
    CHECK(cs[1] == x.n && !mert_rvq_encode(m->quantiser, x.x, x.n, cs[0], mine, &bad, &e));
    for (int64_t t = 0; t < cs[1]; t++)
        for (int64_t k = 0; k < cs[0]; k++)
            CHECK(mine[t * cs[0] + k] == (int32_t)codes[k * cs[1] + t]);
    back = malloc((size_t)(x.n * x.width) * sizeof *back);
    mert_rvq_decode(m->quantiser, mine, x.n, cs[0], back);
    y = run(m, 1, back, x.n, 10);
    CHECK(y.n == x.n * 320 && y.n >= ds[0] * ds[1]);
    CHECK_NEAR(furthest(y.x, decoded, ds[0] * ds[1]), 0, 2e-5);
    free(audio), free(embedding), free(codes), free(decoded), free(back), free(mine), free(x.x), free(y.x);
    mert_encodec_free(m);
}

TEST(safetensors_agrees_with_the_reference) { agrees("encodec-tiny/model.safetensors"); }
TEST(directory_agrees_with_the_reference) { agrees("encodec-tiny"); }
TEST(torch_file_agrees_with_the_reference) { agrees("encodec-tiny/encodec.th"); }

TEST(all_containers_have_one_hash)
{
    mert_error e;
    mert_encodec *a = tiny(), *b = model_at(test_golden("encodec-tiny/encodec.th"), &e);
    CHECK(a && b && a->hash == b->hash && a->hash);
    mert_encodec_free(a), mert_encodec_free(b);
}

TEST(chunks_and_threads_change_no_bit)
{
    static const int64_t chunks[] = {1, 7, 320, 65537};
    mert_encodec *m = tiny();
    int64_t shape[2], n = 50000;
    float *audio = load("encodec-tiny/audio.npy", shape), *x = malloc((size_t)n * sizeof *x);
    rows whole, sound;
    CHECK(m && audio);
    for (int64_t i = 0; i < n; i++) /* longer than two blocks, and not a whole number of frames */
        x[i] = audio[i % shape[0]] * (i < n / 2 ? 1 : 2);
    use_threads(1);
    whole = run(m, 0, x, n, n);
    sound = run(m, 1, whole.x, whole.n, whole.n);
    CHECK(whole.n == (n + 319) / 320 && sound.n == whole.n * 320);
    for (int c = 0; c < 4; c++) {
        use_threads(1 + c % 2);
        rows r = run(m, 0, x, n, chunks[c]), s = run(m, 1, whole.x, whole.n, c == 0 ? 1 : chunks[c] % 41);
        CHECK(r.n == whole.n && !memcmp(r.x, whole.x, (size_t)(r.n * r.width) * sizeof *r.x));
        CHECK(s.n == sound.n && !memcmp(s.x, sound.x, (size_t)s.n * sizeof *s.x));
        free(r.x), free(s.x);
    }
    free(audio), free(x), free(whole.x), free(sound.x);
    mert_encodec_free(m);
}

/* Lengths around every change of the padding: the reach of the reflection in each layer, whole frames, whole blocks. */
TEST(every_length_agrees_with_the_plain_version)
{
    static const int64_t lengths[] = {1, 2, 3, 5, 6, 7, 8, 9, 15, 16, 17, 39, 40, 41, 79, 319, 320, 321, 640, 1919,
                                      1920, 1921, 2240, 2241,
                                      5000, 20479, 20480, 20481, 20800};
    mert_encodec *m = tiny();
    int64_t shape[2], n;
    float *audio = load("encodec-tiny/audio.npy", shape), *plain;
    CHECK(m && audio);
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        rows r = run(m, 0, audio, lengths[l], 11000), s;
        plain = mert_seanet_plain(&m->encoder, audio, lengths[l], &n);
        CHECK(n == r.n && n == (lengths[l] + 319) / 320);
        CHECK_NEAR(furthest(r.x, plain, n * r.width), 0, 1e-5);
        free(plain);
        if (n < 10 || n == 65) {
            s = run(m, 1, r.x, r.n, 3);
            plain = mert_seanet_plain(&m->decoder, r.x, r.n, &n);
            CHECK(n == s.n && n == r.n * 320);
            CHECK_NEAR(furthest(s.x, plain, n), 0, 1e-5);
            free(plain), free(s.x);
        }
        free(r.x);
    }
    free(audio);
    mert_encodec_free(m);
}

/* ---- other files made from the reference's ---- */

/* Copies the model; `without` (or NULL) is left out; new_names: the newer names of weight norm. */
static int copy_model(const char *to, const char *without, const char *extra, int new_names)
{
    mert_error e = {{0}};
    mert_checkpoint *c = mert_checkpoint_open(test_golden("encodec-tiny/model.safetensors"), &e);
    size_t n = 0, all = c ? mert_checkpoint_count(c) : 0;
    mert_tensor_out *t = calloc(all + 1, sizeof *t);
    int bad = !c;
    for (size_t i = 0; i < all; i++) {
        const mert_tensor *from = mert_checkpoint_tensor(c, i);
        char *name = calloc(1, strlen(from->name) + 64);
        size_t length = strlen(from->name);
        strcpy(name, from->name);
        if (new_names && length > 9 &&
            (!strcmp(name + length - 9, ".weight_g") || !strcmp(name + length - 9, ".weight_v")))
            strcpy(name + length - 9, from->name[length - 1] == 'g'
                   ? ".parametrizations.weight.original0" : ".parametrizations.weight.original1");
        t[n] = (mert_tensor_out){.name = name, .type = from->type, .ndim = from->ndim, .data = from->data};
        memcpy(t[n].shape, from->shape, sizeof from->shape);
        if (without && !strncmp(name, without, strlen(without)))
            free(name);
        else
            n++;
    }
    if (extra)
        t[n] = t[0], t[n++].name = strdup(extra);
    bad = bad || mert_safetensors_write(to, t, n, &e);
    for (size_t i = 0; i < n; i++)
        free((char *)t[i].name);
    free(t);
    mert_checkpoint_close(c);
    return bad;
}

static int says(const char *path, int with_decoder, const char *what)
{
    mert_error e = {{0}};
    mert_checkpoint *c = mert_checkpoint_open(path, &e);
    mert_encodec *m = c ? mert_encodec_open(c, with_decoder, &e) : NULL;
    int ok = !m && strstr(e.text, what) && !strchr(e.text, '\n');
    if (!ok)
        printf("# %s: '%s' does not say '%s'\n", path, e.text, what);
    mert_checkpoint_close(c);
    mert_encodec_free(m);
    return ok;
}

TEST(both_namings_of_weight_norm)
{
    mert_error e;
    mert_encodec *a = tiny(), *b;
    CHECK(!copy_model(test_tmp("new.safetensors"), NULL, NULL, 1));
    b = model_at(test_tmp("new.safetensors"), &e);
    CHECK(a && b && a->hash == b->hash);
    mert_encodec_free(a), mert_encodec_free(b);
}

TEST(missing_and_unknown_tensors_are_named)
{
    static const char *const missing[] = {
        "encoder.layers.0.conv.bias", "encoder.layers.3.conv.weight_v", "encoder.layers.4.block.1.conv.weight_g",
        "encoder.layers.13.lstm.weight_hh_l1", "encoder.layers.15.conv.weight_v", "quantizer.layers.0.codebook.embed",
        "decoder.layers.3.conv.weight_g", "decoder.layers.1.lstm.bias_ih_l0", "decoder.layers.15.conv.bias"};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        const char *wanted = missing[i];
        CHECK(!copy_model(test_tmp("cut.safetensors"), wanted, NULL, 0));
        if (i == 5) /* its .embed_avg goes, too: the name is a prefix */
            wanted = "quantizer.layers.0.codebook.embed";
        CHECK(says(test_tmp("cut.safetensors"), 1, wanted));
    }
    CHECK(!copy_model(test_tmp("cut.safetensors"), "encoder.layers.3.", NULL, 0));
    CHECK(says(test_tmp("cut.safetensors"), 1, "encoder layer 3"));
    CHECK(!copy_model(test_tmp("cut.safetensors"), "quantizer.layers.2.codebook.embed", NULL, 0));
    CHECK(says(test_tmp("cut.safetensors"), 1, "quantizer.layers.3.codebook.embed"));
    CHECK(!copy_model(test_tmp("cut.safetensors"), NULL, "encoder.layers.0.norm.weight", 0));
    CHECK(says(test_tmp("cut.safetensors"), 1, "encoder.layers.0.norm.weight"));
    CHECK(!copy_model(test_tmp("cut.safetensors"), "decoder.", NULL, 0));
    CHECK(says(test_tmp("cut.safetensors"), 1, "decoder"));
}

TEST(encoding_needs_no_decoder)
{
    mert_error e;
    mert_encodec *a = tiny(), *b;
    CHECK(!copy_model(test_tmp("half.safetensors"), "decoder.", NULL, 0));
    mert_checkpoint *c = mert_checkpoint_open(test_tmp("half.safetensors"), &e);
    b = mert_encodec_open(c, 0, &e);
    CHECK(a && b && a->hash == b->hash);
    mert_checkpoint_close(c);
    mert_encodec_free(a), mert_encodec_free(b);
}

TEST(a_config_that_contradicts_the_tensors_is_refused)
{
    static const struct { const char *json, *says; } cases[] = {
        {"{\"num_filters\": 8}", "num_filters 8"}, {"{\"upsampling_ratios\": [8, 5, 4, 3]}", "upsampling_ratios"},
        {"{\"norm_type\": \"time_group_norm\"}", "time_group_norm"},
        {"{\"use_causal_conv\": false}", "use_causal_conv"},
        {"{\"audio_channels\": 2}", "audio_channels 2"}, {"{\"codebook_size\": 1024}", "codebook_size 1024"},
        {"{\"num_lstm_layers\": 1}", "num_lstm_layers 1"}, {"{\"trim_right_ratio\": 0.5}", "trim_right_ratio"}};
    mert_error e;
    CHECK(!mert_make_directory(test_tmp("odd"), &e) && !copy_model(test_tmp("odd/model.safetensors"), NULL, NULL, 0));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *f = fopen(test_tmp("odd/config.json"), "w");
        CHECK(f && fputs(cases[i].json, f) >= 0 && !fclose(f));
        CHECK(says(test_tmp("odd"), 0, cases[i].says));
    }
}

/* Items in lock-step give the same as one by one: any number of items, any number of waiting frames (so that items are
 * processed in parts), different lengths, one item dropped, any number of threads. */
enum { ITEMS = 7 };
static const int64_t lengths[ITEMS] = {30000, 3, 64 * 320, 45001, 320, 12345, 64 * 640 + 1};

typedef struct answers {
    rows of[ITEMS];
    int at;
} answers;

static int answer(void *arg, const float *x, int64_t n, mert_error *e)
{
    answers *a = arg;
    return collect(&a->of[a->at], x, n, e);
}

static int answered(void *arg, mert_error *e)
{
    (void)e;
    ((answers *)arg)->at++;
    return 0;
}

static int add_in_chunks(mert_encodec_batch *b, const float *x, int64_t n, answers *a, mert_error *e)
{
    if (mert_encodec_batch_begin(b, e))
        return -1;
    for (int64_t at = 0; at < n; at += 7000) {
        if (mert_encodec_batch_add(b, x + at, n - at < 7000 ? n - at : 7000, e) ||
            (mert_encodec_batch_full(b) && mert_encodec_batch_run(b, answer, answered, a, e)))
            return -1;
    }
    return 0;
}

TEST(items_in_lock_step_are_items_one_by_one)
{
    mert_encodec *m = tiny();
    mert_random key = mert_random_key(4, MERT_FOR_TEST, 0, 0, 0);
    float *x = malloc(50000 * sizeof *x);
    rows alone[ITEMS];
    mert_error e;
    CHECK(m);
    for (int i = 0; i < 50000; i++)
        x[i] = (float)(0.3 * mert_random_normal(&key, (uint32_t)i));
    for (int i = 0; i < ITEMS; i++)
        alone[i] = run(m, 0, x + 100 * i, lengths[i], 9999);
    for (int64_t items = 1; items <= 9; items += 2)
        for (int64_t frames = 50; frames < 2000; frames *= 6) {
            mert_encodec_batch *b = mert_encodec_batch_new(m, 0, items, frames, &e);
            answers a = {.at = 0};
            CHECK(b);
            for (int i = 0; i < ITEMS; i++)
                a.of[i].width = m->quantiser->width;
            use_threads(1 + (int)(items + frames) % 4);
            for (int i = 0; i < ITEMS; i++) {
                if (i == 3 && frames > 1000) { /* not processed yet; must be removed completely */
                    CHECK(!add_in_chunks(b, x, 20000, &a, &e));
                    mert_encodec_batch_drop(b);
                }
                CHECK(!add_in_chunks(b, x + 100 * i, lengths[i], &a, &e));
                mert_encodec_batch_end(b);
                CHECK(!mert_encodec_batch_full(b) || !mert_encodec_batch_run(b, answer, answered, &a, &e));
            }
            CHECK(!mert_encodec_batch_run(b, answer, answered, &a, &e) && a.at == ITEMS);
            for (int i = 0; i < ITEMS; i++) {
                CHECK(a.of[i].n == alone[i].n);
                CHECK(!memcmp(a.of[i].x, alone[i].x, (size_t)(alone[i].n * alone[i].width) * sizeof *x));
                free(a.of[i].x);
            }
            mert_encodec_batch_free(b);
        }
    for (int i = 0; i < ITEMS; i++)
        free(alone[i].x);
    mert_encodec_free(m);
    free(x);
}

/* The stages before the LSTM, in stretches: each needs only as much past as mert_seanet_part_past says. */
TEST(a_stretch_needs_no_more_than_its_past)
{
    enum { N = 320 * 200 + 77 };
    static const int64_t cuts[] = {1, 2, 7, 30, 100, 199};
    mert_encodec *m = tiny();
    mert_random key = mert_random_key(5, MERT_FOR_TEST, 0, 0, 0);
    float *x = malloc(N * sizeof *x), *whole, *y;
    CHECK(m);
    mert_seanet_part *p = mert_seanet_part_new(&m->encoder, 0, mert_seanet_lstm_stage(&m->encoder));
    CHECK(p);
    int64_t W = mert_seanet_part_out(p), n = mert_seanet_part_out_rows(p, N), past = mert_seanet_part_past(p);
    CHECK(mert_seanet_part_stride(p) == 320 && n == 201 && past % 320 == 0 && past <= 3 * 320);
    whole = malloc((size_t)(n * W) * sizeof *whole);
    y = malloc((size_t)(n * W) * sizeof *y);
    for (int i = 0; i < N; i++)
        x[i] = (float)(0.3 * mert_random_normal(&key, (uint32_t)i));
    CHECK(!mert_seanet_part_run(p, &(mert_seanet_stretch){x, 0, N, 1, whole}, 1));
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        int64_t at = cuts[c] * 320, first = at > past ? at - past : 0;
        mert_seanet_stretch s[2] = {{x, 0, at, 1, y}, {x + first, at - first, N - at, !first, y + cuts[c] * W}};
        if (at < mert_seanet_part_least(p))
            continue;
        use_threads(1 + (int)c % 3);
        memset(y, 0, (size_t)(n * W) * sizeof *y);
        CHECK(!mert_seanet_part_run(p, s, 2));
        CHECK(!memcmp(y, whole, (size_t)(n * W) * sizeof *y));
    }
    mert_seanet_part_free(p);
    mert_encodec_free(m);
    free(x), free(whole), free(y);
}

int main(void)
{
    RUN(a_stretch_needs_no_more_than_its_past);
    RUN(items_in_lock_step_are_items_one_by_one);
    RUN(safetensors_agrees_with_the_reference);
    RUN(directory_agrees_with_the_reference);
    RUN(torch_file_agrees_with_the_reference);
    RUN(all_containers_have_one_hash);
    RUN(chunks_and_threads_change_no_bit);
    RUN(every_length_agrees_with_the_plain_version);
    RUN(both_namings_of_weight_norm);
    RUN(missing_and_unknown_tensors_are_named);
    RUN(encoding_needs_no_decoder);
    RUN(a_config_that_contradicts_the_tensors_is_refused);
    return test_done();
}
