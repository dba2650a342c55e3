/* Where a program's own things are: beside its file, by the way that leads from BINDIR to LIBDIR and DATADIR
 * (config.mk), and in the tree where it was built. So they are found wherever all of it was installed, or moved to. */
#ifndef MERT_INSTALL_PATHS_H
#define MERT_INSTALL_PATHS_H

/* Another program of this project: beside this one, or its bare name, for PATH. To be freed; NULL: out of memory. */
char *mert_program_path(const char *name);
/* A plugin by its file's name: in $MERT_PLUGINS, or in LIBDIR. To be freed; NULL: out of memory. Whether it is there is
 * seen when it is loaded. */
char *mert_plugin_path(const char *name);
/* A file of the pipelines ("recipes/tiny"), wherever it is there. To be freed; NULL: nowhere. */
char *mert_pipeline_path(const char *name);

#endif
