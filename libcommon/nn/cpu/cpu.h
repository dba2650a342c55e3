/* The CPU backend's operations, one function per entry of mert_op; internal to nn/cpu. Their elements are float32;
 * those of 16 bits are rounded around them (rounded.c). */
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
void mert_cpu_layer_norm(const void *args); /* y NULL: mean and rstd alone; as of time_norm */
void mert_cpu_layer_norm_backward(const void *args); /* dx NULL: the parameters alone */
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

/* One operation on float32 elements. */
void mert_cpu_run(mert_op op, const void *args);
/* The same on elements of 16 bits. */
void mert_cpu_run_rounded(mert_element_type type, mert_op op, const void *args, size_t size);

/* Scratch of one pool worker, at least `floats` long, 64-byte aligned; keeps its size, grows on demand, freed at exit.
 * NULL: out of memory. The operation then returns with nothing of worth done, and those behind it do not run. */
float *mert_cpu_scratch(int worker, size_t floats);
/* The same for what all workers of one operation read: its own, of the thread that runs the operation. */
float *mert_cpu_shared_scratch(size_t floats);

/* There is no memory for `bytes` bytes that an operation needs. */
void mert_cpu_fail(size_t bytes);
int mert_cpu_failed(mert_error *e) MERT_MUST_USE; /* -1: so it is, since the last renew; e may be NULL */
void mert_cpu_renew(void);

#endif
