/* EnCodec's encoder and quantiser as operations of a backend, for devices: the codes of the reference; of the CPU's own
 * code at every length, with dilations and without a shortcut; and the same bits for items alone, together, in parts
 * and in pieces (contract A1). */
#include "tests/unit/nn.h"

#include "formats/npy.h"
#include "libcommon/teachers/encodec/batch.h"
#include "libcommon/teachers/encodec/device.h"

enum { K = 4 };

static mert_encodec *tiny(void)
{
    mert_error e = {{0}};
    mert_checkpoint *c = mert_checkpoint_open(test_golden("encodec-tiny/model.safetensors"), &e);
    mert_encodec *m = c ? mert_encodec_open(c, 0, &e) : NULL;
    mert_checkpoint_close(c);
    if (!m)
        printf("# %s\n", e.text);
    return m;
}

static float *reference(const char *name, int64_t shape[2])
{
    mert_npy a;
    mert_error e;
    float *x;
    if (mert_npy_open(&a, test_golden(name), &e))
        return NULL;
    x = mert_npy_floats(&a, &e);
    shape[0] = a.shape[0];
    shape[1] = a.ndim > 1 ? a.shape[1] : 1;
    mert_npy_close(&a);
    return x;
}

/* A note of n samples, with noise. */
static float *sound(int64_t n, uint32_t seed)
{
    float *x = numbers(n, seed);
    for (int64_t i = 0; i < n; i++)
        x[i] = 0.05f * x[i] + 0.4f * sinf(0.03f * (float)(i + 100 * seed));
    return x;
}

/* ---- the CPU's own code ---- */

typedef struct embedding { float *x; int64_t n, D; } embedding;

static int collect(void *arg, const float *x, int64_t n, mert_error *e)
{
    embedding *to = arg;
    float *all = keep((size_t)((to->n + n) * to->D) * sizeof *all);
    (void)e;
    if (to->n)
        memcpy(all, to->x, (size_t)(to->n * to->D) * sizeof *all);
    memcpy(all + to->n * to->D, x, (size_t)(n * to->D) * sizeof *all);
    to->x = all;
    to->n += n;
    return 0;
}

static int32_t *codes_of_cpu(const mert_encodec *m, const float *x, int64_t n)
{
    mert_error e;
    mert_encodec_item *i = mert_encodec_item_new(m, 0, &e);
    embedding to = {NULL, 0, m->quantiser->width};
    int64_t bad, frames = (n + m->hop - 1) / m->hop;
    int32_t *codes = keep((size_t)(frames * K) * sizeof *codes);
    if (!i || mert_encodec_item_run(i, x, n, 1, collect, &to, &e) || to.n != frames ||
        mert_rvq_encode(m->quantiser, to.x, frames, K, codes, &bad, &e))
        abort();
    mert_encodec_item_free(i);
    return codes;
}

/* ---- on the backend ---- */

/* Whole items, together in one call. */
static int32_t **codes_of_device(const mert_encodec *m, float *const *x, const int64_t *length, int n, int64_t frames)
{
    mert_error e = {{0}};
    mert_encodec_device *d = mert_encodec_device_new(m, ops, K, frames, &e);
    mert_encodec_stretch *s = keep((size_t)n * sizeof *s);
    int32_t **codes = keep((size_t)n * sizeof *codes);
    for (int i = 0; i < n; i++) {
        codes[i] = keep((size_t)((length[i] + m->hop - 1) / m->hop * K) * sizeof **codes);
        s[i] = (mert_encodec_stretch){x[i], 0, length[i], 0, codes[i]};
    }
    if (!d || mert_encodec_device_run(d, s, n, &e)) {
        printf("# %s\n", e.text);
        abort();
    }
    mert_encodec_device_free(d);
    return codes;
}

TEST(codes_of_the_reference)
{
    int64_t as[2], cs[2];
    float *audio = reference("encodec-tiny/audio.npy", as), *codes = reference("encodec-tiny/codes.npy", cs);
    mert_encodec *m = tiny();
    int32_t **mine;
    int differ = 0;
    CHECK(m && audio && codes && cs[0] == K);
    mine = codes_of_device(m, &audio, as, 1, 100);
    for (int64_t t = 0; t < cs[1]; t++)
        for (int64_t k = 0; k < K; k++)
            differ += mine[0][t * K + k] != (int32_t)codes[k * cs[1] + t];
    CHECK(differ == 0);
    free(audio), free(codes);
    mert_encodec_free(m);
}

/* Lengths around every change of the padding, as items of one call; and in pieces of few frames. */
static void every_length(mert_encodec *m)
{
    static const int64_t lengths[] = {1, 2, 3, 5, 6, 7, 8, 9, 15, 16, 17, 39, 40, 41, 79, 319, 320, 321, 640, 1919,
                                      1920, 1921, 2240, 2241, 5000};
    enum { N = sizeof lengths / sizeof *lengths };
    float *x[N];
    int32_t **together, **pieces;
    for (int i = 0; i < N; i++)
        x[i] = sound(lengths[i], (uint32_t)i);
    together = codes_of_device(m, x, lengths, N, 1000);
    pieces = codes_of_device(m, x, lengths, N, 4);
    for (int i = 0; i < N; i++) {
        size_t bytes = (size_t)((lengths[i] + m->hop - 1) / m->hop * K) * sizeof **together;
        CHECK(!memcmp(together[i], codes_of_cpu(m, x[i], lengths[i]), bytes));
        CHECK(!memcmp(together[i], pieces[i], bytes));
    }
}

TEST(every_length_has_the_codes_of_the_cpu)
{
    mert_encodec *m = tiny();
    CHECK(m);
    every_length(m);
    mert_encodec_free(m);
}

/* The tensors of the small model, with another dilation, and a residual block without its shortcut. */
TEST(dilations_and_blocks_without_a_shortcut)
{
    mert_encodec *m = tiny();
    mert_seanet *net = &m->encoder;
    mert_rows *shortcut = NULL;
    CHECK(m);
    for (int i = 0, dilation = 3; i < net->n; i++) {
        mert_seanet_conv *c = &net->stages[i].conv;
        if (net->stages[i].kind != MERT_SEANET_RESIDUAL)
            continue;
        c->product->taps = c->product->k / c->in;
        c->product->tap_stride = dilation * c->in;
        c->left = (c->product->taps - 1) * dilation;
        if (shortcut)
            break;
        shortcut = net->stages[i].shortcut.product;
        net->stages[i].shortcut = (mert_seanet_conv){0};
        dilation = 2;
    }
    CHECK(shortcut);
    every_length(m);
    mert_rows_free(shortcut);
    mert_encodec_free(m);
}

/* ---- batches, whose items continue in the next call ---- */

enum { ITEMS = 6 };
static const int64_t item_length[ITEMS] = {3000, 3, 640, 9001, 320, 2345};

typedef struct answers { int32_t *of[ITEMS]; int64_t n[ITEMS]; int at; } answers;

static int answer(void *arg, const int32_t *codes, int64_t n, mert_error *e)
{
    answers *a = arg;
    (void)e;
    memcpy(a->of[a->at] + a->n[a->at] * K, codes, (size_t)(n * K) * sizeof *codes);
    a->n[a->at] += n;
    return 0;
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
    for (int64_t at = 0; at < n; at += 700) {
        if (mert_encodec_batch_add(b, x + at, n - at < 700 ? n - at : 700, e) ||
            (mert_encodec_batch_full(b) && mert_encodec_batch_run_on(b, answer, answered, a, e)))
            return -1;
    }
    return 0;
}

TEST(batches_have_the_codes_of_items_alone)
{
    mert_encodec *m = tiny();
    mert_error e;
    float *x[ITEMS];
    int32_t *alone[ITEMS];
    CHECK(m);
    for (int i = 0; i < ITEMS; i++) {
        x[i] = sound(item_length[i], 50 + (uint32_t)i);
        alone[i] = codes_of_cpu(m, x[i], item_length[i]);
    }
    for (int64_t items = 1; items <= 8; items += 3)
        for (int64_t frames = 7; frames < 200; frames *= 9) {
            mert_encodec_batch *b = mert_encodec_batch_new_on(m, ops, K, items, frames, &e);
            answers a = {.at = 0};
            CHECK(b);
            for (int i = 0; i < ITEMS; i++)
                a.of[i] = keep((size_t)(item_length[i] / m->hop + 1) * K * sizeof(int32_t));
            for (int i = 0; i < ITEMS; i++) {
                if (i == 2 && frames > 20) { /* nothing of it has been computed; it must be removed completely */
                    CHECK(!add_in_chunks(b, x[0], 2000, &a, &e));
                    mert_encodec_batch_drop(b);
                }
                CHECK(!add_in_chunks(b, x[i], item_length[i], &a, &e));
                mert_encodec_batch_end(b);
                CHECK(!mert_encodec_batch_full(b) || !mert_encodec_batch_run_on(b, answer, answered, &a, &e));
            }
            CHECK(!mert_encodec_batch_run_on(b, answer, answered, &a, &e) && a.at == ITEMS);
            for (int i = 0; i < ITEMS; i++) {
                CHECK(a.n[i] == (item_length[i] + m->hop - 1) / m->hop);
                CHECK(!memcmp(a.of[i], alone[i], (size_t)(a.n[i] * K) * sizeof *alone[i]));
            }
            mert_encodec_batch_free(b);
        }
    mert_encodec_free(m);
}

/* Numbers that become infinite on their way are a code of -1, not any code; the item beside them has its codes. */
TEST(embeddings_that_are_not_finite_have_no_code)
{
    static const int64_t length[2] = {3200, 3200};
    mert_encodec *m = tiny();
    float *x[2] = {sound(3200, 1), sound(3200, 2)};
    int32_t **codes;
    CHECK(m);
    for (int i = 0; i < 3200; i++)
        x[0][i] = i % 2 ? 9e37f : -9e37f;
    codes = codes_of_device(m, x, length, 2, 1000);
    CHECK(codes[0][5 * K] == -1);
    CHECK(!memcmp(codes[1], codes_of_cpu(m, x[1], 3200), 10 * K * sizeof **codes));
    mert_encodec_free(m);
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {
        NN_TEST(codes_of_the_reference), NN_TEST(every_length_has_the_codes_of_the_cpu),
        NN_TEST(dilations_and_blocks_without_a_shortcut), NN_TEST(batches_have_the_codes_of_items_alone),
        NN_TEST(embeddings_that_are_not_finite_have_no_code)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
