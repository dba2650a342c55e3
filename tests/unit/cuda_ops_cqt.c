/* The operations of the CQT target on the emulated CUDA device (tests/cuda). */
#include "tests/cuda/on_device.h"

#include "tests/unit/ops_cqt.c"
