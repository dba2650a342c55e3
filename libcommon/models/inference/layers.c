#include "libcommon/models/inference/layers.h"

#include "formats/file.h"
#include "formats/memory.h"
#include "formats/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int add(mert_layers *l, long v, int N, mert_error *e)
{
    for (int i = 0; i < l->n; i++)
        if (l->index[i] == v)
            return v > N ? mert_fail(e, "last-raw is there twice") : mert_fail(e, "%ld is there twice", v);
    l->index[l->n++] = (int)v;
    return 0;
}

/* Reads a number, or "last", at *p and moves *p behind it. -1: there is neither. */
static long one(const char **p, int N)
{
    char *stop;
    long v = N;
    if (!strncmp(*p, "last", 4)) {
        *p += 4;
        return v;
    }
    if (**p < '0' || **p > '9')
        return -1;
    v = strtol(*p, &stop, 10);
    *p = stop;
    return v;
}

int mert_layers_parse(mert_layers *l, const char *list, int N, mert_error *e)
{
    memset(l, 0, sizeof *l);
    if (!strcmp(list, "all")) {
        for (int i = 0; i <= N; i++)
            add(l, i, N, e);
        return 0;
    }
    for (const char *p = list;; p++) {
        const int raw = !strncmp(p, "last-raw", 8);
        long from = raw ? N + 1L : one(&p, N), to = from;
        if (raw)
            p += 8;
        else if (from >= 0 && *p == '-') {
            p++;
            to = one(&p, N);
        }
        if (from < 0 || to < 0 || (*p && *p != ','))
            return mert_fail(e, "'%s' is neither all, last, last-raw nor a list of numbers and ranges (0,4-6,12)",
                             list);
        if (!raw && (from > N || to > N))
            return mert_fail(e, "%ld is outside 0 to %d", from > N ? from : to, N);
        if (to < from)
            return mert_fail(e, "%ld-%ld runs backwards", from, to);
        for (; from <= to; from++)
            if (add(l, from, N, e))
                return -1;
        if (!*p)
            return 0;
    }
}

/* Reads numbers into to[room]; *n: how many there are. -1: `text` is not a list of numbers. */
static int numbers(const char *text, float *to, int room, int *n)
{
    static const char between[] = ", \t\r\n";
    int count = 0;
    for (const char *p = text + strspn(text, " \t\r\n"); *p; count++) {
        char *stop;
        float v = strtof(p, &stop);
        if (stop == p || !isfinite(v) || (*stop && !strchr(between, *stop)))
            return -1;
        if (count < room)
            to[count] = v;
        p = stop + strspn(stop, between);
    }
    *n = count;
    return count ? 0 : -1;
}

int mert_layers_weigh(mert_layers *l, const char *list, mert_error *e)
{
    int n = 0, bad = numbers(list, l->factors, l->n, &n);
    if (bad) {
        size_t size;
        int mark;
        char *text = mert_file_read(list, 1 << 16, &size, e);
        if (!text)
            return mert_fail_in(e, "neither a list of numbers nor a file that can be read");
        mark = mert_text_mark(list, text, size, e);
        bad = mark < 0 || strlen(text) != size || numbers(text + mark, l->factors, l->n, &n);
        free(text);
        if (mark < 0)
            return -1;
        if (bad)
            return mert_fail(e, "%s: not a list of numbers", list);
    }
    if (n != l->n)
        return mert_fail(e, "%d number%s for %d layer%s", n, n == 1 ? "" : "s", l->n, l->n == 1 ? "" : "s");
    l->weighted = 1;
    return 0;
}

char *mert_layers_print(const mert_layers *l, int N)
{
    mert_memory m;
    FILE *f = mert_memory_open(&m);
    int all = l->n == N + 1;
    if (!f)
        return NULL;
    for (int i = 0; i < l->n; i++)
        all &= l->index[i] == i;
    fputs(all ? "layers=all" : "layers=", f);
    for (int i = 0; i < l->n && !all; i++)
        fprintf(f, l->index[i] > N ? "%slast-raw" : "%s%d", i ? "," : "", l->index[i]);
    for (int i = 0; i < l->n && l->weighted; i++)
        fprintf(f, "%s%.9g", i ? "," : " weights=", (double)l->factors[i]);
    return mert_memory_close(f, &m);
}
