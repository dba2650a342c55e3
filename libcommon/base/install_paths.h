/* Finds files that belong to a program, relative to the program's own file: by the relative paths from BINDIR to LIBDIR
 * and DATADIR (config.mk), or in the build folder. So an installation can be moved as a whole. */
#ifndef MERT_INSTALL_PATHS_H
#define MERT_INSTALL_PATHS_H

/* Another program of this project: the path of the file beside this one, or its bare name, to be found by PATH. To be
 * freed; NULL: out of memory. */
char *mert_program_path(const char *name);
/* The path of a plugin, by its file name: in $MERT_PLUGINS, or in LIBDIR. To be freed; NULL: out of memory. Does not
 * check that the file exists. */
char *mert_plugin_path(const char *name);
/* The path of a file of the pipelines ("recipes/tiny"). To be freed; NULL: not found. */
char *mert_pipeline_path(const char *name);

#endif
