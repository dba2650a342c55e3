#include "libcommon/models/weights/naming.h"

#include "formats/bytes.h"

#include <stdio.h>
#include <string.h>

/* Parts of names: fairseq's spelling on the left, HF's on the right. */
static const struct { const char *fairseq, *hf; } renamed[] = {
    {"post_extract_proj.", "feature_projection.projection."},
    {"encoder.layer_norm.", "encoder.layer_norm."},       /* must come before the next entry, which it would match */
    {"encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."},
    {".self_attn_layer_norm.", ".layer_norm."},
    {".self_attn.", ".attention."},
    {".fc1.", ".feed_forward.intermediate_dense."},
    {".fc2.", ".feed_forward.output_dense."},
};

int mert_name_to_hf(const char *name, char to[128])
{
    int layer, used = 0;
    if (!strcmp(name, "mask_emb")) {
        snprintf(to, 128, "masked_spec_embed");
        return 0;
    }
    if (!strncmp(name, "layer_norm.", 11)) {
        snprintf(to, 128, "feature_projection.%s", name);
        return 0;
    }
    if (sscanf(name, "feature_extractor.conv_layers.%d.%n", &layer, &used) == 1 && used) {
        const char *rest = name + used;
        if (!strncmp(rest, "0.", 2))
            snprintf(to, 128, "feature_extractor.conv_layers.%d.conv.%s", layer, rest + 2);
        else /* "2." GroupNorm, "2.1." LayerNorm */
            snprintf(to, 128, "feature_extractor.conv_layers.%d.layer_norm.%s", layer, strrchr(rest, '.') + 1);
        return 0;
    }
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++) {
        const char *at = strstr(name, renamed[i].fairseq);
        if (at) {
            snprintf(to, 128, "%.*s%s%s", (int)(at - name), name, renamed[i].hf, at + strlen(renamed[i].fairseq));
            return 0;
        }
    }
    if (!strncmp(name, "encoder.", 8)) {
        snprintf(to, 128, "%s", name);
        return 0;
    }
    return -1;
}

/* The name of a weight-norm tensor in newer torch. */
static int new_weight_norm_name(const char *name, char to[128])
{
    const char *g = strstr(name, ".weight_g"), *v = strstr(name, ".weight_v"), *at = g ? g : v;
    if (!at)
        return -1;
    snprintf(to, 128, "%.*s.parametrizations.weight.original%d", (int)(at - name), name, g ? 0 : 1);
    return 0;
}

/* The tensors that show that a model is in a file: fairseq's, HF's, a Conformer's. */
enum { FAIRSEQ, HF, CONFORMER, SPELLINGS };
static const char *const first[] = {"feature_extractor.conv_layers.0.0.weight",
                                    "feature_extractor.conv_layers.0.conv.weight", "layers.0.attn.query_proj.weight"};

/* The length of the prefix before one of these tensors; -1: the name is another tensor's. */
static int prefix_of(const char *name, int *spelling)
{
    size_t n = strlen(name);
    for (int i = 0; i < SPELLINGS; i++) {
        size_t m = strlen(first[i]);
        if (n < m || strcmp(name + n - m, first[i]) || (n > m && name[n - m - 1] != '.') ||
            n - m >= MERT_NAMING_PREFIX)
            continue;
        *spelling = i;
        return (int)(n - m);
    }
    return -1;
}

/* Orders prefixes: the file's own model ("", "model.") comes first. */
static int prefix_rank(const char *prefix, int n)
{
    return n == 0 ? 0 : n == 6 && !strncmp(prefix, "model.", 6) ? 1 : 2;
}

int mert_naming_find(mert_naming *to, const mert_checkpoint *c, mert_error *e)
{
    const char *best = NULL, *other = NULL;
    int best_n = 0, other_n = 0, spelling;
    *to = (mert_naming){.hf = 0};
    for (size_t i = 0; i < mert_checkpoint_count(c); i++) {
        const char *name = mert_checkpoint_tensor(c, i)->name;
        int n = prefix_of(name, &spelling);
        if (strstr(name, ".parametrizations."))
            to->newer = 1;
        if (n < 0)
            continue;
        if (best && n == best_n && !strncmp(name, best, (size_t)n) && !to->hf && spelling != HF &&
            (spelling == CONFORMER) != (to->kind == MERT_CONFORMER)) { /* a Conformer with an extractor has both
                                                                          tensors */
            to->kind = MERT_CONFORMER;
            continue;
        }
        if (best && prefix_rank(name, n) >= prefix_rank(best, best_n)) {
            other = prefix_rank(name, n) == prefix_rank(best, best_n) ? name : other;
            other_n = other == name ? n : other_n;
            continue;
        }
        best = name;
        best_n = n;
        to->hf = spelling == HF;
        to->kind = spelling == CONFORMER ? MERT_CONFORMER : MERT_HUBERT;
        other = NULL;
    }
    if (!best)
        return mert_fail(e,
            "no MERT model in it: there is neither a feature_extractor.conv_layers.0 weight (MERT-v1) nor "
                            "a layers.0.attn.query_proj weight (MERT-v2)");
    if (other && other_n == best_n && !strncmp(best, other, (size_t)best_n))
        return mert_fail(e, "a model's first tensor is in it by two names: %s and %s",
                         mert_show(best, strlen(best)).text,
                         mert_show(other, strlen(other)).text);
    if (other)
        return mert_fail(e, "several models in it: behind %s and behind %s", mert_show(best, (size_t)best_n).text,
                         mert_show(other, (size_t)other_n).text);
    memcpy(to->prefix, best, (size_t)best_n);
    return 0;
}

int mert_naming_spell(const mert_naming *n, const char *name, char to[MERT_NAMING_NAME])
{
    char own[128], newer[128];
    if (!n->hf || n->kind == MERT_CONFORMER)
        snprintf(own, sizeof own, "%s", name);
    else if (mert_name_to_hf(name, own))
        return -1;
    if (!n->newer || new_weight_norm_name(own, newer))
        strcpy(newer, own);
    snprintf(to, MERT_NAMING_NAME, "%s%s", n->prefix, newer);
    return 0;
}

const mert_tensor *mert_naming_tensor(const mert_naming *n, const mert_checkpoint *c, const char *name)
{
    mert_naming other = *n;
    char full[MERT_NAMING_NAME];
    const mert_tensor *t;
    if (mert_naming_spell(n, name, full))
        return NULL;
    if ((t = mert_checkpoint_find(c, full)))
        return t;
    other.newer = !n->newer;
    mert_naming_spell(&other, name, full);
    return mert_checkpoint_find(c, full);
}
