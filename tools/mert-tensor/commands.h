/* The commands of mert-tensor, and what they share. One of them runs per process, so its input, its error and its block
 * of values are plain variables. */
#ifndef MERT_TENSOR_COMMANDS_H
#define MERT_TENSOR_COMMANDS_H

#include "libcommon/program/options.h"
#include "libcommon/tensor/inputs.h"

#include <stdint.h>

extern mert_inputs tensor_in;
extern mert_error tensor_error;

int tensor_finish(void);               /* what was printed has arrived, or the run is broken; the exit status */
void tensor_refuse_terminal(void);     /* contract S10 */
const char *tensor_row(int64_t row);   /* "-" for none; valid until the next call */
const char *tensor_key(const char *key); /* on one line; valid until the next call */
void tensor_print_record(const mts_record *r);

/* Calls use() with the values of the chunk at hand, in order, whole time steps or, where one is wider than a block,
 * parts of one. `first` is the number of the chunk's first element within the record. -1 as soon as use() says so. */
int tensor_each_block(int64_t first, int (*use)(const mts_record *r, const double *x, int64_t n, int64_t first));

/* "24000/320" or "75"; anything else is wrong use of --frame-rate. */
void tensor_frame_rate(const char *text, int64_t *num, int64_t *den);

/* Frames by which two teachers' codes of one item may differ in length: floor(L / hop) and floor(L / hop) + 1 or ceil,
 * and one more for a window that must fit. */
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
