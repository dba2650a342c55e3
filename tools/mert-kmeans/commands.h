/* Shared by the files of mert-kmeans. */
#ifndef MERT_KMEANS_COMMANDS_H
#define MERT_KMEANS_COMMANDS_H

#include "libcommon/program/options.h"
#include "libcommon/teachers/codebook_file.h"
#include "libcommon/teachers/kmeans/nearest.h"

extern const mert_option kmeans_accumulate_options[], kmeans_merge_options[];
int kmeans_accumulate(int argc, char **argv);
int kmeans_merge(int argc, char **argv);

/* Reads the centroids of a file, and prepares the search for the nearest one. */
int kmeans_open(mert_codebook *book, mert_nearest **nearest, const char *model, mert_error *e);

#endif
