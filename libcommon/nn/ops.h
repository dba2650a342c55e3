/* The interface of a backend (contracts B1, B2). All computations of models and training are sequences of the
 * operations in operations.h, on device memory. A backend implements these operations: nn/cpu (OpenBLAS and vectorised
 * loops), or a plugin, which is loaded when its device is asked for. nn/guard is a backend for tests: it runs the
 * operations of another backend late, on another thread, in memory that the host cannot access. So it finds an access
 * by the host, and a missing wait.
 *
 *     mert_gemm(ops, .M = T, .N = D, .K = C, .a = x, .lda = C, .b = w, .ldb = C, .tb = 1, .c = y, .ldc = D, .bias = b);
 *
 * Rules:
 * - Pointers are device pointers: the host may do arithmetic with them, but never dereferences them. A buffer belongs
 *   to the caller of alloc(). run() queues an operation and returns at once; operations run in the order in which they
 *   were queued.
 * - wait() returns when all queued operations have run. Before that, the host buffer of an upload must not change, the
 *   host buffer of a download has no valid contents, and no buffer in use may be freed.
 * - Activations, their gradients, and the weights of products are elements (mert_element): float32, bfloat16 or
 *   float16, one type for each open backend. Biases, parameters of norms, statistics, log-sums, master weights,
 *   gradients of parameters, and moments are float32. Sums that are reported as numbers (losses, norms) are doubles.
 *   Arrays are row major.
 * - An operation computes in float32. It rounds when it stores an element (to nearest, ties to even), and nowhere else:
 *   a GELU is computed from the number before it is rounded to `pre`.
 * - An argument that is not given is zero. Zero means "not wanted", or the default value that the operation names.
 * - "+=" adds to the contents. Results of forward operations overwrite; gradients of parameters are added.
 * - Contract A1: an output element is one sum in a fixed order, which depends on the shapes and the element's position
 *   only, never on the number of threads. If a result must not depend on the batch, the caller runs one item per call.
 *
 * Errors: alloc() returns NULL if there is no memory. An operation can fail, too, if it cannot get the scratch memory
 * that it needs. After a failure the queue runs no more operations, downloads have no valid contents, and each wait()
 * returns the error, until renew(). So of several waits a caller has to check only the last. Shapes are not checked:
 * the caller is responsible for them. */
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

/* The places where models process rows in blocks: several operations, one after the other, on the same block, so that
 * the intermediate results are still in the cache. The size of the blocks does not change the results of inference; it
 * can change the last bits of gradients. */
typedef enum mert_block {
    MERT_BLOCK_EXTRACTOR,    /* training: frames of a layer of the extractor, through its norm and the next product */
    MERT_BLOCK_LOGITS,       /* training: rows of logits, of all codebooks that are computed together */
    MERT_BLOCK_FRAMES,       /* inference: frames through the whole extractor */
    MERT_BLOCK_FEED_FORWARD, /* inference: rows through the part of a layer after attention */
} mert_block;

/* ---- exchange between devices ----
 *
 * The processes of a run, each with a backend of its own, exchange arrays of floats in device memory. data [n] is cut
 * into pieces of `each` floats, one for every process in turn; the last ones may be shorter, or empty. What a process
 * queues, all others queue as well: the same of the same sizes, in the same order. */
typedef enum mert_exchange_what {
    MERT_REDUCE_SCATTER, /* a process's own piece becomes the sum over all processes; the contents of the other pieces
                            are undefined */
    MERT_ALL_GATHER,     /* each piece is copied from its own process to all others */
    MERT_ALL_REDUCE      /* data becomes the sum over all processes, with the same bits in each */
} mert_exchange_what;

/* How far the processes have come, in memory that all of one machine share. */
typedef struct mert_arrivals {
    int64_t *entered; /* [ranks] how many exchanges each has queued; -1: a process of another machine, not known. NULL:
                         nothing is known */
    int64_t *seen;    /* [ranks] when each was last known to run (CLOCK_MONOTONIC, ms) */
    int32_t *told;    /* 1: a process has printed which one is late; the others wait until they are ended */
} mert_arrivals;

typedef struct mert_peers {
    int rank, ranks;
    int (*collect)(void *with, const void *mine, void *all, size_t bytes, mert_error *e); /* all [ranks][bytes]: the
        `mine` of each, in host memory. Join alone calls it, a few times */
    void *with;
    mert_arrivals arrivals;
    double limit; /* seconds that a process may keep the others waiting; 0: for ever */
} mert_peers;

/* The message about processes that keep the others waiting for too long. Its arguments: the seconds, and the processes
 * ("process 1 of 4", "processes 1, 3 of 4"). */
#define MERT_NO_ANSWER "no answer for %g s (--hang-after) from %s: hung, stopped or lost"

/* A backend. run() queues one operation; args is the operation's struct of operations.h. */
struct mert_ops {
    const char *name;
    mert_element_type type;
    const char *device; /* the driver's name of the device; NULL: the CPU */
    int64_t memory;     /* bytes of the device's memory; 0: the host's */
    int host_memory; /* 1: device memory is host memory. After a wait the host may read buffers from alloc, and
                        operations accept pointers to the host's own arrays */
    int cqt; /* 1: CQT targets are computed by MERT_OP_CQT. 0: by the host, because its own transform is faster */
    /* The size in bytes, a multiple of 64, of weights [n, k] that mert_pack has packed. rows: the number of rows that
     * they are multiplied with each time they are packed (INT64_MAX: they are packed once). 0: products with unpacked
     * weights are faster, or this backend does not support the packing `as`. */
    size_t (*packed_bytes)(const mert_ops *o, int64_t rows, int64_t n, int64_t k, mert_packing as);
    int64_t (*rows_at_once)(const mert_ops *o, mert_block block); /* number of rows in a block, at least 1; INT64_MAX:
                                                                     all of them */
    void *(*alloc)(mert_ops *o, size_t bytes);   /* 64-byte aligned, contents undefined; NULL: out of memory */
    void (*release)(mert_ops *o, void *p);       /* waits first; NULL is fine */
    void (*upload)(mert_ops *o, void *to, const void *host, size_t bytes);
    void (*download)(mert_ops *o, void *host, const void *from, size_t bytes);
    /* mark returns a position in the queue, after everything that has been queued so far; never 0. wait_mark returns
     * when everything before this position has run, even if there is more in the queue. It reports errors as wait does:
     * -1 if any operation has failed so far. */
    int64_t (*mark)(mert_ops *o);
    int (*wait_mark)(mert_ops *o, int64_t mark, mert_error *e);
    /* Host memory for which uploads and downloads are fastest, because they need no intermediate copy; they accept any
     * other host memory, too. Any thread may call pin and unpin while other threads use the backend. pin returns NULL
     * if out of memory; unpin accepts NULL. */
    void *(*pin)(mert_ops *o, size_t bytes);
    void (*unpin)(mert_ops *o, void *pinned);
    /* As upload, but on a queue of its own, before the operations that are already queued: none of them may use `to`.
     * Operations that are queued later find the new contents. The host buffer must not change until a wait, as for
     * upload. */
    void (*upload_ahead)(mert_ops *o, void *to, const void *host, size_t bytes);
    /* Host memory that the device can read: the same pointer if device and host memory are one, otherwise a copy, which
     * is made at the next wait at the latest. Call unshare, which waits, before the host memory is freed. NULL: out of
     * memory. */
    const void *(*share)(mert_ops *o, const void *host, size_t bytes);
    void (*unshare)(mert_ops *o, const void *shared);
    int (*wait)(mert_ops *o, mert_error *e);     /* -1: an operation failed since the last renew; e may be NULL */
    /* Clears a failure, so that work which does not depend on lost results can go on (the next item). The queue must be
     * empty. -1: this backend cannot be used any more. */
    int (*renew)(mert_ops *o, mert_error *e);
    void (*run)(mert_ops *o, mert_op op, const void *args, size_t size);
    /* Optional (NULL): exchange between devices, on a queue of its own. join() connects the backends of all processes,
     * which call it together; *peers is copied, and what it points to must stay valid. Returns 0; or 1 if this backend
     * can do it, but not here (a library is missing), with the reason in e: the same in all processes; or -1: error. */
    int (*join)(mert_ops *o, const mert_peers *peers, mert_error *e);
    /* Queues an exchange. It uses the results of what was queued before it, and runs at the same time as what is queued
     * after it, which must not use `data` before finish(). Returns its number, from 1. finish(): what is queued after
     * it can use the results of this exchange and of all before it; the host does not wait. wait() and wait_mark() wait
     * for exchanges, too. They fail if a process is lost, or keeps the others waiting for peers->limit; the error names
     * the process if it is known. After that this backend cannot be used any more (renew() fails). */
    int64_t (*exchange)(mert_ops *o, mert_exchange_what what, float *data, int64_t n, int64_t each);
    void (*finish)(mert_ops *o, int64_t number);
    void (*close)(mert_ops *o);
};

/* The CPU backend of the process, never NULL; close() does nothing. With 16-bit elements it is the reference for
 * devices: it widens the elements, runs the float32 operation, and rounds the result. It is slow. */
mert_ops *mert_ops_cpu(void);
mert_ops *mert_ops_cpu_of(mert_element_type type);
/* A new test backend that runs the operations of `inner`, which must have host_memory and is closed together with it.
 * NULL: out of memory. */
mert_ops *mert_ops_guard(mert_ops *inner);
/* A new backend that computes nothing and allocates nothing (dry.c). packed_bytes and rows_at_once return the values of
 * `as`, which must outlive it, and so does `cqt` (NULL: no packing, all rows at once, 1). NULL: out of memory. */
mert_ops *mert_ops_dry(const mert_ops *as);
/* "cpu", "guard" (of the CPU), or NAME[:N]: device N (default 0) of the plugin device-NAME.so (base/install_paths.h).
 * NULL: there is no such device; the error says why. Close it with ->close. */
mert_ops *mert_ops_open(const char *device, mert_element_type type, mert_error *e);

/* A plugin implements struct mert_ops with its operations, and exports this function. The function returns NULL and
 * fills e if it was built for another version, or if there is no device with this number that can compute with such
 * elements. */
enum { MERT_OPS_VERSION = 5 };
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
#define mert_elu(ops, ...) MERT_RUN(ops, MERT_OP_ELU, mert_elu_args, __VA_ARGS__)
#define mert_pad(ops, ...) MERT_RUN(ops, MERT_OP_PAD, mert_pad_args, __VA_ARGS__)
#define mert_lstm(ops, ...) MERT_RUN(ops, MERT_OP_LSTM, mert_lstm_args, __VA_ARGS__)
#define mert_nearest(ops, ...) MERT_RUN(ops, MERT_OP_NEAREST, mert_nearest_args, __VA_ARGS__)
#define mert_decimate(ops, ...) MERT_RUN(ops, MERT_OP_DECIMATE, mert_decimate_args, __VA_ARGS__)
#define mert_cqt_of_rows(ops, ...) MERT_RUN(ops, MERT_OP_CQT, mert_cqt_args, __VA_ARGS__)

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
