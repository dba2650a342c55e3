#include "libcommon/models/inference/weight_block.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int64_t mert_weight_placed(int64_t n)
{
    return (n + 15) / 16 * 16;
}

float *mert_weight_place(mert_weight_loader *l, int64_t n)
{
    int64_t at = l->at, end = at + n;
    l->at = at + mert_weight_placed(n);
    if (l->from && l->at > end)
        mert_fill(l->ops, .to = l->base + end, .n = l->at - end);
    return l->base ? l->base + at : NULL;
}

const float *mert_weight_begin(mert_weight_loader *l, const mert_parameter **p, const char *name)
{
    const float *x;
    if (!l->from)
        return NULL;
    *p = mert_layout_find(&l->from->layout, name);
    if (!*p)
        abort(); /* an unknown name is an error in the program */
    x = l->ops->share(l->ops, mert_weights_values(l->from, *p), (size_t)(*p)->n * sizeof(float));
    l->bad |= !x;
    return x;
}

void mert_weight_end(mert_weight_loader *l, const mert_parameter *p, const float *x)
{
    l->ops->unshare(l->ops, x);
    mert_weights_forget(l->from, p);
}

static void take(mert_weight_loader *l, float *to, int64_t n, const char *name)
{
    const mert_parameter *p;
    const float *x = mert_weight_begin(l, &p, name);
    if (x) {
        mert_copy(l->ops, .to = to, .from = x, .bytes = (size_t)n * sizeof *x);
        mert_weight_end(l, p, x);
    }
}

float *mert_weight_read(mert_weight_loader *l, int64_t n, const char *format, ...)
{
    float *to = mert_weight_place(l, n);
    char name[128];
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    take(l, to, n, name);
    return to;
}

mert_norm_weights mert_weight_norm_of(mert_weight_loader *l, int64_t n, const char *name)
{
    const float *w = mert_weight_read(l, n, "%s.weight", name);
    return (mert_norm_weights){w, mert_weight_read(l, n, "%s.bias", name)};
}

/* ---- products ---- */

mert_packing mert_weight_packing(mert_ops *ops, int64_t n, int64_t k, mert_packing as)
{
    return ops->packed_bytes(ops, INT64_MAX, n, k, as) ? as : (mert_packing)0;
}

int64_t mert_weight_floats(mert_ops *ops, int64_t n, int64_t k, mert_packing as)
{
    int64_t packed = mert_ops_packed_floats(ops, INT64_MAX, n, k, as);
    return packed ? packed : (int64_t)((mert_element_bytes(ops, n * k) + sizeof(float) - 1) / sizeof(float));
}

mert_element *mert_weight_place_product(mert_weight_loader *l, int64_t count, int64_t n, int64_t k, mert_packing as)
{
    return (mert_element *)(void *)mert_weight_place(l, count * mert_weight_floats(l->ops, n, k, as));
}

void mert_weight_lay_out(mert_ops *ops, mert_element *to, const float *x, int64_t n, int64_t k, int64_t count,
                         mert_packing as)
{
    if (mert_weight_packing(ops, n, k, as))
        mert_pack(ops, .to = to, .w = x, .ldw = k, .n = n, .k = k, .count = count,
                  .to_step = mert_weight_floats(ops, n, k, as), .w_step = n * k, .as = as);
    else
        mert_to_elements(ops, .to = to, .from = x, .n = count * n * k);
}

mert_element *mert_weight_product(mert_weight_loader *l, int64_t n, int64_t k, const char *format, ...)
{
    const mert_parameter *p;
    const float *x;
    mert_element *to = mert_weight_place_product(l, 1, n, k, l->packing);
    char name[128];
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    if ((x = mert_weight_begin(l, &p, name))) {
        mert_weight_lay_out(l->ops, to, x, n, k, 1, l->packing);
        mert_weight_end(l, p, x);
    }
    return to;
}

mert_element *mert_weight_conv(mert_weight_loader *l, int64_t O, int64_t C, int64_t K, const char *name)
{
    const mert_parameter *p;
    mert_element *to = mert_weight_place_product(l, 1, O, C * K, l->packing);
    const float *x = mert_weight_begin(l, &p, name);
    if (x) {
        mert_swap_axes(l->ops, .to = l->ordered, .from = x, .n = O, .a = C, .b = K);
        mert_weight_lay_out(l->ops, to, l->ordered, O, C * K, 1, l->packing);
        mert_weight_end(l, p, x);
    }
    return to;
}

mert_linear_weights mert_weight_linear(mert_weight_loader *l, int64_t out, int64_t in, const char *name)
{
    const mert_element *w = mert_weight_product(l, out, in, "%s.weight", name);
    return (mert_linear_weights){w, mert_weight_read(l, out, "%s.bias", name),
                                 mert_weight_packing(l->ops, out, in, l->packing)};
}

mert_linear_weights mert_weight_qkv(mert_weight_loader *l, int64_t D, const char *prefix, const char *const names[3])
{
    mert_linear_weights all = {.packing = mert_weight_packing(l->ops, D, D, l->packing)};
    for (int j = 0; j < 3; j++) {
        const mert_element *w = mert_weight_product(l, D, D, "%s%s_proj.weight", prefix, names[j]);
        all.w = j ? all.w : w;
    }
    for (int j = 0; j < 3; j++) {
        const float *b = mert_weight_read(l, D, "%s%s_proj.bias", prefix, names[j]);
        all.b = j ? all.b : b;
    }
    return all;
}

/* ---- the block ---- */

/* Checks that this backend has products with this packing. */
static int check_packing(const mert_weight_block *b, const mert_weights *w, mert_error *e)
{
    int64_t D = w->layout.config.width;
    if (mert_weight_packing(b->ops, D, D, b->packing))
        return 0;
    if (w->packed)
        return mert_fail(e, "packed for the CPU's products, and device %s packs nothing: use the model it was made of",
                         b->ops->name);
    return b->packing == MERT_PACKED_F32
               ? 0
               : mert_fail(e, "device %s has no products in %s of numbers in f32 (--precision)", b->ops->name,
                           mert_packing_names[b->packing]);
}

static int use_packed(mert_weight_block *b, const mert_weights *w, mert_load_weights *load, void *self, mert_error *e)
{
    mert_weight_loader l = {.ops = b->ops, .packing = b->packing};
    if (w->packed_as != b->packing)
        return mert_fail(e, "packed for products in %s, and %s is asked for (--precision)",
                         mert_packing_names[w->packed_as], mert_packing_names[b->packing]);
    if (w->packed_size != b->size)
        return mert_fail(e, "%" PRId64 " packed weights, and this architecture has %" PRId64, w->packed_size, b->size);
    b->mapped = b->ops->share(b->ops, w->packed, (size_t)b->size * sizeof(float));
    if (!b->mapped)
        return mert_fail(e, "out of memory for the weights");
    l.base = (float *)(uintptr_t)b->mapped; /* load only reads it, because `from` is NULL */
    load(self, &l);
    return 0;
}

static int fill(mert_weight_block *b, const mert_weights *w, mert_load_weights *load, void *self, int64_t ordered,
                mert_error *e)
{
    mert_weight_loader l = {.ops = b->ops, .packing = b->packing, .from = w};
    int bad;
    l.base = b->own = mert_ops_floats(b->ops, b->size);
    l.ordered = mert_ops_floats(b->ops, ordered);
    l.bad = !l.base || !l.ordered;
    if (!l.bad)
        load(self, &l);
    bad = b->ops->wait(b->ops, e);
    b->ops->release(b->ops, l.ordered);
    return l.bad ? mert_fail(e, "out of memory for the weights") : bad ? -1 : 0;
}

int mert_weight_block_open(mert_weight_block *b, const mert_weights *w, mert_ops *ops, mert_packing packing,
                           mert_load_weights *load, void *self, int64_t ordered, mert_error *e)
{
    mert_weight_loader count = {.ops = ops, .packing = packing};
    *b = (mert_weight_block){.ops = ops, .packing = packing};
    load(self, &count);
    b->size = count.at;
    if (check_packing(b, w, e))
        return -1;
    return w->packed ? use_packed(b, w, load, self, e) : fill(b, w, load, self, ordered, e);
}

void mert_weight_block_close(mert_weight_block *b)
{
    if (!b->ops)
        return;
    b->ops->release(b->ops, b->own);
    if (b->mapped)
        b->ops->unshare(b->ops, b->mapped);
    *b = (mert_weight_block){0};
}
