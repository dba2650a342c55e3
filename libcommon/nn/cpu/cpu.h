/* The operations of the CPU backend, one function for each entry of mert_op. Internal to nn/cpu. Elements are float32;
 * rounded.c adds 16-bit elements. */
#ifndef MERT_CPU_OPS_H
#define MERT_CPU_OPS_H

#ifndef MERT_ELEMENT
#define MERT_ELEMENT float
#endif
#include "libcommon/nn/ops.h"

void mert_cpu_gemm(const void *args);
void mert_cpu_pack(const void *args);
void mert_cpu_window_moments(const void *args);
void mert_cpu_fold_norm(const void *args);
void mert_cpu_column_sum(const void *args);
void mert_cpu_mask_backward(const void *args);
void mert_cpu_pool_spans(const void *args);
void mert_cpu_gelu(const void *args);
void mert_cpu_gelu_backward(const void *args);
void mert_cpu_dropout(const void *args);
void mert_cpu_add_norm(const void *args);
void mert_cpu_add_norm_backward(const void *args);
void mert_cpu_layer_norm(const void *args); /* y NULL: only mean and rstd; the same for time_norm */
void mert_cpu_layer_norm_backward(const void *args); /* dx NULL: only the parameters */
void mert_cpu_time_norm(const void *args);
void mert_cpu_time_norm_backward(const void *args);
void mert_cpu_conv(const void *args);
void mert_cpu_conv_backward(const void *args);
void mert_cpu_first_layer(const void *args);
void mert_cpu_first_layer_backward(const void *args);
void mert_cpu_weight_norm(const void *args);
void mert_cpu_weight_norm_backward(const void *args);
void mert_cpu_grouped_conv(const void *args);
void mert_cpu_grouped_conv_backward(const void *args);
void mert_cpu_attention(const void *args);
void mert_cpu_attention_backward(const void *args);
void mert_cpu_normalize(const void *args);
void mert_cpu_normalize_backward(const void *args);
void mert_cpu_cross_entropy(const void *args);
void mert_cpu_squared_error(const void *args);
void mert_cpu_glu(const void *args);
void mert_cpu_glu_backward(const void *args);
void mert_cpu_sum_squares(const void *args);
void mert_cpu_clip(const void *args);
void mert_cpu_adam(const void *args);
void mert_cpu_depthwise_conv(const void *args);
void mert_cpu_depthwise_conv_backward(const void *args);
void mert_cpu_time_squares(const void *args);
void mert_cpu_response_norm(const void *args);
void mert_cpu_response_norm_backward(const void *args);
void mert_cpu_elu(const void *args);
void mert_cpu_pad(const void *args);
void mert_cpu_lstm(const void *args);
void mert_cpu_nearest(const void *args);
void mert_cpu_decimate(const void *args);
void mert_cpu_cqt(const void *args);

/* Runs one operation on float32 elements. */
void mert_cpu_run(mert_op op, const void *args);
/* The same with 16-bit elements. */
void mert_cpu_run_rounded(mert_element_type type, mert_op op, const void *args, size_t size);

/* Scratch memory of one worker of the pool (mert_pool_scratch): at least `floats` floats, 64-byte aligned. NULL: out of
 * memory; the pool records it, so the operation just returns, and later operations do not run. */
float *mert_cpu_scratch(int worker, size_t floats) MERT_MUST_USE;
/* The same for data of one operation that all its workers read. Called by the thread that runs the operation. */
float *mert_cpu_shared_scratch(size_t floats) MERT_MUST_USE;

/* -1: an operation of this pool lacked memory since the last renew; e may be NULL. */
int mert_cpu_failed(mert_error *e) MERT_MUST_USE;

#endif
