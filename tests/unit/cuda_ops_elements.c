/* Elements of 16 bits on the emulated CUDA device (tests/cuda). */
#include "tests/cuda/on_device.h"

#include "tests/unit/ops_elements.c"
