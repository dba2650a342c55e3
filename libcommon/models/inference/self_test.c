#include "libcommon/models/inference/self_test.h"

#include "formats/checkpoint/write.h"
#include "formats/file.h"
#include "libcommon/base/random.h"
#include "libcommon/models/inference/inference.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file_name[] = "known_answer.safetensors";
enum { FRAMES = 32, STORED = 4 };
static const int32_t stored[STORED] = {0, 10, 21, FRAMES - 1};

static void put_hash(unsigned char to[8], uint64_t hash)
{
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(hash >> (56 - 8 * i));
}

/* Runs the model. Returns all hidden states [N+1, n, D] of the given frames; the caller frees them. */
static float *all_hidden_states(const mert_weights *w, const float *pcm, int64_t L, const int32_t *frames, int64_t n,
                                mert_error *e)
{
    const mert_config *c = &w->layout.config;
    int64_t D = c->width, states = c->layers + 1, T;
    int layers[MERT_LAYERS_MAX + 1];
    const float *rows;
    float *to = malloc((size_t)(states * n * D) * sizeof *to);
    mert_inference *m;
    for (int i = 0; i < states; i++)
        layers[i] = i;
    if (!to) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    m = mert_inference_new(w, mert_ops_cpu(), w->packed ? w->packed_as : MERT_PACKED_F32, layers, (int)states, e);
    if (!m || mert_inference_run(m, pcm, L, &rows, &T, e)) {
        free(to);
        to = NULL;
    }
    for (int64_t s = 0; to && s < states; s++)
        for (int64_t i = 0; i < n; i++)
            memcpy(to + (s * n + i) * D, rows + (frames[i] * states + s) * D, (size_t)D * sizeof *to);
    mert_inference_free(m);
    return to;
}

/* The input: two tones and noise, *L samples; the caller frees it. NULL: out of memory. */
static float *make_pcm(const mert_config *c, int64_t *L)
{
    mert_random noise = mert_random_key(0, MERT_FOR_TEST, 0, 0, 0);
    float *pcm;
    *L = mert_config_receptive_field(c) + (int64_t)(FRAMES - 1) * mert_config_stride(c);
    pcm = malloc((size_t)*L * sizeof *pcm);
    for (int64_t i = 0; pcm && i < *L; i++) {
        double t = (double)i / c->sample_rate;
        pcm[i] = (float)(0.1 * mert_random_normal(&noise, (uint32_t)i) + 0.3 * sin(2 * 3.141592653589793 * 220 * t) +
                         0.1 * sin(2 * 3.141592653589793 * 1760 * t));
    }
    return pcm;
}

/* The hidden states for this input, [N+1, STORED, D], checked to be finite; the caller frees them. */
static float *finite_answer(const mert_weights *w, const float *pcm, int64_t L, mert_error *e)
{
    int64_t each = (int64_t)STORED * w->layout.config.width, n = (w->layout.config.layers + 1) * each;
    float *hidden = all_hidden_states(w, pcm, L, stored, STORED, e);
    for (int64_t i = 0; hidden && i < n; i++)
        if (!isfinite(hidden[i])) {
            mert_fail(e, "hidden state %" PRId64 " of a test signal holds %g: the weights are no model's", i / each,
                      (double)hidden[i]);
            free(hidden);
            return NULL;
        }
    return hidden;
}

int mert_self_test_sane(const mert_weights *w, mert_error *e)
{
    int64_t L;
    float *pcm = make_pcm(&w->layout.config, &L), *hidden;
    if (!pcm)
        return mert_fail(e, "out of memory");
    hidden = finite_answer(w, pcm, L, e);
    free(pcm);
    free(hidden);
    return hidden ? 0 : -1;
}

int mert_self_test_save(const mert_weights *w, const char *dir, mert_error *e)
{
    const mert_config *c = &w->layout.config;
    int64_t L;
    char *path = mert_path_join(dir, file_name);
    float *pcm = make_pcm(c, &L), *hidden = NULL;
    unsigned char hash[8];
    int bad = !path || !pcm ? mert_fail(e, "%s: out of memory", dir) : 0;
    if (!bad && !(hidden = finite_answer(w, pcm, L, e)))
        bad = mert_fail_in(e, "%s", dir);
    if (!bad) {
        put_hash(hash, mert_weights_hash(w));
        mert_tensor_out out[] = {{.name = "hash", .type = MERT_E_U8, .ndim = 1, .shape = {8}, .data = hash},
                                 {.name = "pcm", .type = MERT_E_F32, .ndim = 1, .shape = {L}, .data = pcm},
                                 {.name = "frames", .type = MERT_E_I32, .ndim = 1, .shape = {STORED}, .data = stored},
                                 {.name = "hidden",
                                  .type = MERT_E_F32,
                                  .ndim = 3,
                                  .shape = {c->layers + 1, STORED, c->width},
                                  .data = hidden}};
        bad = mert_safetensors_write(path, out, sizeof out / sizeof *out, e);
    }
    free(path);
    free(pcm);
    free(hidden);
    return bad ? -1 : 0;
}

/* ---- checking ---- */

typedef struct known {
    mert_checkpoint *file;
    float *pcm, *hidden;
    int32_t *frames;
    int64_t L, n;
} known;

static const mert_tensor *find(const known *k, const char *name, mert_dtype type, int ndim, mert_error *e)
{
    const mert_tensor *t = mert_checkpoint_find(k->file, name);
    if (t && t->type == type && t->ndim == ndim && t->elements > 0)
        return t;
    mert_fail(e, "no tensor %s, which a known answer has", name);
    return NULL;
}

/* A copy in memory, because tensors in a safetensors file need not be aligned. */
static void *copy(const mert_tensor *t)
{
    size_t bytes = (size_t)t->elements * mert_dtype_size(t->type);
    void *p = malloc(bytes);
    if (p)
        memcpy(p, t->data, bytes);
    return p;
}

static int load_known(known *k, const mert_weights *w, mert_error *e)
{
    const mert_config *c = &w->layout.config;
    const mert_tensor *hash = find(k, "hash", MERT_E_U8, 1, e), *pcm = hash ? find(k, "pcm", MERT_E_F32, 1, e) : NULL;
    const mert_tensor *frames = pcm ? find(k, "frames", MERT_E_I32, 1, e) : NULL,
                      *hidden = frames ? find(k, "hidden", MERT_E_F32, 3, e) : NULL;
    unsigned char want[8];
    int64_t T;
    if (!hidden)
        return -1;
    T = mert_config_frames(c, pcm->elements);
    if (hash->elements != 8 || pcm->elements > 1 << 24 || hidden->shape[0] != c->layers + 1 ||
        hidden->shape[1] != frames->elements || hidden->shape[2] != c->width)
        return mert_fail(e, "its shapes are not those of this model");
    k->L = pcm->elements;
    k->n = frames->elements;
    k->pcm = copy(pcm);
    k->frames = copy(frames);
    k->hidden = copy(hidden);
    if (!k->pcm || !k->frames || !k->hidden)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < k->n; i++)
        if (k->frames[i] < 0 || k->frames[i] >= T)
            return mert_fail(e, "frame %" PRId32 " of %" PRId64, k->frames[i], T);
    put_hash(want, mert_weights_hash(w));
    if (memcmp(want, hash->data, 8))
        return mert_fail(e, "made by another model: the hash of these weights is another one");
    return 0;
}

static int compare(const known *k, const float *got, int64_t states, int64_t D, double tolerance,
                   double *worst, mert_error *e)
{
    *worst = 0;
    for (int64_t s = 0; s < states; s++) {
        const float *x = got + s * k->n * D, *y = k->hidden + s * k->n * D;
        double top = 0, off = 0;
        for (int64_t i = 0; i < k->n * D; i++) {
            double d = fabs((double)x[i] - y[i]);
            top = fabs((double)y[i]) > top ? fabs((double)y[i]) : top;
            off = d > off || isnan(d) ? d : off;
        }
        if (!(off <= tolerance * top))
            return mert_fail(e,
                             "the self-test gives another result: hidden state %" PRId64 " differs by %.3g of its "
                             "maximum, %g is allowed",
                             s, off / top, tolerance);
        *worst = top > 0 && off / top > *worst ? off / top : *worst;
    }
    return 0;
}

static double tolerance_of(const mert_weights *w)
{
    if (!w->packed || w->packed_as == MERT_PACKED_F32)
        return MERT_ANSWER_TOLERANCE;
    return w->packed_as == MERT_PACKED_BF16 ? MERT_ANSWER_HALF_TOLERANCE : MERT_ANSWER_INT8_TOLERANCE;
}

int mert_self_test_check(const mert_weights *w, const char *dir, double *worst, mert_error *e)
{
    const mert_config *c = &w->layout.config;
    char *path = mert_path_join(dir, file_name);
    known k = {.file = NULL};
    float *got = NULL;
    int result = -1;
    if (!path)
        return mert_fail(e, "out of memory");
    if (access(path, F_OK)) {
        free(path);
        return 0;
    }
    if ((k.file = mert_checkpoint_open(path, e))) {
        if (mert_checkpoint_check_own(k.file, NULL))
            mert_fail(e, "%s: the checksum does not fit: the file is damaged", path);
        else if (!load_known(&k, w, e) && (got = all_hidden_states(w, k.pcm, k.L, k.frames, k.n, e)) &&
            !compare(&k, got, c->layers + 1, c->width, tolerance_of(w), worst, e))
            result = 1;
        else
            mert_fail_in(e, "%s", path);
    }
    mert_checkpoint_close(k.file);
    free(k.pcm);
    free(k.frames);
    free(k.hidden);
    free(got);
    free(path);
    return result;
}
