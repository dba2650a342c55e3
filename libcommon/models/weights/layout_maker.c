#include "libcommon/models/weights/layout_maker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(mert_layout_maker *m, int ndim, const int64_t shape[], const char *format, va_list ap)
{
    mert_layout *l = m->l;
    mert_parameter *p;
    if (l->count == m->room) {
        int room = m->room ? 2 * m->room : 64;
        p = realloc(l->parameters, (size_t)room * sizeof *p);
        if (!p) {
            m->bad = 1;
            return;
        }
        l->parameters = p;
        m->room = room;
    }
    p = &l->parameters[l->count++];
    memset(p, 0, sizeof *p);
    vsnprintf(p->name, sizeof p->name, format, ap);
    p->ndim = ndim;
    p->n = 1;
    for (int i = 0; i < ndim; i++) {
        p->shape[i] = shape[i];
        p->n *= shape[i];
    }
    p->offset = l->size;
    p->training_only = m->training_only;
    l->size += (p->n + 15) / 16 * 16;
    l->elements += p->n;
}

void mert_layout_vector(mert_layout_maker *m, int64_t n, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    add(m, 1, (int64_t[]){n}, format, ap);
    va_end(ap);
}

void mert_layout_matrix(mert_layout_maker *m, int64_t rows, int64_t columns, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    add(m, 2, (int64_t[]){rows, columns}, format, ap);
    va_end(ap);
}

void mert_layout_cube(mert_layout_maker *m, int64_t a, int64_t b, int64_t c, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    add(m, 3, (int64_t[]){a, b, c}, format, ap);
    va_end(ap);
}

void mert_layout_norm(mert_layout_maker *m, int64_t n, const char *name)
{
    mert_layout_vector(m, n, "%s.weight", name);
    mert_layout_vector(m, n, "%s.bias", name);
}

void mert_layout_linear(mert_layout_maker *m, int64_t in, int64_t out, const char *name)
{
    mert_layout_matrix(m, out, in, "%s.weight", name);
    mert_layout_vector(m, out, "%s.bias", name);
}
