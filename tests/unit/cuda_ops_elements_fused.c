/* Elements of 16 bits of operations that do several things, on the emulated CUDA device (tests/cuda). */
#include "tests/cuda/on_device.h"

#include "tests/unit/ops_elements_fused.c"
