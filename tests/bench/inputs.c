/* inputs WHAT ...: makes the input files of the bench, always the same.
 *
 *     audio SECONDS FILE.wav            synthetic music: notes with overtones and noise, stereo, 44100 Hz, 16 bit
 *     features FRAMES WIDTH FILE.npy    [FRAMES, WIDTH] around 300 centres
 *     codebooks K V WIDTH FILE          random residual codebooks for log-mel of 24 kHz, 75 frames a second
 *     mert2 DIR                         MERT-v2 at full size, random weights
 *     encodec DIR                       EnCodec 24 kHz at full size, random weights, HF layout; prints the GFLOP that
 *                                       encoding a second of audio with 8 codebooks takes */
#include "formats/checkpoint/checkpoint.h"
#include "formats/checkpoint/write.h"
#include "formats/file.h"
#include "libcommon/base/random.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/teachers/codebook_file.h"
#include "tests/npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float *floats(int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    if (!x) {
        fprintf(stderr, "inputs: out of memory\n");
        exit(1);
    }
    return x;
}

/* n random numbers, uniform in [-scale, scale); what: the number of the sequence. */
static float *uniform(int64_t n, double scale, uint32_t what)
{
    mert_random r = mert_random_key(1, MERT_FOR_TEST, what, 0, 0);
    float *x = floats(n);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(scale * (2 * mert_random_uniform(&r, (uint32_t)i) - 1));
    return x;
}

/* ---- audio ---- */

enum { RATE = 44100, NOTE = RATE / 4, VOICES = 3, OVERTONES = 4 };

static void little_endian(unsigned char *to, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (unsigned char)(v >> 8 * i);
}

static int wav_header(FILE *f, int64_t frames)
{
    unsigned char h[44] = "RIFF....WAVEfmt ";
    little_endian(h + 4, (uint32_t)(36 + 4 * frames), 4);
    little_endian(h + 16, 16, 4);
    little_endian(h + 20, 1, 2); /* pcm */
    little_endian(h + 22, 2, 2);
    little_endian(h + 24, RATE, 4);
    little_endian(h + 28, 4 * RATE, 4);
    little_endian(h + 32, 4, 2);
    little_endian(h + 34, 16, 2);
    memcpy(h + 36, "data", 4);
    little_endian(h + 40, (uint32_t)(4 * frames), 4);
    return fwrite(h, sizeof h, 1, f) == 1 ? 0 : -1;
}

/* Adds a decaying tone: x[n] = 2 d cos(w) x[n - 1] - d^2 x[n - 2]. */
static void add_tone(float *to, double hz, double loud)
{
    double w = 6.283185307179586 * hz / RATE, d = 1 - 4.0 / RATE, a = 2 * d * cos(w), b = d * d;
    double x = loud * sin(w), before = 0;
    for (int i = 0; i < NOTE; i++) {
        double next = a * x - b * before;
        to[i] += (float)x;
        before = x;
        x = next;
    }
}

static int write_note(FILE *f, const mert_random *r, uint32_t number)
{
    static float mono[NOTE];
    static unsigned char pcm[NOTE * 4];
    memset(mono, 0, sizeof mono);
    for (uint32_t v = 0; v < VOICES; v++) {
        double hz = 65.4 * pow(2, mert_random_below(r, VOICES * number + v, 48) / 12.0);
        for (int o = 1; o <= OVERTONES; o++)
            add_tone(mono, o * hz, 0.15 / o);
    }
    for (uint32_t i = 0; i < NOTE; i++) {
        uint32_t noise = (number * NOTE + i) * 2654435761u;
        float left = mono[i] + 1e-3f * ((float)(noise >> 16) / 32768 - 1), right = 0.8f * mono[i];
        little_endian(pcm + 4 * i, (uint32_t)(int32_t)(20000 * left), 2);
        little_endian(pcm + 4 * i + 2, (uint32_t)(int32_t)(20000 * right), 2);
    }
    return fwrite(pcm, sizeof pcm, 1, f) == 1 ? 0 : -1;
}

static int audio(char **argv, mert_error *e)
{
    int64_t notes = (int64_t)(atof(argv[0]) * RATE / NOTE);
    mert_random r = mert_random_key(1, MERT_FOR_TEST, 0, 0, 0);
    FILE *f = fopen(argv[1], "wb");
    int bad = !f || notes < 1 || notes > 100000 || wav_header(f, notes * NOTE);
    for (int64_t i = 0; !bad && i < notes; i++)
        bad = write_note(f, &r, (uint32_t)i);
    if (f)
        bad |= fclose(f) != 0;
    return bad ? mert_fail(e, "cannot write it") : 0;
}

/* ---- features and codebooks ---- */

static int features(char **argv, mert_error *e)
{
    enum { CENTRES = 300 };
    int64_t n = atoll(argv[0]), width = atoll(argv[1]), shape[2] = {n, width};
    mert_random r = mert_random_key(1, MERT_FOR_TEST, 2, 0, 0);
    float *centres = uniform(CENTRES * width, 3, 1), *x = uniform(n * width, 1, 3);
    int bad;
    for (int64_t i = 0; i < n; i++) {
        const float *c = centres + mert_random_below(&r, (uint32_t)i, CENTRES) * width;
        for (int64_t d = 0; d < width; d++)
            x[i * width + d] += c[d];
    }
    bad = put_npy(argv[2], MERT_NPY_F32, 2, shape, x, e);
    free(centres);
    free(x);
    return bad;
}

static int codebooks(char **argv, mert_error *e)
{
    mert_codebook b = {.type = "rvq", .count = atoll(argv[0]), .classes = atoll(argv[1]), .width = atoll(argv[2])};
    int bad;
    b.features = (mert_features){.kind = "mel", .width = b.width, .sample_rate = 24000, .frame_rate_num = 24000,
                                 .frame_rate_den = 320};
    b.codewords = uniform(b.count * b.classes * b.width, 3, 4);
    bad = mert_codebook_write(&b, argv[3], e);
    mert_codebook_free(&b);
    return bad;
}

/* ---- EnCodec ---- */

enum { TENSORS = 128, FILTERS = 32, DIM = 128, WIDTH = 512, CODEBOOKS = 32, USED = 8, CLASSES = 1024 };
static const int64_t ratios[] = {2, 4, 5, 8};

typedef struct model {
    mert_tensor_out tensors[TENSORS];
    char names[TENSORS][96];
    size_t n;
    double rate; /* output rows per second of the current layer */
    double work; /* multiplications and additions per second of audio */
} model;

static void tensor(model *m, const char *name, const char *leaf, int ndim, int64_t a, int64_t b, int64_t c,
                   double scale)
{
    mert_tensor_out *t = &m->tensors[m->n];
    float *x = uniform(a * b * c, scale, (uint32_t)(16 + m->n));
    snprintf(m->names[m->n], sizeof m->names[m->n], "%s%s", name, leaf);
    *t = (mert_tensor_out){.name = m->names[m->n], .type = MERT_E_F32, .ndim = ndim, .shape = {a, b, c}, .data = x};
    m->n++;
}

static void conv(model *m, int layer, const char *part, int64_t in, int64_t out, int64_t kernel)
{
    char name[64];
    snprintf(name, sizeof name, "encoder.layers.%d%s.conv", layer, part);
    tensor(m, name, ".bias", 1, out, 1, 1, 0.01);
    tensor(m, name, ".weight_g", 3, out, 1, 1, 2);
    tensor(m, name, ".weight_v", 3, out, in, kernel, 1);
    m->work += 2 * m->rate * (double)(in * out * kernel);
}

static void encodec_lstm(model *m, int layer)
{
    static const char *const leaves[] = {"weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l"};
    char name[64], leaf[32];
    snprintf(name, sizeof name, "encoder.layers.%d.lstm.", layer);
    for (int l = 0; l < 2; l++)
        for (int i = 0; i < 4; i++) {
            snprintf(leaf, sizeof leaf, "%s%d", leaves[i], l);
            tensor(m, name, leaf, i < 2 ? 2 : 1, 4 * WIDTH, i < 2 ? WIDTH : 1, 1, 0.044);
        }
    m->work += 2 * m->rate * 2 * 2 * 4 * WIDTH * WIDTH;
}

static const char encodec_config[] =
    "{\"model_type\": \"encodec\", \"audio_channels\": 1, \"sampling_rate\": 24000, \"num_filters\": 32,\n"
    " \"hidden_size\": 128, \"codebook_size\": 1024, \"codebook_dim\": 128, \"num_residual_layers\": 1,\n"
    " \"upsampling_ratios\": [8, 5, 4, 2],\n"
    " \"norm_type\": \"weight_norm\", \"kernel_size\": 7, \"last_kernel_size\": 7, \"residual_kernel_size\": 3,\n"
    " \"dilation_growth_rate\": 2, \"use_causal_conv\": true, \"pad_mode\": \"reflect\", \"compress\": 2,\n"
    " \"num_lstm_layers\": 2, \"trim_right_ratio\": 1.0, \"normalize\": false, \"use_conv_shortcut\": true}\n";

static int write_text(const char *path, const char *text, mert_error *e)
{
    mert_output *o = mert_output_open(path, e);
    if (!o)
        return -1;
    if (fputs(text, o->stream) < 0) {
        mert_output_abandon(o);
        return mert_fail(e, "cannot write it");
    }
    return mert_output_commit(o, e);
}

static int mert2(char **argv, mert_error *e)
{
    mert_config c = mert_config_mert2();
    mert_weights w;
    int bad;
    if (mert_weights_init(&w, &c, 1, e))
        return -1;
    bad = mert_weights_save(&w, argv[0], e);
    mert_weights_free(&w);
    return bad;
}

/* SEANet's encoder and the quantiser (man/model.md 12); layers without tensors (ELU) are counted, too. */
static int encodec(char **argv, mert_error *e)
{
    static model m = {.rate = 24000};
    char path[1024], name[64];
    int64_t width = FILTERS;
    int layer = 1, bad;
    conv(&m, 0, "", 1, width, 7);
    for (int i = 0; i < 4; i++, layer += 3, width *= 2) {
        conv(&m, layer, ".block.1", width, width / 2, 3);
        conv(&m, layer, ".block.3", width / 2, width, 1);
        conv(&m, layer, ".shortcut", width, width, 1);
        m.rate /= (double)ratios[i];
        conv(&m, layer + 2, "", width, 2 * width, 2 * ratios[i]);
    }
    encodec_lstm(&m, layer);
    conv(&m, layer + 2, "", width, DIM, 7);
    for (int k = 0; k < CODEBOOKS; k++) {
        snprintf(name, sizeof name, "quantizer.layers.%d.codebook", k);
        tensor(&m, name, ".embed", 2, CLASSES, DIM, 1, 1);
    }
    m.work += 2 * m.rate * USED * CLASSES * DIM;
    snprintf(path, sizeof path, "%s/config.json", argv[0]);
    bad = mert_make_directory(argv[0], e) || write_text(path, encodec_config, e);
    snprintf(path, sizeof path, "%s/model.safetensors", argv[0]);
    bad = bad || mert_safetensors_write(path, m.tensors, m.n, e);
    for (size_t i = 0; i < m.n; i++)
        free((void *)m.tensors[i].data);
    printf("%.4f\n", 1e-9 * m.work);
    return bad;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int arguments;
        int (*make)(char **, mert_error *);
    } what[] = {{"audio", 2, audio}, {"features", 3, features}, {"codebooks", 4, codebooks}, {"encodec", 1, encodec},
              {"mert2", 1, mert2}};
    mert_error e = {{0}};
    for (size_t i = 0; i < sizeof what / sizeof *what; i++)
        if (argc > 1 && !strcmp(argv[1], what[i].name) && argc == 2 + what[i].arguments) {
            if (!what[i].make(argv + 2, &e))
                return 0;
            fprintf(stderr, "inputs: %s: %s\n", argv[argc - 1], e.text);
            return 1;
        }
    fprintf(stderr, "usage: inputs audio SECONDS FILE.wav | features FRAMES WIDTH FILE.npy | codebooks K V WIDTH FILE |"
                    " encodec DIR | mert2 DIR\n");
    return 2;
}
