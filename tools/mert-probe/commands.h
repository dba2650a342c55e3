/* Shared by the files of mert-probe. */
#ifndef MERT_PROBE_COMMANDS_H
#define MERT_PROBE_COMMANDS_H

#include "libcommon/program/options.h"

extern const mert_option probe_apply_options[];
int probe_apply(int argc, char **argv);

#endif
