#include "libcommon/tensor/inputs.h"

#include "formats/file.h"

#include <errno.h>
#include <string.h>

void mert_inputs_open(mert_inputs *in, char **files, int n)
{
    static char *standard_input[] = {"-"};
    memset(in, 0, sizeof *in);
    in->files = n ? files : standard_input;
    in->n = n ? n : 1;
}

static void close_one(mert_inputs *in)
{
    mts_reader_close(in->reader);
    if (in->f && in->f != stdin)
        fclose(in->f);
    in->reader = NULL;
    in->f = NULL;
}

static int open_one(mert_inputs *in, mert_error *e)
{
    const char *file = in->files[in->at++];
    int is_stdin = !strcmp(file, "-");
    in->name = is_stdin ? "standard input" : file;
    in->f = is_stdin ? stdin : fopen(file, "rb");
    if (!in->f)
        return mert_fail(e, "%s: %s", file, strerror(errno));
    if (mert_input_note(file, e)) {
        close_one(in);
        return -1;
    }
    if (!(in->reader = mts_reader_open(in->f, in->name))) {
        close_one(in);
        return mert_fail(e, "%s: out of memory", file);
    }
    return 0;
}

int mert_inputs_next(mert_inputs *in, mert_error *e)
{
    for (;;) {
        if (!in->reader) {
            if (in->at == in->n)
                return MTS_EOF;
            if (open_one(in, e))
                return MTS_ERROR;
        }
        int event = mts_next(in->reader);
        in->records += event == MTS_RECORD_END;
        if (event > 0)
            return event;
        if (event == MTS_ERROR)
            mert_fail(e, "%s", mts_reader_error(in->reader));
        close_one(in);
        if (event == MTS_ERROR)
            return MTS_ERROR;
    }
}

void mert_inputs_close(mert_inputs *in)
{
    close_one(in);
}

double mert_record_seconds(const mts_record *r)
{
    return r->frame_rate_num ? (double)r->shape[0] * (double)r->frame_rate_den / (double)r->frame_rate_num : 0;
}
