#include "libcommon/teachers/encodec/seanet.h"

#include <string.h>

static void conv_free(mert_seanet_conv *c)
{
    mert_rows_free(c->product);
}

void mert_seanet_free(mert_seanet *s)
{
    for (int i = 0; i < s->n; i++) {
        mert_seanet_stage *g = &s->stages[i];
        conv_free(&g->conv);
        conv_free(&g->second);
        conv_free(&g->shortcut);
        for (int l = 0; l < g->layers; l++) {
            mert_rows_free(g->input[l]);
            mert_rows_free(g->recurrent[l]);
        }
    }
    memset(s, 0, sizeof *s);
}

static int64_t stage_in(const mert_seanet_stage *g)
{
    return g->kind == MERT_SEANET_LSTM ? g->width : g->conv.in;
}

static int64_t stage_out(const mert_seanet_stage *g)
{
    return g->kind == MERT_SEANET_LSTM ? g->width : g->kind == MERT_SEANET_RESIDUAL ? g->second.out : g->conv.out;
}

int64_t mert_seanet_in(const mert_seanet *s)
{
    return stage_in(&s->stages[0]);
}

int64_t mert_seanet_out(const mert_seanet *s)
{
    return stage_out(&s->stages[s->n - 1]);
}

int64_t mert_seanet_stride(const mert_seanet *s)
{
    int64_t stride = 1;
    for (int i = 0; i < s->n; i++)
        stride *= s->stages[i].kind == MERT_SEANET_CONV ? s->stages[i].conv.stride : 1;
    return stride;
}

int mert_seanet_lstm_stage(const mert_seanet *s)
{
    int i = 0;
    while (i < s->n && s->stages[i].kind != MERT_SEANET_LSTM)
        i++;
    return i;
}
