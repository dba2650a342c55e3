#include "recipe.h"

#include "../../formats/file.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { HEADING, WHOLE, REAL, FLAG, CHOICE, CONVS, WHOLES, REALS } kind; /* the last two: a pair */

typedef struct setting {
    const char *name; /* of a heading: its text */
    kind kind;
    size_t offset;
    double min, max;
    const char *preset; /* the default, as it would be written */
    const char *help;
    int free; /* may change when a run is resumed */
    const char *const *choices;
} setting;

static const char *const extractor_modes[] = {"default", "layer_norm", NULL};
static const char *const extractor_inits[] = {"random", "sinusoids", NULL};

#define S(title, type, field, low, high, text, what)                                                                   \
    .name = title, .kind = type, .offset = offsetof(mert_recipe, field), .min = low, .max = high, .preset = text,      \
    .help = what
static const setting table[] = {
    {.name = "the model", .kind = HEADING},
    {S("sample_rate", WHOLE, sample_rate, 1000, 192000, "24000", "Hz; audio at another rate is refused")},
    {S("conv_feature_layers", CONVS, conv_feature_layers, 0, 0, "512x10/5 512x3/2*4 512x2/2*2",
       "extractor, layer by layer: channels x kernel / stride * times")},
    {S("extractor_mode", CHOICE, extractor_mode, 0, 0, "default",
       "default: GroupNorm over time after the first layer; layer_norm: LayerNorm after each"),
     .choices = extractor_modes},
    {S("conv_bias", FLAG, conv_bias, 0, 0, "no", "the extractor's convolutions have a bias")},
    {S("extractor_init", CHOICE, extractor_init, 0, 0, "random",
       "its first layer begins random (as published), or as a bank of sinusoids, which small models need"),
     .choices = extractor_inits},
    {S("feature_extractor_cqt", FLAG, feature_extractor_cqt, 0, 0, "no",
       "the model hears the CQT beside the extractor's channels (frames of 1/50 s only)")},
    {S("feature_extractor_cqt_bins", WHOLE, feature_extractor_cqt_bins, 7, 4096, "84", "its bins, over seven octaves")},
    {S("encoder_layers", WHOLE, encoder_layers, 1, MERT_LAYERS_MAX, "12", "transformer layers")},
    {S("encoder_embed_dim", WHOLE, encoder_embed_dim, 1, 65536, "768", "width")},
    {S("encoder_ffn_embed_dim", WHOLE, encoder_ffn_embed_dim, 1, 262144, "3072", "feed-forward width")},
    {S("encoder_attention_heads", WHOLE, encoder_attention_heads, 1, 1024, "12", "heads; must divide the width")},
    {S("conv_pos", WHOLE, conv_pos, 1, 4096, "128", "kernel of the positional convolution, frames")},
    {S("conv_pos_groups", WHOLE, conv_pos_groups, 1, 4096, "16", "its groups; must divide the width")},
    {S("layer_norm_first", FLAG, layer_norm_first, 0, 0, "no", "pre-LN (as the 330M) instead of post-LN")},
    {S("deepnorm", FLAG, deepnorm, 0, 0, "no", "residuals times (2 layers)^0.25 (post-LN only)")},
    {S("attention_relax", REAL, attention_relax, -1, 1e6, "-1",
       "carried into exports; changes nothing in exact arithmetic")},
    {S("final_dim", WHOLE, final_dim, 1, 65536, "64", "width in which predictions and label embeddings are compared")},
    {S("untie_final_proj", FLAG, untie_final_proj, 0, 0, "yes", "one projection per codebook")},
    {S("learnable_temp", FLAG, learnable_temp, 0, 0, "no", "one temperature per codebook, learned")},
    {S("target_glu", FLAG, target_glu, 0, 0, "no", "label embeddings pass a linear layer and GLU")},

    {.name = "the targets and the loss", .kind = HEADING},
    {S("codebooks", WHOLE, codebooks, 0, MERT_CODEBOOKS_MAX, "0", "codebooks to predict; 0: all there are")},
    {S("classes", WHOLE, classes, 0, 1 << 24, "0", "classes of each; 0: what the labels' .meta files say")},
    {S("special_rows", WHOLE, special_rows, 0, 1024, "4",
       "label embeddings before class 0, as fairseq's dictionaries have them")},
    {S("label_rate", REAL, label_rate, 0, 1e5, "0",
       "labels per second; 0: what the .meta files say, or the frame rate")},
    {S("label_tolerance", REAL, label_tolerance, 0, 1e4, "0.1",
       "seconds by which labels and audio of an item may differ in length")},
    {S("logit_temp", REAL, logit_temp, 1e-4, 1e4, "0.1", "logits are cosines divided by this")},
    {S("pred_nomask_weight", REAL, pred_nomask_weight, 0, 1e6, "0",
       "weight of the cross entropies of frames that are not masked; those of masked frames have 1")},
    {S("features_pen_weight", REAL, features_pen_weight, 0, 1e6, "10",
       "weight of the mean square of the extractor's output")},
    {S("audio_cqt_loss_m", FLAG, audio_cqt_loss_m, 0, 0, "yes", "predict the CQT of masked frames, too")},
    {S("audio_cqt_bins", WHOLE, audio_cqt_bins, 7, 4096, "336", "its bins, over seven octaves from 32.7 Hz")},
    {S("cqt_loss_weight", REAL, cqt_loss_weight, 0, 1e6, "1", "weight of its mean squared error")},
    {S("audio_mel_loss_m", FLAG, audio_mel_loss_m, 0, 0, "no", "predict the log mel spectrum of masked frames, too")},
    {S("audio_mel_bins", WHOLE, audio_mel_bins, 1, 4096, "84", "its bins")},
    {S("mel_loss_weight", REAL, mel_loss_weight, 0, 1e6, "1", "weight of its mean squared error")},

    {.name = "what makes it hard", .kind = HEADING},
    {S("dropout", REAL, dropout, 0, 0.999, "0.1",
       "after attention, after the feed-forward layer, before the first layer")},
    {S("attention_dropout", REAL, attention_dropout, 0, 0.999, "0.1", "of attention weights")},
    {S("activation_dropout", REAL, activation_dropout, 0, 0.999, "0", "inside of the feed-forward layer")},
    {S("dropout_input", REAL, dropout_input, 0, 0.999, "0.1", "of the projected features")},
    {S("dropout_features", REAL, dropout_features, 0, 0.999, "0.1",
       "of a copy of the features that nothing reads (as in fairseq): no effect")},
    {S("encoder_layerdrop", REAL, encoder_layerdrop, 0, 0.999, "0.05", "probability of skipping a whole layer")},
    {S("feature_grad_mult", REAL, feature_grad_mult, 0, 1e3, "0.1", "the extractor's gradient is multiplied by this")},
    {S("mask_prob", REAL, mask_prob, 0.01, 1, "0.8", "share of frames to mask, overlaps counted twice")},
    {S("mask_length", WHOLE, mask_length, 1, 10000, "5", "frames of a masked span")},
    {S("mixture_prob", REAL, mixture_prob, 0, 1, "0.5", "probability of hearing pieces of other items on top")},
    {S("inbatch_noise_augment_len_range", WHOLES, mixture_length, 1, 1 << 28, "12000 24000",
       "samples of such a piece, from and to")},
    {S("inbatch_noise_augment_number_range", WHOLES, mixture_number, 1, 1000, "1 3", "number of pieces, from and to")},
    {S("inbatch_noise_augment_volume", REAL, mixture_volume, 0, 100, "1", "their gain")},

    {.name = "batches", .kind = HEADING},
    {S("max_sample_size", WHOLE, max_sample_size, 1, 1 << 28, "120000", "samples of a crop, at most")},
    {S("min_sample_size", WHOLE, min_sample_size, 1, 1 << 28, "72000", "shorter items are left out")},
    {S("crops_per_item", WHOLE, crops_per_item, 0, 1 << 20, "1",
       "crops of an item in each epoch; 0: as many as fit its length")},
    {S("max_tokens", WHOLE, max_tokens, 1, 1LL << 40, "2000000", "samples of a batch, at most")},
    {S("required_batch_size_multiple", WHOLE, batch_multiple, 1, 65536, "8",
       "batches larger than this are cut to a multiple of it")},

    {.name = "updates", .kind = HEADING},
    {S("update_freq", WHOLE, update_freq, 1, 1 << 20, "1", "batches whose gradients are added up for one update")},
    {S("lr", REAL, lr, 0, 1e3, "0.0005", "highest learning rate")},
    {S("warmup_updates", WHOLE, warmup_updates, 0, 1LL << 40, "32000", "updates from 0 up to it")},
    {S("total_updates", WHOLE, total_updates, 1, 1LL << 40, "400000", "updates until it is back at 0")},
    {S("max_update", WHOLE, max_update, 0, 1LL << 40, "0", "stop after this update; 0: at total_updates"), .free = 1},
    {S("adam_betas", REALS, adam_betas, 0, 0.999999, "0.9 0.98", "decay of the two moments")},
    {S("adam_eps", REAL, adam_eps, 0, 1, "1e-06", "added to the root of the second")},
    {S("weight_decay", REAL, weight_decay, 0, 1e3, "0.01", "decoupled, times the learning rate")},
    {S("clip_norm", REAL, clip_norm, 0, 1e9, "10", "longest gradient; 0: any")},
    {S("seed", WHOLE, seed, 0, 1LL << 52, "1337", "of every random number")},

    {.name = "seeing and keeping", .kind = HEADING},
    {S("log_interval", WHOLE, log_interval, 1, 1LL << 40, "200", "updates from one line to the next"), .free = 1},
    {S("validate_interval", WHOLE, validate_interval, 0, 1LL << 40, "10000",
       "updates from one validation to the next; 0: before the first and after the last only"),
     .free = 1},
    {S("save_interval", WHOLE, save_interval, 0, 1LL << 40, "25000",
       "updates from one checkpoint to the next; 0: the last only"),
     .free = 1},
    {S("keep", WHOLE, keep, 0, 1 << 20, "0", "how many of the newest checkpoints to keep; 0: all"), .free = 1},
};
#undef S
enum { SETTINGS = sizeof table / sizeof *table };

static const setting *find(const char *name, size_t n)
{
    for (int i = 0; i < SETTINGS; i++)
        if (table[i].kind != HEADING && strlen(table[i].name) == n && !memcmp(table[i].name, name, n))
            return &table[i];
    return NULL;
}

/* ---- values from text ---- */

static int number(const setting *s, const char **text, double *real, int64_t *whole, mert_error *e)
{
    char *end;
    int whole_wanted = s->kind == WHOLE || s->kind == WHOLES;
    errno = 0;
    if (whole_wanted)
        *real = (double)(*whole = strtoll(*text, &end, 10));
    else
        *real = strtod(*text, &end);
    if (end == *text || errno == ERANGE || (*end && !isspace((unsigned char)*end)))
        return mert_fail(e, "'%s' is not %s", *text, whole_wanted ? "a whole number" : "a number");
    if (!(*real >= s->min && *real <= s->max))
        return mert_fail(e, "%.*s is outside %.10g to %.10g", (int)(end - *text), *text, s->min, s->max);
    while (isspace((unsigned char)*end))
        end++;
    *text = end;
    return 0;
}

static int numbers(const setting *s, const char *text, void *to, int n, mert_error *e)
{
    for (int i = 0; i < n; i++) {
        double real;
        int64_t whole = 0;
        if (!*text)
            return mert_fail(e, "%d numbers are needed", n);
        if (number(s, &text, &real, &whole, e))
            return -1;
        if (s->kind == WHOLE || s->kind == WHOLES)
            ((int64_t *)to)[i] = whole;
        else
            ((double *)to)[i] = real;
    }
    return *text ? mert_fail(e, "'%s' is left over", text) : 0;
}

static int flag(const char *text, int *to, mert_error *e)
{
    static const char *const words[] = {"no", "yes", "false", "true", "0", "1"};
    for (int i = 0; i < 6; i++)
        if (!strcmp(text, words[i])) {
            *to = i & 1;
            return 0;
        }
    return mert_fail(e, "'%s' is neither yes nor no", text);
}

static int choice(const setting *s, const char *text, int *to, mert_error *e)
{
    for (int i = 0; s->choices[i]; i++)
        if (!strcmp(s->choices[i], text)) {
            *to = i;
            return 0;
        }
    return mert_fail(e, "'%s' is none of the choices (the first of them: %s)", text, s->choices[0]);
}

/* "512x10/5 512x3/2*4": a word is channels x kernel / stride, with * times where a layer comes again. */
static int convs(const char *text, mert_convs *to, mert_error *e)
{
    mert_convs c = {0};
    while (*text) {
        int dim, kernel, stride, used = 0, more = 0, times = 1;
        if (sscanf(text, "%6dx%5d/%5d%n", &dim, &kernel, &stride, &used) != 3 || !used)
            return mert_fail(e, "'%s' is not of the form 512x10/5 512x3/2*4 (channels x kernel / stride * times)",
                             text);
        text += used;
        if (*text == '*') {
            if (sscanf(text, "*%4d%n", &times, &more) != 1)
                return mert_fail(e, "'%s': how many times?", text);
            text += more;
        }
        if ((*text && !isspace((unsigned char)*text)) || dim < 1 || kernel < 1 || stride < 1 || times < 1)
            return mert_fail(e, "'%s' is left over, or a number is below 1", text);
        if (times > MERT_CONV_MAX - c.n)
            return mert_fail(e, "more than %d layers", MERT_CONV_MAX);
        for (; times > 0; times--, c.n++) {
            c.layer[c.n].dim = dim;
            c.layer[c.n].kernel = kernel;
            c.layer[c.n].stride = stride;
        }
        while (isspace((unsigned char)*text))
            text++;
    }
    if (!c.n)
        return mert_fail(e, "no layer");
    *to = c;
    return 0;
}

static int store(mert_recipe *r, const setting *s, const char *text, mert_error *e)
{
    void *to = (char *)r + s->offset;
    int bad = 0;
    switch (s->kind) {
    case HEADING: break;
    case WHOLE:
    case REAL: bad = numbers(s, text, to, 1, e); break;
    case WHOLES:
    case REALS: bad = numbers(s, text, to, 2, e); break;
    case FLAG: bad = flag(text, to, e); break;
    case CHOICE: bad = choice(s, text, to, e); break;
    case CONVS: bad = convs(text, to, e); break;
    }
    return bad ? mert_fail_in(e, "%s", s->name) : 0;
}

void mert_recipe_defaults(mert_recipe *r)
{
    memset(r, 0, sizeof *r);
    for (int i = 0; i < SETTINGS; i++)
        if (table[i].kind != HEADING)
            store(r, &table[i], table[i].preset, NULL);
}

/* ---- lines ---- */

/* Cuts blanks off both ends, in place. */
static char *trim(char *s)
{
    char *end;
    while (isspace((unsigned char)*s))
        s++;
    for (end = s + strlen(s); end > s && isspace((unsigned char)end[-1]);)
        *--end = 0;
    return s;
}

/* Takes "name = value" apart, in place. */
static const setting *assignment(char *line, char **value, mert_error *e)
{
    char *equals = strchr(line, '='), *name;
    const setting *s;
    if (!equals) {
        mert_fail(e, "'%s' is not of the form name = value", line);
        return NULL;
    }
    *equals = 0;
    name = trim(line);
    *value = trim(equals + 1);
    s = find(name, strlen(name));
    if (!s)
        mert_fail(e, "a recipe has no setting '%s'", name);
    else if (!**value)
        mert_fail(e, "%s: no value", name);
    return s && **value ? s : NULL;
}

int mert_recipe_set(mert_recipe *r, const char *text, mert_error *e)
{
    char *copy = strdup(text), *value;
    const setting *s;
    int bad;
    if (!copy)
        return mert_fail(e, "out of memory");
    s = assignment(copy, &value, e);
    bad = !s || store(r, s, value, e);
    free(copy);
    return bad ? -1 : 0;
}

int mert_recipe_read(mert_recipe *r, const char *path, mert_error *e)
{
    int seen[SETTINGS] = {0}, number_of_line = 0, bad = 0;
    size_t size;
    char *text = mert_file_read(path, 1 << 20, &size, e), *next, *value;
    if (!text)
        return -1;
    if (strlen(text) != size)
        bad = mert_fail(e, "%s: not a text file", path);
    for (char *line = text; !bad && line; line = next) {
        const setting *s;
        char *comment = strchr(line, '#');
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        if (comment && (!next || comment < next))
            *comment = 0;
        number_of_line++;
        line = trim(line);
        if (!*line)
            continue;
        s = assignment(line, &value, e);
        if (s && seen[s - table]) {
            mert_fail(e, "%s is already set in line %d", s->name, seen[s - table]);
            s = NULL;
        }
        if (!s || store(r, s, value, e))
            bad = mert_fail_in(e, "%s: line %d", path, number_of_line);
        else
            seen[s - table] = number_of_line;
    }
    free(text);
    return bad;
}

/* ---- text from values ---- */

/* The shortest decimal form that reads back to the same number. */
static void write_real(FILE *f, double x)
{
    char text[40], shortest[40] = "";
    for (int digits = 1; digits <= 17; digits++) {
        int n = snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x && (!*shortest || (size_t)n < strlen(shortest)))
            strcpy(shortest, text);
    }
    fputs(shortest, f);
}

static void write_convs(FILE *f, const mert_convs *c)
{
    for (int64_t i = 0, same; i < c->n; i += same) {
        for (same = 1; i + same < c->n && !memcmp(&c->layer[i], &c->layer[i + same], sizeof c->layer[i]);)
            same++;
        fprintf(f, "%s%dx%d/%d", i ? " " : "", c->layer[i].dim, c->layer[i].kernel, c->layer[i].stride);
        if (same > 1)
            fprintf(f, "*%lld", (long long)same);
    }
}

static void write_value(FILE *f, const mert_recipe *r, const setting *s)
{
    const void *from = (const char *)r + s->offset;
    const int64_t *whole = from;
    const double *real = from;
    switch (s->kind) {
    case HEADING: break;
    case WHOLE: fprintf(f, "%lld", (long long)whole[0]); break;
    case WHOLES: fprintf(f, "%lld %lld", (long long)whole[0], (long long)whole[1]); break;
    case REAL: write_real(f, real[0]); break;
    case REALS:
        write_real(f, real[0]);
        fputc(' ', f);
        write_real(f, real[1]);
        break;
    case FLAG: fputs(*(const int *)from ? "yes" : "no", f); break;
    case CHOICE: fputs(s->choices[*(const int *)from], f); break;
    case CONVS: write_convs(f, from); break;
    }
}

static void write_comment(FILE *f, const setting *s)
{
    fprintf(f, "# %s", s->help);
    if (s->kind == WHOLE || s->kind == WHOLES || s->kind == REAL || s->kind == REALS)
        fprintf(f, " (%.10g to %.10g; %s)\n", s->min, s->max, s->preset);
    else
        fprintf(f, " (%s)\n", s->preset);
}

char *mert_recipe_text(const mert_recipe *r, int comments)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    int bad;
    if (!f)
        return NULL;
    for (int i = 0; i < SETTINGS; i++) {
        const setting *s = &table[i];
        if (s->kind == HEADING) {
            fprintf(f, "%s# ---- %s ----\n", i ? "\n" : "", s->name);
            continue;
        }
        if (comments)
            write_comment(f, s);
        fprintf(f, "%s = ", s->name);
        write_value(f, r, s);
        fputc('\n', f);
    }
    bad = ferror(f);
    if (fclose(f) || bad) {
        free(text);
        return NULL;
    }
    return text;
}

const char *mert_recipe_difference(const mert_recipe *a, const mert_recipe *b)
{
    static const size_t size[] = {
        [WHOLE] = sizeof(int64_t),   [REAL] = sizeof(double),      [FLAG] = sizeof(int),
        [CHOICE] = sizeof(int),      [CONVS] = sizeof(mert_convs), [WHOLES] = 2 * sizeof(int64_t),
        [REALS] = 2 * sizeof(double)};
    for (int i = 0; i < SETTINGS; i++)
        if (table[i].kind != HEADING && !table[i].free &&
            memcmp((const char *)a + table[i].offset, (const char *)b + table[i].offset, size[table[i].kind]))
            return table[i].name;
    return NULL;
}
