#include "libcommon/models/rotary.h"

#include "formats/array.h"

#include <math.h>
#include <stdlib.h>

void mert_rotary_open(mert_rotary_tables *r, mert_ops *ops, int64_t head, int base)
{
    *r = (mert_rotary_tables){.ops = ops, .head = head, .base = base};
}

void mert_rotary_close(mert_rotary_tables *r)
{
    if (!r->ops)
        return;
    r->ops->release(r->ops, r->cosines);
    r->ops->release(r->ops, r->sines);
    *r = (mert_rotary_tables){0};
}

static void fill(const mert_rotary_tables *r, int64_t T, float *cosines, float *sines)
{
    int64_t half = r->head / 2;
    for (int64_t j = 0; j < half; j++) {
        float exponent = (float)(2 * j) / (float)r->head, speed = 1 / (float)pow(r->base, exponent);
        for (int64_t t = 0; t < T; t++) {
            float angle = (float)t * speed;
            cosines[t * half + j] = (float)cos(angle);
            sines[t * half + j] = (float)sin(angle);
        }
    }
}

int mert_rotary_reach(mert_rotary_tables *r, int64_t T)
{
    int64_t n = T * (r->head / 2);
    float *host;
    if (T <= r->T)
        return 0;
    r->ops->release(r->ops, r->cosines);
    r->ops->release(r->ops, r->sines);
    r->T = 0;
    host = mert_array(2 * n, sizeof *host);
    r->cosines = mert_ops_floats(r->ops, n);
    r->sines = mert_ops_floats(r->ops, n);
    if (host && r->cosines && r->sines) {
        fill(r, T, host, host + n);
        r->ops->upload(r->ops, r->cosines, host, (size_t)n * sizeof *host);
        r->ops->upload(r->ops, r->sines, host + n, (size_t)n * sizeof *host);
        r->T = r->ops->wait(r->ops, NULL) ? 0 : T;
    }
    free(host);
    return r->T ? 0 : -1;
}

void mert_rotary_apply(const mert_rotary_tables *r, mert_element *x, int64_t B, int64_t T, int64_t H, int64_t ld,
    int inverse)
{
    mert_rotary(r->ops, .x = x, .cosines = r->cosines, .sines = r->sines, .B = B, .T = T, .H = H, .dh = r->head,
                   .ld = ld, .inverse = inverse);
}
