/* How training uses the queue of a device: what it waits for and asks memory for, counted on the dry backend; and the
 * order in which sums come back. */
#include "tests/unit/nn.h"

#include "libcommon/train/trainer.h"

enum { CLIPS = 3, L = 1013, FRAMES_MAX = 64 };

static mert_config tiny(void)
{
    mert_config c = mert_config_95m();
    c.convs = 2;
    c.conv[0].dim = c.conv[1].dim = 8;
    c.conv[0].kernel = 10, c.conv[0].stride = 5, c.conv[1].kernel = 4, c.conv[1].stride = 4;
    c.width = 16, c.layers = 2, c.heads = 2, c.ffn = 24, c.pos_kernel = 4, c.pos_groups = 2;
    c.codebooks = 2, c.classes[0] = c.classes[1] = 5, c.special_rows = 4, c.final_dim = 6;
    c.cqt_target_bins = 14;
    return c;
}

/* A batch; seed: which, and how much of it is masked. */
static mert_batch batch_of(const mert_config *c, uint32_t seed)
{
    static const int64_t items[CLIPS] = {0, 1, 2};
    int64_t T = mert_config_frames(c, L);
    float *audio = numbers(CLIPS * L, seed);
    int32_t *labels = keep((size_t)(c->codebooks * CLIPS * T) * sizeof *labels);
    uint8_t *mask = keep((size_t)(CLIPS * T));
    for (int64_t i = 0; i < c->codebooks * CLIPS * T; i++)
        labels[i] = (int32_t)((i + seed) % 5);
    for (int64_t i = 0; i < CLIPS * T; i++)
        mask[i] = i % (3 + seed) != 0;
    return (mert_batch){.B = CLIPS, .L = L, .T = T, .K = c->codebooks, .clean = audio, .audio = audio,
                        .labels = labels, .mask = mask, .items = items};
}

static mert_trainer *begin(mert_weights *w, mert_ops *on)
{
    mert_objective_config o = {.features_pen_weight = 10, .cqt_weight = 1, .logit_temperature = 0.1};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .clip_norm = 10};
    mert_config c = tiny();
    mert_error e;
    return mert_weights_init(w, &c, 3, &e) ? NULL : mert_trainer_new(w, on, &o, &a, NULL, &e);
}

/* ---- counted ---- */

static mert_ops plain; /* what the counters stand in front of */
static int waits, marks, allocations;

static int count_wait(mert_ops *o, mert_error *e)
{
    waits++;
    return plain.wait(o, e);
}

static int count_wait_mark(mert_ops *o, int64_t mark, mert_error *e)
{
    marks++;
    return plain.wait_mark(o, mark, e);
}

static void *count_alloc(mert_ops *o, size_t bytes)
{
    allocations++;
    return plain.alloc(o, bytes);
}

TEST(one_wait_for_a_batch_and_one_for_an_update)
{
    mert_ops *dry = mert_ops_dry(NULL);
    mert_forward_options options = {.dropout = 0.1, .feature_grad_mult = 0.1, .seed = 1};
    mert_config c = tiny();
    mert_batch b = batch_of(&c, 1);
    mert_sums sums[6] = {{0}};
    mert_weights w;
    mert_trainer *t;
    mert_error e;
    double norm;
    CHECK(dry);
    plain = *dry;
    dry->wait = count_wait;
    dry->wait_mark = count_wait_mark;
    dry->alloc = count_alloc;
    CHECK((t = begin(&w, dry)));
    for (int i = 0; i < 6; i++) {
        if (i == 2)
            waits = marks = allocations = 0; /* each of the two ways has its memory */
        CHECK(!mert_trainer_accumulate(t, &options, &b, &sums[i], &e));
        CHECK(sums[i].sample_size > 0 && sums[i].frames > 0 && sums[i].batches == 0);
        CHECK(i == 0 || sums[i - 1].batches == 1);
    }
    CHECK(waits == 0 && marks == 4 && allocations == 0);
    CHECK(mert_trainer_update(t, 1, 1e-3, 100, &norm, &e) >= 0);
    CHECK(waits == 1 && marks == 5 && allocations == 0 && sums[5].batches == 1);
    mert_trainer_free(t);
    mert_weights_free(&w);
    dry->close(dry);
}

/* ---- the same late as at once ---- */

TEST(sums_and_weights_do_not_depend_on_when_one_looks)
{
    mert_forward_options options = {.dropout = 0.1, .feature_grad_mult = 0.1, .seed = 1};
    mert_config c = tiny();
    mert_sums sums[2][3] = {{{0}}};
    float *weights[2];
    mert_error e;
    for (int often = 0; often < 2; often++) {
        mert_weights w;
        mert_trainer *t = begin(&w, ops);
        mert_prepared prepared[3] = {{.S = 0}};
        double norm, n = 0;
        CHECK(t);
        for (int i = 0; i < 3; i++) {
            mert_batch b = batch_of(&c, (uint32_t)i);
            CHECK(!often || !mert_prepare(mert_trainer_preparer(t), &b, 1, &prepared[i], &e));
            b.prepared = often ? &prepared[i] : NULL;
            options.micro_batch = (uint64_t)i;
            CHECK(!mert_trainer_accumulate(t, &options, &b, &sums[often][i], &e));
            CHECK(!often || !mert_trainer_settle(t, &e));
            n += (double)sums[often][i].sample_size;
        }
        CHECK(mert_trainer_update(t, 1, 1e-3, n, &norm, &e) == 0);
        weights[often] = keep((size_t)w.layout.size * sizeof **weights);
        CHECK(!mert_trainer_get(t, &(mert_shards_arrays){.weights = weights[often]}, 1, &e));
        CHECK(!often || !memcmp(weights[0], weights[1], (size_t)w.layout.size * sizeof **weights));
        mert_trainer_free(t);
        for (int i = 0; i < 3; i++)
            mert_prepared_free(&prepared[i]);
        mert_weights_free(&w);
    }
    CHECK(!memcmp(sums[0], sums[1], sizeof sums[0]) && sums[0][0].loss > 0 && sums[0][1].loss != sums[0][0].loss);
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(one_wait_for_a_batch_and_one_for_an_update),
                                    NN_TEST(sums_and_weights_do_not_depend_on_when_one_looks)};
    (void)argc;
    (void)argv;
    run_everywhere(tests, 2);
    return test_done();
}
