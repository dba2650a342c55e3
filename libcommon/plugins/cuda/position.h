/* The positional convolution by tensor cores (kernels_grouped.cu): elements of 16 bits, groups of 8, 16 .. 64 channels,
 * at most 128 taps, taps times channels a multiple of 16, rows on boundaries of 16 bytes. Returns 0 if it was queued; 1
 * if the arguments are others, and nothing was queued. */
#ifndef MERT_CUDA_POSITION_H
#define MERT_CUDA_POSITION_H

#include "device.h"

template <class T> int grouped_product(device *d, const mert_grouped_conv_args &a);
template <class T> int grouped_product_backward(device *d, const mert_grouped_conv_backward_args &a);

template <> inline int grouped_product<float>(device *, const mert_grouped_conv_args &) { return 1; }
template <> inline int grouped_product_backward<float>(device *, const mert_grouped_conv_backward_args &) { return 1; }

#endif
