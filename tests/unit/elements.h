/* For tests of elements of 16 bits on the CPU (nn/cpu/rounded.c, gemm_half.h): an operation on bfloat16 and on float16,
 * from numbers that the format has. What is stored as an element is what float32 gives, rounded once; what is float32
 * or double stays so, bit for bit. And against nn/reference: within half a unit of the format's last place, and
 * float32's own rounding. An operation that calls another_order() may add products in another order than float32, if
 * this processor has instructions for bfloat16: then float32's rounding of sums is allowed in the first comparison,
 * too. */
#ifndef TEST_ELEMENTS_H
#define TEST_ELEMENTS_H

#include "tests/unit/nn.h"

#include "formats/half.h"
#include "libcommon/nn/cpu/rows_half.h"

#define SUM 3e-6 /* float32's, of a sum, as in ops.c */

static mert_element_type format;

static inline float rounded(float x)
{
    return format == MERT_ELEMENT_BF16 ? mert_from_bf16(mert_to_bf16(x)) : mert_from_f16(mert_to_f16(x));
}

/* ---- arrays that stay until the operation has run ---- */

typedef struct array {
    int elements; /* else bytes as they are */
    int sums;     /* they are floats, perhaps sums in another order */
    void *device, *result;
    const void *exact; /* doubles, of elements; NULL: no reference */
    int64_t n;         /* numbers, or bytes */
} array;

static array arrays[2][16]; /* of float32; of 16 bits */
static int n_arrays[2], half, in_another_order;

static inline void another_order(void) { in_another_order = half && format == MERT_ELEMENT_BF16 && mert_half_fast(); }

static inline array *last(void)
{
    return &arrays[half][n_arrays[half] - 1];
}

static inline void *add(int elements, void *device, int64_t n)
{
    if (n_arrays[half] == 16)
        abort();
    arrays[half][n_arrays[half]++] = (array){elements, 0, device, NULL, NULL, n};
    return device;
}

/* Numbers of the format. */
static inline float *values(int64_t n, uint32_t seed)
{
    float *x = numbers(n, seed);
    for (int64_t i = 0; i < n; i++)
        x[i] = rounded(x[i]);
    return x;
}

static inline mert_element *put_values(const float *x, int64_t n)
{
    uint16_t *narrow;
    if (!half)
        return add(1, put(x, n), n);
    narrow = keep((size_t)n * sizeof *narrow);
    for (int64_t i = 0; i < n; i++)
        narrow[i] = format == MERT_ELEMENT_BF16 ? mert_to_bf16(x[i]) : mert_to_f16(x[i]);
    return add(1, put_bytes(narrow, (size_t)n * sizeof *narrow), n);
}

/* Of which nobody reads what it becomes. */
static inline mert_element *unread(const float *x, int64_t n)
{
    mert_element *p = put_values(x, n);
    n_arrays[half]--;
    return p;
}

static inline mert_element *elements(int64_t n, uint32_t seed)
{
    return put_values(values(n, seed), n);
}

static inline float *floats(int64_t n, uint32_t seed)
{
    float *p = add(0, put(numbers(n, seed), n), n * (int64_t)sizeof(float));
    last()->sums = 1;
    return p;
}

static inline void *doubles(int64_t n)
{
    return add(0, put_bytes(zeros(n), (size_t)n * sizeof(double)), n * (int64_t)sizeof(double));
}

/* What the array that was made last becomes. */
static inline double *expect(int64_t n)
{
    double *x = zeros(n);
    last()->exact = x;
    return x;
}

static inline void bring(array *a)
{
    if (a->elements && half) {
        uint16_t *narrow = get_bytes(a->device, (size_t)a->n * sizeof *narrow);
        float *x = keep((size_t)a->n * sizeof *x);
        for (int64_t i = 0; i < a->n; i++)
            x[i] = format == MERT_ELEMENT_BF16 ? mert_from_bf16(narrow[i]) : mert_from_f16(narrow[i]);
        a->result = x;
    } else
        a->result = get_bytes(a->device, (size_t)a->n * (a->elements ? sizeof(float) : 1));
}

/* Half a unit in the last place of a number of this size, or of the smallest normal one. */
static inline double half_unit(double x)
{
    double smallest = format == MERT_ELEMENT_BF16 ? 0x1p-126 : 0x1p-14;
    return fmax(fabs(x), smallest) * (format == MERT_ELEMENT_BF16 ? 0x1p-8 : 0x1p-11);
}

/* Of float32, or (elements) of numbers that were rounded from it. */
static inline void check_sums(const float *x, const float *full, int64_t n, int elements)
{
    double magnitude = 0;
    for (int64_t i = 0; i < n; i++)
        magnitude = fmax(magnitude, fabs((double)full[i]));
    for (int64_t i = 0; i < n; i++)
        CHECK_NEAR(x[i], full[i], SUM * magnitude + (elements ? half_unit(full[i]) : 0));
}

static inline void check_elements(const float *x, const float *full, const double *exact, int64_t n)
{
    double magnitude = 0;
    for (int64_t i = 0; exact && i < n; i++)
        magnitude = fmax(magnitude, fabs(exact[i]));
    if (in_another_order)
        check_sums(x, full, n, 1);
    for (int64_t i = 0; i < n; i++) {
        if (!in_another_order && x[i] != rounded(full[i]))
            printf("# number %d: %.9g, float32 %.9g\n", (int)i, (double)x[i], (double)full[i]);
        CHECK(in_another_order || x[i] == rounded(full[i]));
        if (exact)
            CHECK_NEAR(x[i], exact[i], half_unit(exact[i]) + SUM * magnitude);
    }
}

static inline void compare(void)
{
    CHECK(n_arrays[0] == n_arrays[1] && n_arrays[0] > 0);
    for (int i = 0; i < n_arrays[0] && !test_bad; i++) {
        const array *full = &arrays[0][i], *a = &arrays[1][i];
        if (a->elements)
            check_elements(a->result, full->result, a->exact, a->n);
        else if (a->sums && in_another_order)
            check_sums(a->result, full->result, a->n / (int64_t)sizeof(float), 0);
        else
            CHECK(!memcmp(a->result, full->result, (size_t)a->n));
        if (test_bad)
            printf("# array %d\n", i);
    }
}

/* On float32, then on 16 bits of both formats; on the backend under test and its guard alike. */
static inline void on_both(void (*operation)(void))
{
    mert_ops *tested = ops;
    int guarded = !strcmp(tested->name, "guard");
    for (format = MERT_ELEMENT_BF16; format <= MERT_ELEMENT_F16 && !test_bad; format++) {
        for (half = 0; half < 2; half++) {
            mert_ops *cpu = mert_ops_cpu_of(half ? format : MERT_ELEMENT_F32);
            n_arrays[half] = in_another_order = 0;
            ops = guarded ? mert_ops_guard(cpu) : cpu;
            CHECK(ops->type == (half ? format : MERT_ELEMENT_F32));
            operation();
            for (int i = 0; i < n_arrays[half]; i++)
                bring(&arrays[half][i]);
            for (int i = 0; i < nn_devices; i++)
                ops->release(ops, nn_device[i]);
            nn_devices = 0;
            ops->close(ops);
        }
        compare();
        if (test_bad)
            printf("# %s\n", format == MERT_ELEMENT_BF16 ? "bfloat16" : "float16");
        for (int i = 0; i < nn_hosts; i++)
            free(nn_host[i]);
        nn_hosts = 0;
    }
    ops = tested;
}

static inline void each(void (*const all[])(void), int n)
{
    for (int i = 0; i < n && !test_bad; i++) {
        on_both(all[i]);
        if (test_bad)
            printf("# operation %d of this test\n", i);
    }
}
#define EACH(...) \
    each((void (*const[])(void)){__VA_ARGS__}, (int)(sizeof(void (*const[])(void)){__VA_ARGS__} / sizeof(void *)))

#endif
