/* The operations of the update on the emulated CUDA device (tests/cuda). */
#include "tests/cuda/on_device.h"

#include "tests/unit/ops_update.c"
