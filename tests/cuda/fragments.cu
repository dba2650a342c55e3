/* fragments: the products of libcommon/plugins/cuda/mma.h against sums in double, with the layout of the
 * fragments as the PTX manual states it. No two elements of an operand are alike, so that an element in the wrong lane,
 * register or half changes the result; all are small whole numbers, so that the result is exact. Runs on the emulated
 * device and, compiled by nvcc, on a real one. Exit status: 0 all are right, 1 one is wrong. */
#include "libcommon/plugins/cuda/mma.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 16, ALL = SIDE * SIDE };

/* How the lanes get their fragments: each its own elements from device memory; or by load_matrices from operands that
 * lie in shared memory as the instruction's fragments do, A by rows and B by columns; or by load_transposed from A by
 * columns and B by rows. */
enum { BY_ELEMENT, AS_THEY_LIE, TRANSPOSED, WAYS };

/* Bits of two elements that are `step` apart. */
template <class T> __device__ uint32_t two(const T *p, int step)
{
    uint16_t low, high;
    memcpy(&low, p, sizeof low);
    memcpy(&high, p + step, sizeof high);
    return low | (uint32_t)high << 16;
}

/* d = a b, all of them [SIDE, SIDE] by rows: one warp, two products of 8 columns each. */
template <class T> __global__ void product_kernel(float *d, const T *a, const T *b, int way)
{
    SHARED(T, held_a, ALL);
    SHARED(T, held_b, ALL);
    int lane = (int)threadIdx.x, group = lane / 4, in_group = lane % 4, row = lane % 8, m = lane / 8;
    float sums[2][4] = {};
    uint32_t fa[4], fb[4]; /* b's: two of the first 8 columns, two of the others */
    for (int i = lane; i < ALL; i += WARP) {
        int across = i % SIDE * SIDE + i / SIDE;
        held_a[way == TRANSPOSED ? across : i] = a[i];
        held_b[way == TRANSPOSED ? i : across] = b[i];
    }
    __syncwarp();
    if (way == BY_ELEMENT)
        for (int i = 0; i < 4; i++) {
            fa[i] = two(a + (i % 2 ? group + 8 : group) * SIDE + in_group * 2 + (i < 2 ? 0 : 8), 1);
            fb[i] = two(b + (in_group * 2 + i % 2 * 8) * SIDE + i / 2 * 8 + group, SIDE);
        }
    else if (way == AS_THEY_LIE) {
        load_matrices(fa, held_a + (row + m % 2 * 8) * SIDE + m / 2 * 8);
        load_matrices(fb, held_b + (row + m / 2 * 8) * SIDE + m % 2 * 8);
    } else {
        load_transposed(fa, held_a + (row + m / 2 * 8) * SIDE + m % 2 * 8);
        load_transposed(fb, held_b + (row + m % 2 * 8) * SIDE + m / 2 * 8);
    }
    for (int half = 0; half < 2; half++) {
        mma<T>(sums[half], fa, fb[2 * half], fb[2 * half + 1]);
        for (int i = 0; i < 4; i++)
            d[(i < 2 ? group : group + 8) * SIDE + half * 8 + in_group * 2 + i % 2] = sums[half][i];
    }
}

/* Whole numbers from -254 to 254, which both types have. */
static int tag(int i, int n) { return (i * 101 + n) % 509 - 254; }

template <class T> static int wrong(const char *type, int way)
{
    T a[ALL], b[ALL], *da, *db;
    float d[ALL], *dd;
    int bad = 0;
    for (int i = 0; i < ALL; i++) {
        a[i] = T(), b[i] = T();
        store(a + i, (float)tag(i, 7));
        store(b + i, (float)tag(i, 31));
    }
    if (cudaMalloc(&da, sizeof a) || cudaMalloc(&db, sizeof b) || cudaMalloc(&dd, sizeof d))
        return 1;
    cudaMemcpyAsync(da, a, sizeof a, cudaMemcpyHostToDevice, NULL);
    cudaMemcpyAsync(db, b, sizeof b, cudaMemcpyHostToDevice, NULL);
    LAUNCH(product_kernel<T>, 1, WARP, 0, NULL, dd, da, db, way);
    cudaMemcpyAsync(d, dd, sizeof d, cudaMemcpyDeviceToHost, NULL);
    if (cudaDeviceSynchronize())
        return 1;
    for (int i = 0; i < ALL; i++) {
        double exact = 0;
        for (int k = 0; k < SIDE; k++)
            exact += (double)tag(i / SIDE * SIDE + k, 7) * tag(k * SIDE + i % SIDE, 31);
        if (d[i] != exact && !bad++)
            printf("%s, way %d, row %d, column %d: %g, not %g\n", type, way, i / SIDE, i % SIDE, (double)d[i], exact);
    }
    cudaFree(da);
    cudaFree(db);
    cudaFree(dd);
    return bad;
}

int main(void)
{
    int bad = 0;
    for (int way = 0; way < WAYS; way++)
        bad |= wrong<bf16>("bfloat16", way) | wrong<f16>("float16", way);
    return !!bad;
}
