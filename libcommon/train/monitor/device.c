#include "libcommon/train/monitor/device.h"

#include "libcommon/train/cqt_device.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const double GB = 1e9, TFLOPS = 1e12, RESERVED = 1 << 30;
/* plugins/cuda: the workspace of blas.h, and the float32 sums from which products are rounded (kernels_product.cu) */
static const double PRODUCTS = 32 << 20, SUMS = 24 << 20;

/* recognise() takes the first name that fits, so of two names the more specific one comes first. */
static const mert_device_rates table[] = {
    {"B200", {"B200", NULL}, 180e9, 80e12, 2250e12, 8000e9},
    {"H200-NVL", {"H200", "NVL"}, 141e9, 60e12, 835.5e12, 4800e9},
    {"H200", {"H200", NULL}, 141e9, 67e12, 989.5e12, 4800e9},
    {"H100-PCIe", {"H100", "PCIe"}, 80e9, 51e12, 756.5e12, 2000e9},
    {"H100-NVL", {"H100", "NVL"}, 94e9, 60e12, 835.5e12, 3900e9},
    {"H100", {"H100", NULL}, 80e9, 67e12, 989.5e12, 3350e9},
    {"A100-40GB", {"A100", "40GB"}, 40e9, 19.5e12, 312e12, 1555e9},
    {"A100-80GB-PCIe", {"A100 80GB", "PCIe"}, 80e9, 19.5e12, 312e12, 1935e9},
    {"A100-80GB", {"A100", "80GB"}, 80e9, 19.5e12, 312e12, 2039e9},
    {"L40S", {"L40S", NULL}, 48e9, 91.6e12, 362.05e12, 864e9},
    {"L4", {"L4", NULL}, 24e9, 30.3e12, 121e12, 300e9},
    {"RTX-4090", {"RTX 4090", NULL}, 24e9, 82.6e12, 165.2e12, 1008e9}};
enum { KNOWN = sizeof table / sizeof *table };

void mert_device_names(char *to, size_t size)
{
    size_t n = 0;
    *to = 0;
    for (int i = 0; i < KNOWN && n < size; i++)
        n += (size_t)snprintf(to + n, size - n, "%s%s", i ? ", " : "", table[i].name);
}

static int read_rates(mert_device_rates *d, const char *text)
{
    double value[4];
    int n = 0;
    if (sscanf(text, "%lf/%lf/%lf/%lf%n", &value[0], &value[1], &value[2], &value[3], &n) != 4 || text[n])
        return -1;
    for (int i = 0; i < 4; i++)
        if (!(value[i] > 0 && value[i] < 1e9))
            return -1;
    *d = (mert_device_rates){text, {text, NULL}, value[0] * GB, value[1] * TFLOPS, value[2] * TFLOPS, value[3] * GB};
    return 0;
}

int mert_device_find(mert_device_rates *d, const char *name, mert_error *e)
{
    char names[256];
    for (int i = 0; i < KNOWN; i++)
        if (!strcasecmp(name, table[i].name)) {
            *d = table[i];
            return 0;
        }
    if (!read_rates(d, name))
        return 0;
    mert_device_names(names, sizeof names);
    return mert_fail(e, "no device '%.100s' in the table: there are %s; another one is GB/F32/HALF/BANDWIDTH, such as "
                        "141/67/989/4800 (memory in GB, TFLOP/s of float32 and of 16 bits, GB/s)", name, names);
}

/* Whether text has this word, with neither a letter nor a digit before or after it. */
static int has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p++)
        if ((p == text || !isalnum((unsigned char)p[-1])) && !isalnum((unsigned char)p[n]))
            return 1;
    return 0;
}

int mert_device_recognise(mert_device_rates *d, const char *full_name)
{
    for (int i = 0; i < KNOWN && !has_word(full_name, "Laptop"); i++)
        if (has_word(full_name, table[i].part[0]) && (!table[i].part[1] || has_word(full_name, table[i].part[1]))) {
            *d = table[i];
            return 0;
        }
    return -1;
}

/* ---- the plan ---- */

/* Scratch memory of the first layer for one item, in float32 (kernels_extractor.cu). That of a Conformer is smaller
 * than SUMS. */
static double first_layer(const mert_config *c, int64_t L)
{
    return c->convs ? (double)((L - c->conv[0].kernel) / c->conv[0].stride + 1) * c->conv[0].dim * sizeof(float) : 0;
}

/* cqt: operations of a frame of the CQT target. */
static void least_time(mert_device_plan *p, const mert_budget *b, const mert_device_rates *d, const mert_recipe *r,
                       int ranks, mert_sharding sharding, double cqt)
{
    double rate = r->precision == MERT_ELEMENT_F32 ? d->f32 : d->half;
    double element = r->precision == MERT_ELEMENT_F32 ? 4 : 2, n = (double)b->parameters;
    double batches = (double)b->per_update / ranks; /* per device */
    double full = b->audio * (double)r->sample_rate / (double)(b->largest_B * b->largest_L) / ranks;
    double own = sharding == MERT_SHARD_NONE ? n : n / ranks;
    double frames = b->audio * (double)r->sample_rate / (double)mert_config_stride(&b->model);
    p->products = b->update / ranks / rate;
    p->targets = cqt * frames * (1 - exp(-mert_recipe_mask(r, MERT_LAST_UPDATE).prob)) / ranks / d->f32;
    p->memory = (2 * p->activations * full + (2 * element * n + 2 * sizeof(float) * n) * batches +
                 8 * sizeof(float) * own) / d->bandwidth;
    p->update = fmax(p->products + p->targets, p->memory);
}

int mert_device_budget(mert_device_plan *p, mert_budget *b, const mert_device_rates *d, const mert_recipe *r,
                       const mert_corpus *c, const mert_corpus *v, int ranks, mert_sharding sharding,
                       const char *offload, mert_error *e)
{
    mert_ops *as = mert_ops_dry(NULL); /* like a device, it packs nothing and processes all rows at once */
    double cqt;
    int bad;
    if (!as)
        return mert_fail(e, "out of memory");
    as->type = (mert_element_type)r->precision;
    bad = mert_budget_make(b, r, c, v, as, ranks, sharding, offload, e);
    cqt = bad ? 0 : mert_cqt_device_work(&b->model, as);
    as->close(as);
    if (bad)
        return -1;
    *p = (mert_device_plan){.weights = b->weights, .gradients = b->gradients, .moments = offload ? 0 : b->moments,
                            .activations = b->activations, .reserved = RESERVED};
    p->workspace = PRODUCTS + fmax(SUMS, 2 * first_layer(&b->model, b->largest_L));
    p->all = p->weights + p->gradients + p->moments + p->activations + p->workspace + p->reserved;
    least_time(p, b, d, r, ranks, sharding, cqt);
    return 0;
}

/* ---- settings that would fit ---- */

typedef struct trial {
    char *to;
    size_t size;
    const mert_device_rates *d;
    const mert_corpus *c, *v;
    int ranks, found;
} trial;

/* Adds the settings to the text if the run fits with them. */
static int try(trial *t, const char *what, const mert_recipe *r, mert_sharding sharding, const char *offload,
               mert_error *e)
{
    size_t n = strlen(t->to);
    mert_device_plan p;
    mert_budget b;
    if (mert_device_budget(&p, &b, t->d, r, t->c, t->v, t->ranks, sharding, offload, e))
        return -1;
    if (p.all <= t->d->memory) {
        snprintf(t->to + n, t->size - n, "%s%s (%.1f GB)", t->found ? ", or " : "", what, p.all / GB);
        t->found++;
    }
    return 0;
}

/* Tries a half, a quarter, ... of the batch, down to one crop, and adds the largest that fits. */
static int try_fewer(trial *t, const mert_recipe *r, mert_sharding sharding, const char *offload, mert_error *e)
{
    mert_recipe fewer = *r;
    int before = t->found;
    char what[64];
    while (t->found == before && fewer.max_tokens / 2 >= r->max_sample_size &&
           fewer.max_tokens / 2 >= r->valid_sample_size) {
        fewer.max_tokens /= 2;
        snprintf(what, sizeof what, "--set max_tokens=%" PRId64, fewer.max_tokens);
        if (try(t, what, &fewer, sharding, offload, e))
            return -1;
    }
    return 0;
}

int mert_device_advice(char *to, size_t size, const mert_device_plan *p, const mert_device_rates *d,
                       const mert_recipe *r, const mert_corpus *c, const mert_corpus *v, int ranks,
                       mert_sharding sharding, const char *offload, mert_error *e)
{
    trial t = {.to = to, .size = size, .d = d, .c = c, .v = v, .ranks = ranks};
    mert_recipe again = *r;
    again.recompute = 1;
    *to = 0;
    if (p->all <= d->memory)
        return 0;
    if ((!r->recompute && try(&t, "--recompute", &again, sharding, offload, e)) ||
        (!offload && try(&t, "--offload host", r, sharding, "host", e)) ||
        (ranks > 1 && sharding != MERT_SHARD_FULL && try(&t, "--shard full", r, MERT_SHARD_FULL, offload, e)) ||
        try_fewer(&t, r, sharding, offload, e))
        return -1;
    if (!t.found && ((!r->recompute || !offload) && try(&t, "--recompute --offload host", &again, sharding, "host", e)))
        return -1;
    if (!t.found)
        snprintf(to, size, "neither --recompute, --offload host nor smaller batches make it fit: --shard full on %s"
                           "devices", ranks > 1 ? "more " : "several ");
    return 0;
}
