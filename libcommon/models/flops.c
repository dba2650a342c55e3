#include "libcommon/models/flops.h"

static double conformer_flops(const mert_config *c, int64_t L)
{
    const mert_conformer_config *f = &c->conformer;
    double work = 0, T = (double)mert_config_frames(c, L), D = c->width, F = c->ffn;
    int64_t t = mert_config_front_frames(c, L);
    for (int s = 0; s < f->stages; s++) {
        double C = f->stage[s].channels;
        if (mert_stage_resamples(c, s)) {
            t = (t - 2) / f->stage[s].stride + 1;
            work += 2 * (double)t * 2 * mert_stage_in(c, s) * C;
        }
        work += f->stage[s].depth * 2 * (double)t * (2 * C * 4 * C + C * f->subsampler_kernel);
    }
    return work + c->layers * (2 * T * (4 * D * F + 4 * D * D + 3 * D * D + D * f->kernel) + 4 * T * T * D);
}

double mert_forward_flops(const mert_config *c, int64_t B, int64_t L)
{
    double work = 0, T = (double)mert_config_frames(c, L), D = c->width, F = c->ffn;
    int64_t t = L, in = 1;
    for (int i = 0; i < c->convs; i++) {
        t = (t - c->conv[i].kernel) / c->conv[i].stride + 1;
        work += 2.0 * (double)t * (double)in * c->conv[i].dim * c->conv[i].kernel;
        in = c->conv[i].dim;
    }
    if (c->kind == MERT_CONFORMER)
        return (double)B * (work + conformer_flops(c, L));
    work += 2 * T * mert_config_features(c) * D;
    work += 2 * T * D * D / c->pos_groups * c->pos_kernel;
    work += c->layers * (2 * T * (4 * D * D + 2 * D * F) + 4 * T * T * D);
    return (double)B * work;
}

double mert_heads_flops(const mert_config *c, int64_t S)
{
    double work = 2.0 * c->width * c->final_dim * (c->untied ? c->codebooks : 1);
    for (int k = 0; k < c->codebooks; k++)
        work += 2.0 * c->final_dim * (double)(c->classes[k] + c->special_rows);
    work += 2.0 * c->width * (c->cqt_target_bins + c->mel_target_bins);
    return (double)S * work;
}
