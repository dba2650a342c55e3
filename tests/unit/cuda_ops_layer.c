/* The operations of a transformer layer on the emulated CUDA device (tests/cuda). */
#include "tests/cuda/on_device.h"

#include "tests/unit/ops_layer.c"
