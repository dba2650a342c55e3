/* Products on the emulated device: loops, on the queue. Refuses what cuBLASLt behind the same boundary is not given. */
#include "emulator/internal.h"
#include "libcommon/plugins/cuda/blas.h"

#include <vector>

struct blas {
    int nothing;
};

blas *blas_open(mert_error *) { return new blas(); }
void blas_close(blas *b) { delete b; }

static int64_t size_of(mert_element_type t) { return t == MERT_ELEMENT_F32 ? 4 : 2; }

static float read_one(const void *p, mert_element_type t, int64_t i)
{
    return t == MERT_ELEMENT_F32    ? ((const float *)p)[i]
           : t == MERT_ELEMENT_BF16 ? __bfloat162float(((const bf16 *)p)[i])
                                    : __half2float(((const f16 *)p)[i]);
}

static void write_one(void *p, mert_element_type t, int64_t i, float x)
{
    if (t == MERT_ELEMENT_F32)
        ((float *)p)[i] = x;
    else if (t == MERT_ELEMENT_BF16)
        ((bf16 *)p)[i] = __float2bfloat16(x);
    else
        ((f16 *)p)[i] = __float2half(x);
}

/* What of an operand's rows is inside of a block of memory, and written. */
static void check_rows(const void *p, mert_element_type t, int64_t rows, int64_t ld, int64_t columns, bool written)
{
    for (int64_t r = 0; r < rows; r++) {
        const char *row = (const char *)p + r * ld * size_of(t);
        const emu::span *b = emu::device_span(row);
        if (!b || row + columns * size_of(t) > b->at + b->bytes)
            emu::report("a product's operand is not in one block of device memory", nullptr);
        else if (written)
            emu::shadow_reads(row, (size_t)(columns * size_of(t)));
        if (emu::st.error)
            return;
    }
}

/* b as float [K][N], whichever way it lies: the inner loop below runs along rows. */
static void take_b(std::vector<float> &to, const product &p, const void *b)
{
    to.resize((size_t)(p.K * p.N));
    for (int64_t k = 0; k < p.K; k++)
        for (int64_t j = 0; j < p.N; j++)
            to[(size_t)(k * p.N + j)] = read_one(b, p.in, p.tb ? j * p.ldb + k : k * p.ldb + j);
}

static void one(const product &p, const void *a, const void *b, void *c)
{
    static std::vector<float> right, row;
    check_rows(a, p.in, p.ta ? p.K : p.M, p.lda, p.ta ? p.M : p.K, true);
    check_rows(b, p.in, p.tb ? p.N : p.K, p.ldb, p.tb ? p.K : p.N, true);
    check_rows(c, p.out, p.M, p.ldc, p.N, p.add);
    if (emu::st.error)
        return;
    take_b(right, p, b);
    row.resize((size_t)p.N);
    for (int64_t i = 0; i < p.M; i++) {
        float *sum = row.data();
        for (int64_t j = 0; j < p.N; j++)
            sum[j] = 0;
        for (int64_t k = 0; k < p.K; k++) {
            float x = read_one(a, p.in, p.ta ? k * p.lda + i : i * p.lda + k);
            const float *y = right.data() + k * p.N;
            for (int64_t j = 0; j < p.N; j++)
                sum[j] += x * y[j];
        }
        for (int64_t j = 0; j < p.N; j++) {
            float v = p.alpha * sum[j];
            write_one(c, p.out, i * p.ldc + j, p.add ? read_one(c, p.out, i * p.ldc + j) + v : v);
        }
        emu::shadow_wrote((char *)c + i * p.ldc * size_of(p.out), (size_t)(p.N * size_of(p.out)));
    }
}

int blas_product(blas *, cudaStream_t s, const product *asked)
{
    product p = *asked;
    if (blas_refuses(&p))
        return 1;
    emu::enqueue(s, [p] {
        for (int64_t n = 0; n < (p.batch > 0 ? p.batch : 1) && !emu::st.error; n++)
            one(p, (const char *)p.a + n * p.a_step * size_of(p.in), (const char *)p.b + n * p.b_step * size_of(p.in),
                (char *)p.c + n * p.c_step * size_of(p.out));
    });
    return 0;
}
