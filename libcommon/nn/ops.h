/* The operation boundary (contracts B1, B2): everything that models and training compute is a sequence of these
 * operations on device memory. A backend is an implementation of this list: nn/cpu (OpenBLAS and vectorised loops), a
 * plugin that is loaded when its device is asked for, and nn/guard, which runs another backend's operations late, on
 * another thread, on memory that the host cannot touch, and so finds a host access or a missing wait.
 *
 *     mert_gemm(ops, .M = T, .N = D, .K = C, .a = x, .lda = C, .b = w, .ldb = C, .tb = 1, .c = y, .ldc = D, .bias = b);
 *
 * Rules:
 * - Pointers are device pointers: the host does arithmetic on them and never dereferences them. Buffers belong to
 *   whoever called mert_ops_alloc. An operation is queued and returns at once; operations run in the order in which
 *   they were queued.
 * - wait() returns when all has run. Until then a host buffer given to upload must not change, one given to download
 *   holds nothing, and no buffer in use may be freed.
 * - Activations, their gradients and the weights that products read are elements: float32, bfloat16 or float16, one
 *   type for all of an open backend (mert_element). Biases, parameters of norms, statistics, log-sums, master weights,
 *   gradients of parameters and moments are float32; sums that become a number for people are doubles. Arrays are row
 *   major.
 * - An operation computes in float32 and rounds where it stores an element, to nearest, ties to even, and nowhere else:
 *   a GELU takes the number that `pre` was rounded from.
 * - An argument that is left out is zero, and zero always means "not wanted" (or the natural default where noted).
 * - "+=": adds to what is there. Forward results are overwritten, parameter gradients are added to.
 * - Contract A1: an output element is one accumulation in a fixed order that depends on the shapes and its own position
 *   only, never on the number of threads. Callers run one item per call where results must not depend on the batch.
 *
 * Errors: allocation can fail (NULL), and so can an operation that finds no room to work in. From there on the queue
 * refuses everything: operations do not run, what is downloaded is worth nothing, and each wait() says why, until
 * renew(). A caller may thus look at the last of several waits alone. Shapes are the caller's duty (assert). */
#ifndef MERT_OPS_H
#define MERT_OPS_H

#include "formats/error.h"
#include "libcommon/nn/operations.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mert_ops mert_ops;

/* Where models take something in blocks, one operation after the other on a block, so that what passes between them is
 * still at hand. How large the blocks are changes no result of inference, and of gradients the last bits. */
typedef enum mert_block {
    MERT_BLOCK_EXTRACTOR,    /* training: frames of a layer of the extractor, through its norm and the next product */
    MERT_BLOCK_LOGITS,       /* training: rows of logits, of as many codebooks */
    MERT_BLOCK_FRAMES,       /* inference: frames through the whole extractor */
    MERT_BLOCK_FEED_FORWARD, /* inference: rows through all of a layer that follows attention */
} mert_block;

/* A backend. run(): queues one operation; args is the struct of that operation in operations.h. */
struct mert_ops {
    const char *name;
    mert_element_type type;
    int host_memory; /* device and host memory are one: after a wait the host may read what alloc gave, and operations
                        take pointers to the host's own arrays */
    /* Bytes, a multiple of 64, that weights [n, k] take as mert_pack leaves them, if each time they are packed they
     * meet `rows` rows (INT64_MAX: packed once). 0: products with the weights as they are are better, or this backend
     * packs nothing as `as`. */
    size_t (*packed_bytes)(const mert_ops *o, int64_t rows, int64_t n, int64_t k, mert_packing as);
    int64_t (*rows_at_once)(const mert_ops *o, mert_block block); /* at least 1; INT64_MAX: all of them */
    void *(*alloc)(mert_ops *o, size_t bytes);   /* 64-byte aligned, contents undefined; NULL: out of memory */
    void (*release)(mert_ops *o, void *p);       /* waits first; NULL is fine */
    void (*upload)(mert_ops *o, void *to, const void *host, size_t bytes);
    void (*download)(mert_ops *o, void *host, const void *from, size_t bytes);
    /* A place in the queue, behind all that was queued so far; never 0. wait_mark returns when what was queued before
     * it has run: as wait, for that part (-1: something has failed so far), whatever is queued behind it. */
    int64_t (*mark)(mert_ops *o);
    int (*wait_mark)(mert_ops *o, int64_t mark, mert_error *e);
    /* Memory of the host that uploads and downloads reach without a stop; any will do for them, this is fastest. Any
     * thread may call these two, while others use the backend. NULL: out of memory; and unpin takes it. */
    void *(*pin)(mert_ops *o, size_t bytes);
    void (*unpin)(mert_ops *o, void *pinned);
    /* As upload, but ahead of what was queued before, on a queue of its own: nothing queued before may use `to`. What
     * is queued after it finds the bytes, and what holds for upload's host buffer holds for this one. */
    void (*upload_ahead)(mert_ops *o, void *to, const void *host, size_t bytes);
    /* Host memory as the device can read it: itself where the two are one, else a copy, made by the next wait.
     * unshare() it before the host memory goes; it waits. NULL: out of memory. */
    const void *(*share)(mert_ops *o, const void *host, size_t bytes);
    void (*unshare)(mert_ops *o, const void *shared);
    int (*wait)(mert_ops *o, mert_error *e);     /* -1: an operation failed since the last renew; e may be NULL */
    /* Forgets a failure, for work that does not build on what was lost (the next item). Nothing may be queued. -1: this
     * backend cannot go on. */
    int (*renew)(mert_ops *o, mert_error *e);
    void (*run)(mert_ops *o, mert_op op, const void *args, size_t size);
    void (*close)(mert_ops *o);
};

/* The CPU backend of the process, never NULL; close() is a no-op. Of 16-bit elements it is the reference for devices
 * (the numbers are right, and slow): it computes by the operations of float32 on rounded numbers. */
mert_ops *mert_ops_cpu(void);
mert_ops *mert_ops_cpu_of(mert_element_type type);
/* A new test backend, which runs the operations of `inner`: one with host_memory, closed with this one. NULL: no
 * memory. */
mert_ops *mert_ops_guard(mert_ops *inner);
/* A new one that computes nothing and takes no memory (dry.c), and is asked for what `as` would be asked for, which
 * must outlive it (NULL: one that packs nothing and takes everything at once). NULL: no memory. */
mert_ops *mert_ops_dry(const mert_ops *as);
/* "cpu", "guard" (of the CPU), or NAME[:N], device N (0: the first) of a plugin, device-NAME.so (base/install_paths.h).
 * NULL: there is none, and why. Close with ->close. */
mert_ops *mert_ops_open(const char *device, mert_element_type type, mert_error *e);

/* The plugin's side: struct mert_ops, the operations, and this function, which it exports. It fails with e->text
 * where the version is not its own, or where there is no device of this number that computes with such elements. */
enum { MERT_OPS_VERSION = 2 };
typedef mert_ops *mert_device_plugin(int version, int number, mert_element_type type, mert_error *e);
#define MERT_DEVICE_PLUGIN "mert_device_open"

/* ---- queueing an operation ---- */

#define MERT_RUN(ops, op, type, ...) (ops)->run((ops), (op), &(type){__VA_ARGS__}, sizeof(type))
#define mert_copy(ops, ...) MERT_RUN(ops, MERT_OP_COPY, mert_copy_args, __VA_ARGS__)
#define mert_clear(ops, ...) MERT_RUN(ops, MERT_OP_CLEAR, mert_clear_args, __VA_ARGS__)
#define mert_fill(ops, ...) MERT_RUN(ops, MERT_OP_FILL, mert_fill_args, __VA_ARGS__)
#define mert_copy_2d(ops, ...) MERT_RUN(ops, MERT_OP_COPY_2D, mert_copy_2d_args, __VA_ARGS__)
#define mert_axpy(ops, ...) MERT_RUN(ops, MERT_OP_AXPY, mert_axpy_args, __VA_ARGS__)
#define mert_add(ops, ...) MERT_RUN(ops, MERT_OP_ADD, mert_add_args, __VA_ARGS__)
#define mert_swap_axes(ops, ...) MERT_RUN(ops, MERT_OP_SWAP_AXES, mert_swap_axes_args, __VA_ARGS__)
#define mert_gemm(ops, ...) MERT_RUN(ops, MERT_OP_GEMM, mert_gemm_args, __VA_ARGS__)
#define mert_pack(ops, ...) MERT_RUN(ops, MERT_OP_PACK, mert_pack_args, __VA_ARGS__)
#define mert_window_moments(ops, ...) MERT_RUN(ops, MERT_OP_WINDOW_MOMENTS, mert_window_moments_args, __VA_ARGS__)
#define mert_fold_norm(ops, ...) MERT_RUN(ops, MERT_OP_FOLD_NORM, mert_fold_norm_args, __VA_ARGS__)
#define mert_conv(ops, ...) MERT_RUN(ops, MERT_OP_CONV, mert_conv_args, __VA_ARGS__)
#define mert_conv_backward(ops, ...) MERT_RUN(ops, MERT_OP_CONV_BACKWARD, mert_conv_backward_args, __VA_ARGS__)
#define mert_first_layer(ops, ...) MERT_RUN(ops, MERT_OP_FIRST_LAYER, mert_first_layer_args, __VA_ARGS__)
#define mert_first_layer_backward(ops, ...) \
    MERT_RUN(ops, MERT_OP_FIRST_LAYER_BACKWARD, mert_first_layer_backward_args, __VA_ARGS__)
#define mert_gelu(ops, ...) MERT_RUN(ops, MERT_OP_GELU, mert_gelu_args, __VA_ARGS__)
#define mert_gelu_backward(ops, ...) MERT_RUN(ops, MERT_OP_GELU_BACKWARD, mert_gelu_backward_args, __VA_ARGS__)
#define mert_column_sum(ops, ...) MERT_RUN(ops, MERT_OP_COLUMN_SUM, mert_column_sum_args, __VA_ARGS__)
#define mert_layer_norm(ops, ...) MERT_RUN(ops, MERT_OP_LAYER_NORM, mert_layer_norm_args, __VA_ARGS__)
#define mert_layer_norm_backward(ops, ...) \
    MERT_RUN(ops, MERT_OP_LAYER_NORM_BACKWARD, mert_layer_norm_backward_args, __VA_ARGS__)
#define mert_add_norm(ops, ...) MERT_RUN(ops, MERT_OP_ADD_NORM, mert_add_norm_args, __VA_ARGS__)
#define mert_add_norm_backward(ops, ...) \
    MERT_RUN(ops, MERT_OP_ADD_NORM_BACKWARD, mert_add_norm_backward_args, __VA_ARGS__)
#define mert_time_norm(ops, ...) MERT_RUN(ops, MERT_OP_TIME_NORM, mert_time_norm_args, __VA_ARGS__)
#define mert_time_norm_backward(ops, ...) \
    MERT_RUN(ops, MERT_OP_TIME_NORM_BACKWARD, mert_time_norm_backward_args, __VA_ARGS__)
#define mert_weight_norm(ops, ...) MERT_RUN(ops, MERT_OP_WEIGHT_NORM, mert_weight_norm_args, __VA_ARGS__)
#define mert_weight_norm_backward(ops, ...) \
    MERT_RUN(ops, MERT_OP_WEIGHT_NORM_BACKWARD, mert_weight_norm_backward_args, __VA_ARGS__)
#define mert_grouped_conv(ops, ...) MERT_RUN(ops, MERT_OP_GROUPED_CONV, mert_grouped_conv_args, __VA_ARGS__)
#define mert_grouped_conv_backward(ops, ...) \
    MERT_RUN(ops, MERT_OP_GROUPED_CONV_BACKWARD, mert_grouped_conv_backward_args, __VA_ARGS__)
#define mert_attention(ops, ...) MERT_RUN(ops, MERT_OP_ATTENTION, mert_attention_args, __VA_ARGS__)
#define mert_attention_backward(ops, ...) \
    MERT_RUN(ops, MERT_OP_ATTENTION_BACKWARD, mert_attention_backward_args, __VA_ARGS__)
#define mert_dropout(ops, ...) MERT_RUN(ops, MERT_OP_DROPOUT, mert_dropout_args, __VA_ARGS__)
#define mert_mask(ops, ...) MERT_RUN(ops, MERT_OP_MASK, mert_mask_args, __VA_ARGS__)
#define mert_mask_backward(ops, ...) MERT_RUN(ops, MERT_OP_MASK_BACKWARD, mert_mask_backward_args, __VA_ARGS__)
#define mert_zero(ops, ...) MERT_RUN(ops, MERT_OP_ZERO, mert_zero_args, __VA_ARGS__)
#define mert_corrupt(ops, ...) MERT_RUN(ops, MERT_OP_CORRUPT, mert_corrupt_args, __VA_ARGS__)
#define mert_corrupt_backward(ops, ...) MERT_RUN(ops, MERT_OP_CORRUPT_BACKWARD, mert_corrupt_backward_args, __VA_ARGS__)
#define mert_gather(ops, ...) MERT_RUN(ops, MERT_OP_GATHER, mert_gather_args, __VA_ARGS__)
#define mert_scatter_add(ops, ...) MERT_RUN(ops, MERT_OP_SCATTER_ADD, mert_scatter_add_args, __VA_ARGS__)
#define mert_pool_spans(ops, ...) MERT_RUN(ops, MERT_OP_POOL_SPANS, mert_pool_spans_args, __VA_ARGS__)
#define mert_normalize(ops, ...) MERT_RUN(ops, MERT_OP_NORMALIZE, mert_normalize_args, __VA_ARGS__)
#define mert_normalize_backward(ops, ...) \
    MERT_RUN(ops, MERT_OP_NORMALIZE_BACKWARD, mert_normalize_backward_args, __VA_ARGS__)
#define mert_cross_entropy(ops, ...) MERT_RUN(ops, MERT_OP_CROSS_ENTROPY, mert_cross_entropy_args, __VA_ARGS__)
#define mert_squared_error(ops, ...) MERT_RUN(ops, MERT_OP_SQUARED_ERROR, mert_squared_error_args, __VA_ARGS__)
#define mert_glu(ops, ...) MERT_RUN(ops, MERT_OP_GLU, mert_glu_args, __VA_ARGS__)
#define mert_glu_backward(ops, ...) MERT_RUN(ops, MERT_OP_GLU_BACKWARD, mert_glu_backward_args, __VA_ARGS__)
#define mert_sum_squares(ops, ...) MERT_RUN(ops, MERT_OP_SUM_SQUARES, mert_sum_squares_args, __VA_ARGS__)
#define mert_adam(ops, ...) MERT_RUN(ops, MERT_OP_ADAM, mert_adam_args, __VA_ARGS__)
#define mert_narrow(ops, ...) MERT_RUN(ops, MERT_OP_NARROW, mert_narrow_args, __VA_ARGS__)
#define mert_widen(ops, ...) MERT_RUN(ops, MERT_OP_WIDEN, mert_widen_args, __VA_ARGS__)
#define mert_to_elements(ops, ...) MERT_RUN(ops, MERT_OP_TO_ELEMENTS, mert_to_elements_args, __VA_ARGS__)
#define mert_to_floats(ops, ...) MERT_RUN(ops, MERT_OP_TO_FLOATS, mert_to_floats_args, __VA_ARGS__)
#define mert_depthwise_conv(ops, ...) MERT_RUN(ops, MERT_OP_DEPTHWISE_CONV, mert_depthwise_conv_args, __VA_ARGS__)
#define mert_depthwise_conv_backward(ops, ...) \
    MERT_RUN(ops, MERT_OP_DEPTHWISE_CONV_BACKWARD, mert_depthwise_conv_backward_args, __VA_ARGS__)
#define mert_time_squares(ops, ...) MERT_RUN(ops, MERT_OP_TIME_SQUARES, mert_time_squares_args, __VA_ARGS__)
#define mert_response_norm(ops, ...) MERT_RUN(ops, MERT_OP_RESPONSE_NORM, mert_response_norm_args, __VA_ARGS__)
#define mert_response_norm_backward(ops, ...) \
    MERT_RUN(ops, MERT_OP_RESPONSE_NORM_BACKWARD, mert_response_norm_backward_args, __VA_ARGS__)
#define mert_rotary(ops, ...) MERT_RUN(ops, MERT_OP_ROTARY, mert_rotary_args, __VA_ARGS__)
#define mert_clip(ops, ...) MERT_RUN(ops, MERT_OP_CLIP, mert_clip_args, __VA_ARGS__)

/* Shorthands. */
static inline int64_t mert_ops_packed_floats(const mert_ops *o, int64_t rows, int64_t n, int64_t k, mert_packing as)
{
    return (int64_t)(o->packed_bytes(o, rows, n, k, as) / sizeof(float));
}
static inline size_t mert_element_bytes(const mert_ops *o, int64_t n)
{
    return (size_t)n * (o->type == MERT_ELEMENT_F32 ? sizeof(float) : sizeof(uint16_t));
}

/* p + n */
static inline mert_element *mert_at(const mert_ops *o, mert_element *p, int64_t n)
{
    return (mert_element *)(void *)((char *)p + (int64_t)mert_element_bytes(o, 1) * n);
}

static inline const mert_element *mert_const_at(const mert_ops *o, const mert_element *p, int64_t n)
{
    return (const mert_element *)(const void *)((const char *)p + (int64_t)mert_element_bytes(o, 1) * n);
}

static inline mert_element *mert_ops_elements(mert_ops *o, int64_t n)
{
    return (mert_element *)o->alloc(o, mert_element_bytes(o, n > 0 ? n : 1));
}

static inline float *mert_ops_floats(mert_ops *o, int64_t n)
{
    return (float *)o->alloc(o, (size_t)(n > 0 ? n : 1) * sizeof(float));
}

#ifdef __cplusplus
}
#endif

#endif
