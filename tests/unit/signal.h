/* For tests of transforms: reference vectors, synthetic signals, and the largest difference. */
#ifndef TEST_SIGNAL_H
#define TEST_SIGNAL_H

#include "tests/test.h"

#include <stdint.h>

/* The float32 values of a version 1 .npy file of at most two axes, in row-major order; freed by the caller. Ends the
 * program if there is no such file. */
static inline float *signal_npy(const char *path, int64_t shape[2])
{
    FILE *f = fopen(path, "rb");
    unsigned char head[10];
    char text[1024] = "";
    size_t size = 0, n;
    long long rows = 0, columns = 1;
    float *in = NULL, *out = NULL;
    if (f && fread(head, 1, 10, f) == 10 && (size = (size_t)head[8] + 256u * head[9]) < sizeof text &&
        fread(text, 1, size, f) == size && strstr(text, "<f4") && strstr(text, "'shape': (") &&
        sscanf(strstr(text, "'shape': (") + 10, "%lld, %lld", &rows, &columns) >= 1) {
        n = (size_t)rows * (size_t)columns;
        in = calloc(n, sizeof *in);
        out = calloc(n, sizeof *out);
    }
    if (!in || !out || fread(in, sizeof *in, n, f) != n) {
        printf("not ok - %s cannot be read\n", path);
        exit(1);
    }
    for (long long i = 0; i < rows; i++)
        for (long long j = 0; j < columns; j++)
            out[i * columns + j] = strstr(text, "'fortran_order': True") ? in[j * rows + i] : in[i * columns + j];
    fclose(f);
    free(in);
    shape[0] = rows;
    shape[1] = columns;
    return out;
}

/* Tones with changing amplitude, noise and clicks; deterministic. */
static inline float *signal_music(int64_t n, double rate)
{
    float *x = calloc((size_t)n + 1, sizeof *x);
    uint32_t state = 12345;
    for (int64_t i = 0; i < n; i++) {
        double t = (double)i / rate, note = 55 * pow(2, floor(t * 7) * 5 / 12.0 - 4 * floor(t * 7 * 5 / 48));
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(0.3 * sin(2 * 3.141592653589793 * note * t) * (1 + cos(2 * 3.141592653589793 * 7 * t)) +
                       0.1 * sin(2 * 3.141592653589793 * 1234.5 * t) + 0.05 * ((double)(state >> 8) / 8388608 - 1));
        if (i % 7919 == 100)
            x[i] += 0.8f;
    }
    return x;
}

/* The largest |a - b| over the largest |b|. */
static inline double signal_difference(const float *a, const float *b, int64_t n)
{
    double most = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fabs((double)a[i] - b[i]) > most || isnan(a[i]) ? fabs((double)a[i] - b[i]) : most;
        largest = fabs(b[i]) > largest ? fabs(b[i]) : largest;
        if (isnan(a[i]))
            return INFINITY;
    }
    return largest > 0 ? most / largest : most;
}

/* Collects the rows that a transform emits. */
typedef struct rows {
    float *data;
    int64_t n, room, width;
} rows;

#endif
