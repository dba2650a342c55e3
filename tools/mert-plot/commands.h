/* The command of mert-plot; its work without a command is in mert-plot.c. */
#ifndef MERT_PLOT_COMMANDS_H
#define MERT_PLOT_COMMANDS_H

#include "libcommon/program/options.h"

extern const mert_option plot_report_options[];
int plot_report_run(int argc, char **argv);

#endif
