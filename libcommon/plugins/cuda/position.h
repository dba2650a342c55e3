/* The positional convolution by tensor cores (kernels_grouped.cu): elements of 16 bits, groups of 8, 16 .. 64 channels,
 * at most 128 taps, rows on boundaries of 16 bytes. 0: queued; 1: it is none of these, nothing is queued. */
#ifndef MERT_CUDA_POSITION_H
#define MERT_CUDA_POSITION_H

#include "device.h"

template <class T> int grouped_product(device *d, const mert_grouped_conv_args &a);
template <class T> int grouped_product_backward(device *d, const mert_grouped_conv_backward_args &a);

template <> inline int grouped_product<float>(device *, const mert_grouped_conv_args &) { return 1; }
template <> inline int grouped_product_backward<float>(device *, const mert_grouped_conv_backward_args &) { return 1; }

#endif
