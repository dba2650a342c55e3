#include "libcommon/models/flops.h"

double mert_forward_flops(const mert_config *c, int64_t B, int64_t L)
{
    double work = 0, T = (double)mert_config_frames(c, L), D = c->width, F = c->ffn;
    int64_t t = L, in = 1;
    for (int i = 0; i < c->convs; i++) {
        t = (t - c->conv[i].kernel) / c->conv[i].stride + 1;
        work += 2.0 * (double)t * (double)in * c->conv[i].dim * c->conv[i].kernel;
        in = c->conv[i].dim;
    }
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
