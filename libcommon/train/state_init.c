/* Starting from the weights of another model. */
#include "libcommon/train/state.h"

#include "formats/finite.h"

#include <stdio.h>
#include <string.h>

/* The place in `source` of a parameter of the encoder, which must be there. NULL: it does not fit. */
static const mert_parameter *find_encoder(const mert_parameter *to, const mert_layout *source, mert_error *e)
{
    const mert_parameter *have = mert_layout_find(source, to->name);
    char is[MERT_SHAPE_TEXT], wanted[MERT_SHAPE_TEXT];
    if (have && mert_parameter_has_shape(to, have->ndim, have->shape))
        return have;
    mert_shape_text(wanted, to->ndim, to->shape);
    if (!have) {
        mert_fail(e, "tensor %s is missing, the recipe makes it %s", to->name, wanted);
        return NULL;
    }
    mert_shape_text(is, have->ndim, have->shape);
    mert_fail(e, "tensor %s is %s, the recipe makes it %s: --init takes a model of the recipe's shape", to->name, is,
              wanted);
    return NULL;
}

static const char way_on[] = "--init takes a model of the recipe's shape";

static int check_kind(const mert_config *is, const mert_config *wanted, mert_error *e)
{
    static const char *const kinds[] = {[MERT_HUBERT] = "a transformer", [MERT_CONFORMER] = "a Conformer"};
    return is->kind == wanted->kind ? 0
                                    : mert_fail(e, "this model is %s, and the recipe makes %s: %s", kinds[is->kind],
                                                kinds[wanted->kind], way_on);
}

/* Compares settings of a Conformer that do not change shapes. */
static int check_conformer(const mert_conformer_config *is, const mert_conformer_config *wanted, mert_error *e)
{
    const struct { const char *name; int is, wanted; } numbers[] = {
        {"hop_length", is->hop, wanted->hop}, {"rotary_embedding_base", is->rotary_base, wanted->rotary_base}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].is != numbers[i].wanted)
            return mert_fail(e, "%s is %d in this model, %d in the recipe: %s", numbers[i].name, numbers[i].is,
                             numbers[i].wanted, way_on);
    for (int i = 0; i < is->stages && i < wanted->stages; i++)
        if (is->stage[i].stride != wanted->stage[i].stride || is->stage[i].depth != wanted->stage[i].depth)
            return mert_fail(e, "stage %d of the subsampler has depth %d and stride %d, in the recipe %d and %d: %s", i,
                             is->stage[i].depth, is->stage[i].stride, wanted->stage[i].depth, wanted->stage[i].stride,
                             way_on);
    return is->stages == wanted->stages ? 0
                                        : mert_fail(e, "%d stages of the subsampler, the recipe makes %d: %s",
                                                    is->stages, wanted->stages, way_on);
}

/* Compares settings that do not change shapes: with other values, the same weights would be another model. */
static int check_architecture(const mert_config *is, const mert_config *wanted, mert_error *e)
{
    const struct { const char *name; int is, wanted; } flags[] = {
        {"layer_norm_first", is->pre_ln, wanted->pre_ln},
        {"deepnorm", is->deepnorm, wanted->deepnorm},
        {"feature_extractor_cqt", is->cqt_input, wanted->cqt_input}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (!flags[i].is != !flags[i].wanted)
            return mert_fail(e, "%s is %s in this model, %s in the recipe: %s", flags[i].name,
                             flags[i].is ? "yes" : "no", flags[i].wanted ? "yes" : "no", way_on);
    if (is->kind == MERT_CONFORMER && check_conformer(&is->conformer, &wanted->conformer, e))
        return -1;
    if (is->layers != wanted->layers)
        return mert_fail(e, "%d layers, the recipe makes %d: %s", is->layers, wanted->layers, way_on);
    if (is->heads != wanted->heads)
        return mert_fail(e, "%d attention heads, the recipe makes %d: %s", is->heads, wanted->heads, way_on);
    for (int i = 0; i < is->convs && i < wanted->convs; i++)
        if (is->conv[i].stride != wanted->conv[i].stride)
            return mert_fail(e, "layer %d of the extractor has stride %d, the recipe makes it %d: %s", i,
                             is->conv[i].stride, wanted->conv[i].stride, way_on);
    return is->convs == wanted->convs ? 0
                                      : mert_fail(e, "%d layers of the extractor, the recipe makes %d: %s", is->convs,
                                                  wanted->convs, way_on);
}

int mert_state_init_check(const char *from, const mert_config *model, mert_error *e)
{
    mert_layout wanted;
    mert_weights source;
    int bad = 0;
    if (mert_layout_make(&wanted, model, e))
        return -1;
    if (mert_weights_load(&source, from, 0, e)) {
        mert_layout_free(&wanted);
        return -1;
    }
    bad = check_kind(&source.layout.config, model, e);
    for (int i = 0; !bad && i < wanted.count; i++)
        bad = !wanted.parameters[i].training_only && !find_encoder(&wanted.parameters[i], &source.layout, e);
    bad = bad || check_architecture(&source.layout.config, model, e);
    mert_weights_free(&source);
    mert_layout_free(&wanted);
    return bad ? mert_fail_in(e, "%s", from) : 0;
}

/* A parameter that only training needs. Returns 0 if it is missing or has another shape. */
static int take_head(mert_weights *w, const mert_parameter *to, const mert_checkpoint *c, mert_error *e)
{
    const mert_tensor *t = mert_weights_tensor(c, to->name);
    int64_t at;
    if (!t || !mert_parameter_has_shape(to, t->ndim, t->shape))
        return 0;
    if (mert_tensor_read(t, w->values + to->offset, e))
        return -1;
    at = mert_not_finite(MTS_F32, w->values + to->offset, to->n);
    return at >= 0 ? mert_fail(e, "tensor %s: value %lld is not a finite number", t->name, (long long)at) : 1;
}

static int take_encoder(mert_weights *w, const mert_parameter *to, const mert_weights *source, mert_error *e)
{
    const mert_parameter *have = find_encoder(to, &source->layout, e);
    if (!have)
        return -1;
    memcpy(w->values + to->offset, source->values + have->offset, (size_t)to->n * sizeof *w->values);
    return 1;
}

int mert_state_init(mert_weights *w, const char *from, int *fresh, char *names, size_t size, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(from, e);
    mert_weights source = {0};
    int taken = 0, one = 0, other_cqt; /* another form of the CQT, which a head cannot be taken over for */
    size_t used = 0;
    *fresh = 0;
    *names = 0;
    if (!c)
        return -1;
    if (mert_weights_from(&source, c, 0, e) || mert_weights_check_finite(&source, c, 0, e) ||
        check_kind(&source.layout.config, &w->layout.config, e) ||
        check_architecture(&source.layout.config, &w->layout.config, e))
        one = -1;
    other_cqt = !mert_cqt_target_same(&source.layout.config, &w->layout.config);
    for (int i = 0; one >= 0 && i < w->layout.count; i++) {
        const mert_parameter *to = &w->layout.parameters[i];
        one = other_cqt && !strncmp(to->name, "encoder_cqt_model.", 18) ? 0
              : to->training_only ? take_head(w, to, c, e) : take_encoder(w, to, &source, e);
        if (one > 0)
            taken++;
        else if (!one) {
            ++*fresh;
            if (used < size)
                used += (size_t)snprintf(names + used, size - used, "%s%s", used ? " " : "", to->name);
        }
    }
    mert_weights_free(&source);
    mert_checkpoint_close(c);
    return one < 0 ? mert_fail_in(e, "%s", from) : taken;
}
