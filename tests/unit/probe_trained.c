/* Names of keys and chords, means over items, and trained probes with their files: compared with values by hand and
 * with the equations of the headers. */
#include "tests/test.h"

#include "libcommon/base/random.h"
#include "libcommon/probe/harmony.h"
#include "libcommon/probe/items.h"
#include "libcommon/probe/score.h"
#include "libcommon/probe/trained.h"

static double normal(uint32_t what, int64_t i)
{
    mert_random r = mert_random_key(7, MERT_FOR_TEST, what, 0, 0);
    return mert_random_normal(&r, (uint32_t)i);
}

/* ---- keys and chords ---- */

TEST(keys_by_name)
{
    static const struct { const char *name; int is; } all[] = {
        {"C major", 0},   {"c minor", 12},  {"C:min", 12}, {"F# minor", 18}, {"Gb:maj", 6}, {"Bb major", 10},
        {"B# maj", 0},    {"Cb minor", 23}, {"a_MINOR", 21}, {"D#-min", 15}, {"H major", -1}, {"C", -1},
        {"C majority", -1}, {"C:dim", -1},  {"N", -1},     {"", -1},         {"Cmajor", -1}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        CHECK(mert_key_parse(all[i].name) == all[i].is);
}

/* MIREX, from C major: itself, G major (a fifth above), F major (a fifth below), A minor, C minor, E minor; from A
 * minor: E minor, D minor, C major, A major. */
TEST(keys_that_are_nearly_right)
{
    static const struct { const char *is, *said; double worth; } all[] = {
        {"C major", "C major", 1},   {"C major", "G major", 0.5}, {"C major", "F major", 0},
        {"C major", "A minor", 0.3}, {"C major", "C minor", 0.2}, {"C major", "E minor", 0},
        {"A minor", "E minor", 0.5}, {"A minor", "D minor", 0},   {"A minor", "C major", 0.3},
        {"A minor", "A major", 0.2}, {"A minor", "F# major", 0},  {"A minor", "A minor", 1},
        {"Db major", "C# major", 1}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        CHECK(mert_key_score(mert_key_parse(all[i].is), mert_key_parse(all[i].said)) == all[i].worth);
}

/* What a rule makes of a chord: "": no name for it; "-": not a chord. */
static const char *reduced(const char *label, mert_chord_rule rule)
{
    static char to[MERT_CHORD_MAX];
    int got = mert_chord_reduce(label, rule, to);
    return got < 0 ? "-" : got ? "" : to;
}

TEST(chords_by_their_third_and_fifth)
{
    static const struct { const char *label, *majmin, *thirds; } all[] = {
        {"N", "N", "N"},           {"X", "", ""},                {"C", "C:maj", "C:maj"},
        {"C:maj7/3", "C:maj", "C:maj"}, {"Db:min7", "C#:min", "C#:min"}, {"F#/b7", "F#:maj", "F#:maj"},
        {"B:dim", "", "B:min"},    {"E:aug", "", "E:maj"},       {"G:sus4(b7)", "", ""},
        {"A:hdim7", "", "A:min"},  {"C:(1,b3,5)", "C:min", "C:min"}, {"C:(1,5)", "", ""},
        {"C:maj(9)", "C:maj", "C:maj"}, {"C:maj(*3)", "", ""},   {"C:min7(*5,b6)", "", "C:min"},
        {"D:7(#9)", "D:maj", "D:maj"}, {"D:min(*b3)", "", ""},   {"G:5", "", ""},
        {"Cb", "B:maj", "B:maj"},  {"A:minmaj7", "A:min", "A:min"}, {"C:maj(b5)", "", "C:maj"},
        {"H", "-", "-"},           {"C:", "-", "-"},             {"C:major", "-", "-"},
        {"C/", "-", "-"},          {"C:maj(", "-", "-"},         {"C:maj()", "-", "-"},
        {"C:maj(14)", "-", "-"},   {"c:maj", "-", "-"},          {"", "-", "-"},
        {"C:maj/x", "-", "-"},     {"Nothing", "-", "-"},        {"C:maj(3,)", "-", "-"},
        {"C maj", "-", "-"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        CHECK(!strcmp(reduced(all[i].label, MERT_CHORDS_MAJMIN), all[i].majmin));
        CHECK(!strcmp(reduced(all[i].label, MERT_CHORDS_THIRDS), all[i].thirds));
    }
}

TEST(scores_of_keys_by_hand)
{
    int32_t label[] = {0, 0, 1, 2}, round[] = {0, 0, 0, 0};
    char *names[] = {"A minor", "C major", "G major"};
    float s[] = {2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 2, 0}; /* A minor, C major, G major, C major */
    mert_targets g = {.task = MERT_PROBE_CLASSIFY, .n = 4, .outputs = 3, .label = label, .names = names};
    char measures[MERT_SCORES_MAX][MERT_SCORE_NAME_MAX];
    double v[MERT_SCORES_MAX];
    mert_error e;
    CHECK(!mert_score_all(&g, s, round, 1, v, &e));
    CHECK(mert_score_names(&g, measures) == 6 && !strcmp(measures[5], "weighted_key_score"));
    CHECK_NEAR(v[5], (1 + 0.3 + 0.5 + 0) / 4, 1e-12);
    CHECK_NEAR(v[0], 0.25, 1e-12);
    names[0] = "N"; /* not a key: the measure is left out */
    CHECK(mert_score_names(&g, measures) == 5);
}

/* ---- items ---- */

TEST(items_are_means_of_probabilities)
{
    /* Two items of three and one spans; log-odds of 0.5, 0.9, 0.1 and of 0.2. Far ones keep their distance from 1. */
    const double odds = log(9);
    float answers[] = {0, (float)odds, (float)-odds, (float)log(0.25)}, far[] = {40, 42}, y[] = {1, 2, 6};
    mert_answers_mean(MERT_PROBE_MULTILABEL, answers, 3, 1, answers);
    CHECK_NEAR(answers[0], 0, 1e-6);
    mert_answers_mean(MERT_PROBE_CLASSIFY, far, 2, 1, far);
    CHECK_NEAR(far[0], -log((exp(-40) + exp(-42)) / 2), 1e-5);
    mert_answers_mean(MERT_PROBE_REGRESS, y, 3, 1, y);
    CHECK(y[0] == 3);
}

/* ---- trained probes ---- */

/* The equation of trained.h, in double. */
static void trained_by_hand(const mert_trained *t, const float *x, double *s)
{
    int64_t W = t->width, H = t->hidden, I = H ? H : W;
    double z[8] = {0}, h[8] = {0};
    for (int64_t i = 0; i < W; i++)
        for (int64_t l = 0; l < t->layers; l++)
            z[i] += (double)t->mixture[l] * ((double)x[l * W + i] - t->mean[l * W + i]) * t->scale[l * W + i];
    for (int64_t k = 0; k < I; k++) {
        h[k] = H ? t->hidden_bias[k] : z[k];
        for (int64_t i = 0; H && i < W; i++)
            h[k] += (double)t->hidden_weight[k * W + i] * z[i];
        h[k] = H && h[k] < 0 ? 0 : h[k];
    }
    for (int64_t c = 0; c < t->outputs.n; c++) {
        s[c] = t->bias[c];
        for (int64_t k = 0; k < I; k++)
            s[c] += (double)t->weight[c * I + k] * h[k];
        if (t->number_mean)
            s[c] = s[c] * t->number_size[c] + t->number_mean[c];
    }
}

TEST(a_trained_probe_answers_as_its_equation_and_its_file_keeps_it)
{
    enum { L = 2, W = 5, H = 3, OUT = 3 };
    char *names[OUT] = {"a", "b \"x\"", "\xc3\xa9"};
    char file[32];
    for (int i = 0; i < 12; i++) {
        mert_probe_task task = (mert_probe_task)(i / 4);
        mert_trained t = {.outputs = {task, OUT, task == MERT_PROBE_REGRESS ? NULL : names},
                          .layers = i % 2 ? L : 1, .width = W, .hidden = i / 2 % 2 ? H : 0};
        mert_layer_name layers[L] = {"0", "12"};
        mert_trained back;
        mert_error e;
        float x[L * W], work[W + H + OUT], answers[OUT], again[OUT];
        double s[OUT], sum = 0;
        CHECK(!mert_trained_make(&t, &e));
        for (int64_t k = 0; k < t.block_size; k++)
            t.block[k] = (float)normal(40 + (uint32_t)i, k);
        if (t.layers == 1)
            t.mixture[0] = 1;
        for (int k = 0; k < L * W; k++)
            x[k] = (float)normal(60, k);
        mert_trained_answer(&t, x, work, answers);
        trained_by_hand(&t, x, s);
        for (int c = 0; c < OUT; c++)
            sum += exp(s[c]);
        for (int c = 0; c < OUT; c++)
            CHECK_NEAR(answers[c], task == MERT_PROBE_CLASSIFY ? s[c] - log(sum - exp(s[c])) : s[c], 1e-4);
        t.names = task == MERT_PROBE_REGRESS ? NULL : names;
        t.layer = layers;
        t.features = (mert_features){.kind = "hidden", .sample_rate = 24000, .model = 0x1234, .recipe = "made so"};
        snprintf(file, sizeof file, "probe%d.safetensors", i);
        CHECK(!mert_trained_write(&t, test_tmp(file), &e) && !mert_trained_read(&back, test_tmp(file), &e));
        CHECK(back.outputs.task == task && back.layers == t.layers && back.hidden == t.hidden && back.width == W);
        CHECK(!strcmp(back.features.recipe, "made so") && back.features.model == 0x1234);
        CHECK(!strcmp(back.layer[t.layers - 1], layers[t.layers - 1]));
        CHECK(!back.names == !t.names && (!t.names || !strcmp(back.names[1], names[1])));
        CHECK(back.block_size == t.block_size &&
              !memcmp(back.block, t.block, (size_t)t.block_size * sizeof *t.block));
        mert_trained_answer(&back, x, work, again);
        CHECK(!memcmp(again, answers, sizeof answers));
        mert_trained_free(&back);
        free(t.block);
    }
}

int main(void)
{
    RUN(keys_by_name);
    RUN(keys_that_are_nearly_right);
    RUN(chords_by_their_third_and_fifth);
    RUN(scores_of_keys_by_hand);
    RUN(items_are_means_of_probabilities);
    RUN(a_trained_probe_answers_as_its_equation_and_its_file_keeps_it);
    return test_done();
}
