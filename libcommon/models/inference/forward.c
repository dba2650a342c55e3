#include "libcommon/models/inference/forward_kinds.h"

#include "libcommon/base/integer.h"

#include <inttypes.h>
#include <stdlib.h>

mert_forward *mert_forward_new(const mert_weights *w, mert_ops *ops, mert_packing packing, mert_error *e)
{
    mert_forward *f = calloc(1, sizeof *f);
    if (!f) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    f->c = w->layout.config;
    f->ops = ops;
    f->kind = f->c.kind == MERT_CONFORMER ? &mert_forward_conformer : &mert_forward_hubert;
    mert_arena_open(&f->scratch, ops);
    if (!f->kind->open(f, w, packing, e))
        return f;
    mert_forward_free(f);
    return NULL;
}

int64_t mert_forward_weights(const mert_forward *f, const float **block)
{
    *block = f->weights.mapped ? f->weights.mapped : f->weights.own;
    return f->weights.size;
}

void mert_forward_free(mert_forward *f)
{
    if (!f)
        return;
    f->kind->close(f);
    mert_weight_block_close(&f->weights);
    mert_arena_close(&f->scratch);
    free(f);
}

int mert_forward_run(mert_forward *f, const mert_forward_input *in, int last, mert_hidden_fn each, void *self,
                     mert_error *e)
{
    mert_arena_reset(&f->scratch);
    return mert_config_check_length(&f->c, in->samples, e) ? -1 : f->kind->run(f, in, last, each, self, e);
}

/* ---- steps ---- */

void mert_forward_linear(mert_forward *f, mert_linear_weights l, int64_t rows, int64_t in, int64_t out,
                         const mert_element *x, int64_t ldx, int gelu, const mert_element *residual, mert_element *y)
{
    int add = residual == y && y; /* the operation adds to y in place, but does not allow a residual that is y */
    mert_gemm(f->ops, .M = rows, .N = out, .K = in, .a = x, .lda = ldx, .b = l.w, .ldb = in, .tb = 1,
              .packed = l.packing, .c = y, .ldc = out, .bias = l.b, .gelu = gelu, .add = add,
              .residual = add ? NULL : residual);
}

void mert_forward_qkv(mert_forward *f, mert_linear_weights qkv, int64_t T, const mert_element *x, mert_element *y)
{
    int64_t D = f->c.width, bytes = mert_weight_placed(mert_weight_floats(f->ops, D, D, f->weights.packing)) * 4;
    int64_t step = bytes / (qkv.packing ? 4 : (int64_t)mert_element_bytes(f->ops, 1)); /* packed: in units of 4 bytes */
    mert_gemm(f->ops, .M = T, .N = D, .K = D, .a = x, .lda = D, .b = qkv.w, .packed = qkv.packing, .c = y, .ldc = 3 * D,
              .bias = qkv.b, .batch = 3, .ldb = D, .tb = 1, .b_step = step, .c_step = D,
              .bias_step = mert_weight_placed(D));
}

void mert_forward_norm(mert_forward *f, double eps, mert_norm_weights w, int64_t rows, int64_t columns,
                       const mert_element *x, mert_element *y)
{
    mert_layer_norm(f->ops, .y = y, .x = x, .w = w.w, .b = w.b, .rows = rows, .columns = columns, .eps = (float)eps);
}

int64_t mert_forward_block(int64_t T, int64_t most)
{
    int64_t blocks = (T + most - 1) / most, rows = (T + blocks - 1) / blocks;
    return mert_smaller((rows + 23) / 24 * 24, most);
}

int mert_forward_no_memory(int64_t samples, mert_error *e)
{
    return mert_fail(e, "out of memory for a clip of %" PRId64 " samples", samples);
}
