#include "tools/mert-plot/commands.h"
const mert_option plot_report_options[] = {{0}};
int plot_report_run(int argc, char **argv) { (void)argc; (void)argv; return 0; }
