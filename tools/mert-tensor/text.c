/* text: prints the values. */
#include "tools/mert-tensor/commands.h"

#include "libcommon/program/report.h"
#include "libcommon/tensor/values.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int heads = 1, codebook = -1;

const mert_option tensor_text_options[] = {
    {"heads", 0, MERT_FLAG, &heads, NULL, 0, 0, NULL,
     "print a line '# row key kind dtype shape ...' before each record"},
    {"codebook", 0, MERT_INT, &codebook, "I", 0, MTS_CODEBOOKS_MAX - 1, NULL,
     "print codes of this codebook as label lines, one per record"},
    {0}};

/* Codes of one codebook are printed as HuBERT's label lines, one per record. */
static int as_labels(const mts_record *r)
{
    return r->ncodebooks == 1 || (r->ncodebooks && codebook >= 0);
}

/* A label line is printed when its record is complete; until then it is kept in a temporary file. */
static FILE *line;

static int line_begin(void)
{
    if ((!line && !(line = tmpfile())) || fseeko(line, 0, SEEK_SET) || ftruncate(fileno(line), 0))
        return mert_fail(&tensor_error, "no temporary file: %s", strerror(errno));
    return 0;
}

static int line_print(void)
{
    char block[4096];
    size_t n;
    if (fseeko(line, 0, SEEK_SET) || ferror(line))
        return mert_fail(&tensor_error, "temporary file: %s", strerror(errno));
    while ((n = fread(block, 1, sizeof block, line)) > 0)
        fwrite(block, 1, n, stdout);
    return ferror(line) ? mert_fail(&tensor_error, "temporary file: %s", strerror(errno)) : 0;
}

static int text_values(const mts_record *r, const double *x, int64_t n, int64_t first)
{
    const int64_t width = mts_record_width(r);
    const int labels = as_labels(r), wanted = codebook > 0 ? codebook : 0;
    char number[40];
    for (int64_t i = 0; i < n; i++) {
        int64_t step = (first + i) / width, at = (first + i) % width;
        if (labels && at != wanted)
            continue;
        mert_value_print(number, sizeof number, r->dtype, x[i]);
        if (labels)
            fprintf(line, "%s%s", step ? " " : "", number);
        else
            printf("%s%s%s", at ? " " : "", number, at == width - 1 ? "\n" : "");
    }
    return 0;
}

/* 0, or -1 with tensor_error: this record cannot be printed. */
static int text_begin(const mts_record *r)
{
    if (codebook >= 0 && codebook >= r->ncodebooks)
        return mert_fail(&tensor_error, "has %d codebooks, none of them is number %d", r->ncodebooks, codebook);
    if (as_labels(r))
        return line_begin();
    if (heads) {
        printf("# ");
        tensor_print_record(r);
    }
    return 0;
}

int tensor_text_run(int argc, char **argv)
{
    int64_t element = 0;
    int labels = codebook >= 0, bad = 0, stop = 0;
    tensor_open(argv, argc);
    for (int event; !stop && !ferror(stdout) && (event = mert_inputs_next(&tensor_in, &tensor_error)) != MTS_EOF;) {
        const mts_record *r = event == MTS_ERROR ? NULL : mts_reader_record(tensor_in.reader);
        if (event == MTS_RECORD) {
            element = 0;
            labels = as_labels(r) || codebook >= 0;
            bad = text_begin(r);
        } else if (event == MTS_CHUNK && !bad) {
            tensor_each_block(element, text_values);
            element += mts_reader_frames(tensor_in.reader) * mts_record_width(r);
        } else if (event == MTS_RECORD_END && !bad) {
            if (labels)
                bad = line_print();
        }
        if (labels && (event == MTS_RECORD_END || event == MTS_FAILED))
            putchar('\n'); /* an empty line for a failed row, because each line is a row */
        if (bad < 0) {
            stop = mert_report_failed(r->key, tensor_error.text, 1);
            bad = 1; /* reported already */
        } else if (!bad || event != MTS_RECORD_END) {
            stop = mert_inputs_report(&tensor_in, event, &tensor_error);
        }
    }
    if (line)
        fclose(line);
    return tensor_finish();
}
