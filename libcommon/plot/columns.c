#include "libcommon/plot/columns.h"

#include "formats/array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double mert_reduction_join(mert_reduction keep, int second, double x, double nx, double y, double ny)
{
    if (isnan(x))
        return y;
    if (isnan(y))
        return x;
    switch (keep) {
    case MERT_KEEP_MEAN: return (x * nx + y * ny) / (nx + ny);
    case MERT_KEEP_FIRST: return x;
    case MERT_KEEP_RANGE: return second ? fmax(x, y) : fmin(x, y);
    default: return fmax(x, y);
    }
}

int mert_columns_begin(mert_columns *c, mert_reduction keep, int64_t width, int64_t room, mert_error *e)
{
    *c = (mert_columns){.keep = keep, .width = width, .room = room < 2 ? 2 : room / 2 * 2, .step = 1};
    c->values = mert_array(mert_array_count(c->room, width), sizeof *c->values);
    return c->values ? 0 : mert_fail(e, "out of memory");
}

static void join(mert_columns *c, float *x, const float *y, int64_t nx, int64_t ny)
{
    for (int64_t i = 0; i < c->width; i++)
        x[i] = (float)mert_reduction_join(c->keep, i & 1, x[i], (double)nx, y[i], (double)ny);
}

static void halve(mert_columns *c)
{
    const int64_t w = c->width;
    for (int64_t k = 0; k < c->n / 2; k++) {
        join(c, c->values + 2 * k * w, c->values + (2 * k + 1) * w, c->step, c->step);
        memmove(c->values + k * w, c->values + 2 * k * w, (size_t)w * sizeof *c->values);
    }
    c->n /= 2;
    c->step *= 2;
}

void mert_columns_add(mert_columns *c, const float *row)
{
    float *to;
    if (!c->in && c->n == c->room)
        halve(c);
    to = c->values + (c->in ? c->n - 1 : c->n) * c->width;
    if (c->in) {
        join(c, to, row, c->in, 1);
    } else {
        memcpy(to, row, (size_t)c->width * sizeof *row);
        c->n++;
    }
    c->in = c->in + 1 == c->step ? 0 : c->in + 1;
    c->rows++;
}

void mert_columns_free(mert_columns *c)
{
    free(c->values);
    c->values = NULL;
}
