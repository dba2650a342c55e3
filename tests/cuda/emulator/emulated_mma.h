/* What libcommon/plugins/cuda/mma.h has, on the CPU: collectives of a warp. Written from the layouts in the PTX manual
 * ("Matrix Fragments for mma.m16n8k16 with floating point type", "ldmatrix"), with its words: group, in_group. */
#ifndef EMU_MMA_H
#define EMU_MMA_H

#include "cuda_bf16.h"
#include "cuda_fp16.h"

namespace emu {

struct mma_share {
    float *d;
    const uint32_t *a, *b;
};

static inline uint16_t half_of(uint32_t pair, int upper) { return (uint16_t)(upper ? pair >> 16 : pair); }

template <class T> static inline float number_of(uint16_t bits);
template <> inline float number_of<__nv_bfloat16>(uint16_t bits) { return mert_from_bf16(bits); }
template <> inline float number_of<__half>(uint16_t bits) { return mert_from_f16(bits); }

template <class T> EMU_QUIET void mma_op(void **args, unsigned mask)
{
    float a[16][16] = {}, b[16][8] = {}, sums[16][8] = {};
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            auto *x = (const mma_share *)args[lane];
            int group = lane >> 2, in_group = lane % 4;
            for (int i = 0; i < 8; i++) {
                int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
                int column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
                a[row][column] = number_of<T>(half_of(x->a[i / 2], i & 1));
            }
            for (int i = 0; i < 4; i++)
                b[in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group] = number_of<T>(half_of(x->b[i / 2], i & 1));
            for (int i = 0; i < 4; i++)
                sums[i < 2 ? group : group + 8][in_group * 2 + (i & 1)] = x->d[i];
        }
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 16; k++)
            for (int column = 0; column < 8; column++)
                sums[row][column] += a[row][k] * b[k][column];
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            auto *x = (mma_share *)args[lane];
            int group = lane >> 2, in_group = lane % 4;
            for (int i = 0; i < 4; i++)
                x->d[i] = sums[i < 2 ? group : group + 8][in_group * 2 + (i & 1)];
        }
}

struct matrix_rows {
    uint16_t row[8];
    uint32_t to[4];
    int transposed;
};

EMU_QUIET inline void matrices_op(void **args, unsigned mask)
{
    for (int lane = 0; lane < 32; lane++)
        for (int m = 0; m < 4 && mask >> lane & 1; m++) {
            auto *x = (matrix_rows *)args[lane];
            uint16_t two[2];
            for (int i = 0; i < 2; i++) {
                int row = x->transposed ? lane % 4 * 2 + i : lane / 4;
                int column = x->transposed ? lane / 4 : lane % 4 * 2 + i;
                auto *from = (const matrix_rows *)args[m * 8 + row];
                two[i] = from ? from->row[column] : 0xffff;
            }
            x->to[m] = two[0] | (uint32_t)two[1] << 16;
        }
}

/* What a lane brings it reads itself, so that the detector sees it. */
static inline void load(uint32_t to[4], const void *row, int transposed, site at)
{
    matrix_rows x;
    check_aligned(row, sizeof x.row);
    for (int i = 0; i < 8; i++)
        x.row[i] = ((const uint16_t *)row)[i];
    x.transposed = transposed;
    sync_warp(~0u, &x, matrices_op, at);
    for (int i = 0; i < 4; i++)
        to[i] = x.to[i];
}

} // namespace emu

template <class T> EMU_QUIET void mma(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1, EMU_SITE)
{
    uint32_t b[2] = {b0, b1};
    emu::mma_share x{d, a, b};
    emu::sync_warp(~0u, &x, emu::mma_op<T>, {file, line});
}

static inline void load_matrices(uint32_t to[4], const void *row, EMU_SITE) { emu::load(to, row, 0, {file, line}); }
static inline void load_transposed(uint32_t to[4], const void *row, EMU_SITE) { emu::load(to, row, 1, {file, line}); }

static inline uint32_t emu_pair(uint16_t low, uint16_t high) { return low | (uint32_t)high << 16; }
template <class T> static inline uint32_t pair_of(float low, float high);
template <> inline uint32_t pair_of<__nv_bfloat16>(float low, float high)
{
    return emu_pair(mert_to_bf16(low), mert_to_bf16(high));
}
template <> inline uint32_t pair_of<__half>(float low, float high)
{
    return emu_pair(mert_to_f16(low), mert_to_f16(high));
}

#endif
