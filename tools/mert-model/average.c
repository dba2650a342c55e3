#include "tools/mert-model/average.h"

#include "formats/array.h"

#include <stdlib.h>
#include <string.h>

/* Compares two configurations; the error says what differs in config.json and preprocessor_config.json. The numbers of
 * a configuration are compared in the order of mert_config. */
static int same_config(const mert_config *a, const mert_config *b, const char *path, const char *first, mert_error *e)
{
    char *text[2][2] = {{mert_config_to_hf(a), mert_config_to_hf(b)},
                        {mert_config_to_preprocessor(a), mert_config_to_preprocessor(b)}};
    int bad = 0;
    for (int i = 0; !bad && i < 2; i++) {
        const char *x = text[i][0], *y = text[i][1];
        if (!x || !y)
            bad = mert_fail(e, "out of memory");
        while (!bad && *x && !strncmp(x, y, strcspn(x, "\n") + 1)) {
            y += strcspn(x, "\n") + 1;
            x += strcspn(x, "\n") + 1;
        }
        x += strspn(x ? x : "", " ");
        y += strspn(y ? y : "", " ");
        if (!bad && (*x || *y))
            bad = mert_fail(e, "%s: another model than %s: %.*s instead of %.*s", path, first,
                            (int)strcspn(y, ",\n"), y, (int)strcspn(x, ",\n"), x);
    }
    for (int i = 0; i < 4; i++)
        free(text[i / 2][i % 2]);
    return bad;
}

/* Equal configurations give equal shapes, so this cannot fail for files that mert wrote. */
static int same_layout(const mert_layout *a, const mert_layout *b, const char *path, mert_error *e)
{
    char is[MERT_SHAPE_TEXT], wanted[MERT_SHAPE_TEXT];
    for (int i = 0; i < a->count && i < b->count; i++) {
        const mert_parameter *p = &a->parameters[i], *q = &b->parameters[i];
        if (!strcmp(p->name, q->name) && mert_parameter_has_shape(q, p->ndim, p->shape))
            continue;
        mert_shape_text(wanted, p->ndim, p->shape);
        mert_shape_text(is, q->ndim, q->shape);
        return mert_fail(e, "%s: tensor %s is %s, the first model has %s %s", path, q->name, is, p->name, wanted);
    }
    return a->count == b->count
               ? 0
               : mert_fail(e, "%s: has %d tensors, the first model has %d", path, b->count, a->count);
}

/* *heads: whether the model in the file has heads. */
static int has_heads(const char *path, int *heads, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(path, e);
    if (!c)
        return -1;
    *heads = mert_weights_tensor(c, "label_embs_concat") != NULL;
    mert_checkpoint_close(c);
    return 0;
}

/* Adds the weights of one model to the sums. */
static int add(double *sums, const mert_weights *mean, const char *path, const char *first, int heads, mert_error *e)
{
    mert_weights w;
    int bad;
    if (mert_weights_load(&w, path, heads, e))
        return -1;
    bad = same_config(&mean->layout.config, &w.layout.config, path, first, e) ||
          same_layout(&mean->layout, &w.layout, path, e);
    for (int64_t i = 0; !bad && i < mean->layout.size; i++)
        sums[i] += (double)w.values[i];
    mert_weights_free(&w);
    return bad;
}

int average_models(mert_weights *mean, char *const *paths, int n, mert_error *e)
{
    int heads = 1, bad = 0;
    double *sums = NULL;
    for (int i = 0, has; !bad && i < n; i++) {
        bad = has_heads(paths[i], &has, e);
        heads = heads && !bad && has;
    }
    if (bad || mert_weights_load(mean, paths[0], heads, e))
        return -1;
    if (!(sums = mert_array_zeroed(mean->layout.size, sizeof *sums)))
        bad = mert_fail(e, "out of memory for the sum of %lld parameters", (long long)mean->layout.elements);
    for (int i = 0; !bad && i < n; i++)
        bad = add(sums, mean, paths[i], paths[0], heads, e);
    for (int64_t i = 0; !bad && i < mean->layout.size; i++)
        mean->values[i] = (float)(sums[i] / n);
    free(sums);
    if (bad)
        mert_weights_free(mean);
    return bad ? -1 : 0;
}
