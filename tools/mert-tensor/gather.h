#ifndef MERT_TENSOR_GATHER_H
#define MERT_TENSOR_GATHER_H

#include "libcommon/program/options.h"

extern const mert_option tensor_gather_options[];
int tensor_gather_run(int argc, char **argv);

#endif
