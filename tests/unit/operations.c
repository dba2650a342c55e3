/* How many operations a batch of MERT-95M is for a device that packs nothing and takes everything at once: what its
 * queue must be given while it computes (CQT target, 8 codebooks, dropout 0.1, 16 crops of 5 s). A batch behind
 * the first two waits once, for the one before it, and allocates nothing. Counted by a backend that passes on what it is given to the dry one. */
#include "tests/unit/counting.h"

#include "libcommon/models/inference/inference.h"
#include "libcommon/train/data/mask.h"
#include "libcommon/train/trainer.h"

enum { MOST = 380, MOST_BF16 = 417, MOST_CLIP = 113, CLIPS = 16, SAMPLES = 5 * 24000 };

static void print(const char *what)
{
    printf("# %s: %d operations, %d waits, %d times memory;", what, (int)counted.operations, (int)counted.waits,
           (int)counted.memory);
    for (int i = 0; i < MERT_OPS_COUNT; i++)
        if (counted.each[i])
            printf(" %d:%d", i, (int)counted.each[i]);
    printf("\n");
}

static mert_config model(void)
{
    mert_config c = mert_config_95m();
    c.codebooks = 8, c.special_rows = 4, c.final_dim = 64, c.untied = 1, c.cqt_target_bins = 336;
    for (int k = 0; k < c.codebooks; k++)
        c.classes[k] = 1024;
    return c;
}

static void batch_on(mert_element_type type, int most)
{
    mert_config c = model();
    mert_ops counting = counting_device(type);
    mert_objective_config o = {.features_pen_weight = 10, .cqt_weight = 1, .logit_temperature = 0.1};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
    mert_forward_options how = {.training = 1, .dropout = 0.1, .attention_dropout = 0.1, .input_dropout = 0.1,
                                .feature_grad_mult = 0.1, .seed = 1, .update = 1};
    int64_t T = mert_config_frames(&c, SAMPLES), items[CLIPS];
    mert_batch b = {.B = CLIPS, .L = SAMPLES, .T = T, .K = c.codebooks, .items = items};
    uint8_t *mask = keep((size_t)(CLIPS * T));
    mert_sums sums = {0};
    mert_weights w = {0};
    mert_error e = {{0}};
    mert_trainer *t;
    for (int i = 0; i < CLIPS; i++)
        items[i] = i;
    b.clean = b.audio = keep(CLIPS * SAMPLES * sizeof(float));
    b.labels = keep((size_t)(CLIPS * T * c.codebooks) * sizeof(int32_t));
    b.mask = mask;
    CHECK(!mert_mask_make(&(mert_mask_config){.prob = 0.8, .length = 5, .min_spans = 2}, 1, 1, 0, items, CLIPS, T, mask, &e));
    CHECK(!mert_layout_make(&w.layout, &c, &e));
    w.values = calloc((size_t)w.layout.size, sizeof(float)); /* never touched: it takes no memory */
    t = mert_trainer_new(&w, &counting, &o, &a, NULL, &e);
    for (int i = 0; i < 2; i++) /* of the two sets of buffers */
        CHECK(t && !mert_trainer_accumulate(t, &how, &b, &sums, &e));
    counted = (counts){0};
    CHECK(t && !mert_trainer_accumulate(t, &how, &b, &sums, &e));
    print(type == MERT_ELEMENT_F32 ? "a batch, float32" : "a batch, bfloat16");
    CHECK(counted.operations > 100 && counted.operations <= most);
    CHECK(counted.waits == 1 && !counted.memory);
    mert_trainer_free(t);
    mert_weights_free(&w);
    counting_inner->close(counting_inner);
    forget();
}

TEST(a_batch_is_few_operations)
{
    batch_on(MERT_ELEMENT_F32, MOST);
    batch_on(MERT_ELEMENT_BF16, MOST_BF16);
}

/* All hidden states, pooled: nothing leaves the device but the answer. */
TEST(a_clip_is_waited_for_once)
{
    static const int layers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const mert_pooling_plan plans[] = {{.how = MERT_POOLING_NONE},
                                              {.how = MERT_POOLING_MEAN},
                                              {.how = MERT_POOLING_MAX, .num = 75, .den = 1}};
    mert_config c = mert_config_95m();
    const float *answer;
    int64_t rows;
    float *pcm = keep(30 * 24000 * sizeof *pcm);
    mert_error e = {{0}};
    for (int i = 0; i < 3; i++) {
        mert_ops counting = counting_device(MERT_ELEMENT_BF16);
        mert_weights w = {0};
        mert_inference *m;
        const mert_parameter *v;
        CHECK(!mert_layout_make(&w.layout, &c, &e));
        w.values = calloc((size_t)w.layout.size, sizeof(float));
        v = mert_layout_find(&w.layout, "encoder.pos_conv.0.weight_v");
        for (int64_t k = 0; w.values && k < v->n; k++) /* a tap without length is refused */
            w.values[v->offset + k] = 1;
        for (int64_t k = 0; k < 30 * 24000; k++)
            pcm[k] = (float)(k % 7) - 3;
        CHECK((m = mert_inference_new(&w, &counting, MERT_PACKED_F32, layers, 13, &e)));
        mert_inference_pool(m, &plans[i]);
        CHECK(!mert_inference_run(m, pcm, 30 * 24000, &answer, &rows, &e));
        counted = (counts){0};
        CHECK(!mert_inference_run(m, pcm, 30 * 24000, &answer, &rows, &e));
        print(i ? "30 s, pooled" : "30 s");
        CHECK(rows == (i == 0 ? 2249 : i == 1 ? 1 : 30));
        CHECK(counted.waits == 1 && !counted.memory && counted.operations <= MOST_CLIP);
        mert_inference_free(m);
        mert_weights_free(&w);
        counting_inner->close(counting_inner);
    }
    forget();
}

int main(void)
{
    RUN(a_batch_is_few_operations);
    RUN(a_clip_is_waited_for_once);
    return test_done();
}
