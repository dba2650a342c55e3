/* The commands of mert-tensor, and shared functions. Only one command runs per process, so its input, error and block
 * of values are global variables. */
#ifndef MERT_TENSOR_COMMANDS_H
#define MERT_TENSOR_COMMANDS_H

#include "libcommon/program/options.h"
#include "libcommon/tensor/inputs.h"

#include <stdint.h>

extern mert_inputs tensor_in;
extern mert_error tensor_error;

int tensor_finish(void);               /* checks that output was written; returns the exit status */
void tensor_open(char **files, int n); /* tensor_in */
void tensor_refuse_terminal(void);     /* contract S10 */
const char *tensor_row(int64_t row);   /* "-" for none; valid until the next call */
const char *tensor_key(const char *key); /* on one line; valid until the next call */
void tensor_print_record(const mts_record *r);

/* Calls use() with the values of the current chunk, in order: whole time steps, or parts of one that is larger than a
 * block. first: number of the chunk's first element in the record. Stops with -1 if use() returns -1. */
int tensor_each_block(int64_t first, int (*use)(const mts_record *r, const double *x, int64_t n, int64_t first));

/* "24000/320" or "75"; otherwise ends the program: wrong use of --frame-rate. */
void tensor_frame_rate(const char *text, int64_t *num, int64_t *den);

/* The allowed difference in length of two teachers' codes for an item, in frames: they have floor(L / hop), floor(L /
 * hop) + 1 or ceil frames, or one less if whole windows are needed. */
enum { TENSOR_TOLERANCE = 2 };

extern const mert_option tensor_check_options[], tensor_cmp_options[], tensor_stat_options[], tensor_text_options[];
extern const mert_option tensor_labels_options[], tensor_from_labels_options[], tensor_dict_options[];
extern const mert_option tensor_to_fairseq_options[], tensor_paste_options[];
extern const mert_option tensor_from_options[], tensor_to_options[];
int tensor_check_run(int argc, char **argv);
int tensor_cmp_run(int argc, char **argv);
int tensor_stat_run(int argc, char **argv);
int tensor_text_run(int argc, char **argv);
int tensor_paste_run(int argc, char **argv);
int tensor_labels_run(int argc, char **argv);
int tensor_from_labels_run(int argc, char **argv);
int tensor_dict_run(int argc, char **argv);
int tensor_to_fairseq_run(int argc, char **argv);
int tensor_from_run(int argc, char **argv);
int tensor_to_run(int argc, char **argv);

#endif
