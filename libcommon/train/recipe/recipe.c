#define _GNU_SOURCE /* memrchr, asprintf */
#include "libcommon/train/recipe/settings.h"

#include "formats/file.h"
#include "formats/memory.h"
#include "formats/text.h"
#include "libcommon/base/install_paths.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const mert_setting *find(const char *name, size_t n)
{
    for (const mert_setting *s = mert_settings; s < mert_settings + mert_settings_n; s++)
        if (s->kind != HEADING && strlen(s->name) == n && !memcmp(s->name, name, n))
            return s;
    return NULL;
}

/* ---- values from text ---- */

static int number(const mert_setting *s, const char **text, double *real, int64_t *whole, mert_error *e)
{
    char *end;
    int whole_wanted = s->kind == WHOLE || s->kind == WHOLES || s->kind == WHOLE_LIST;
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

static int numbers(const mert_setting *s, const char *text, void *to, int n, mert_error *e)
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

static int list(const mert_setting *s, const char *text, mert_list *to, mert_error *e)
{
    mert_list l = {0};
    int64_t whole;
    if (!strcmp(text, "none"))
        text = "";
    for (; *text; l.n++) {
        if (l.n == MERT_LIST_MAX)
            return mert_fail(e, "more than %d numbers", MERT_LIST_MAX);
        if (number(s, &text, &l.value[l.n], &whole, e))
            return -1;
    }
    *to = l;
    return 0;
}

static int path(const char *text, char to[MERT_RECIPE_PATH_MAX], mert_error *e)
{
    if (strlen(text) >= MERT_RECIPE_PATH_MAX)
        return mert_fail(e, "more than %d bytes", MERT_RECIPE_PATH_MAX - 1);
    if (strpbrk(text, "#\n\r"))
        return mert_fail(e, "'%s': a recipe cannot hold a name with a # or a line end", text);
    memset(to, 0, MERT_RECIPE_PATH_MAX);
    if (strcmp(text, "none"))
        strcpy(to, text);
    return 0;
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

static int choice(const mert_setting *s, const char *text, int *to, mert_error *e)
{
    char all[256];
    for (int i = 0; s->choices[i]; i++)
        if (!strcmp(s->choices[i], text)) {
            *to = i;
            return 0;
        }
    snprintf(all, sizeof all, "%s", s->choices[0]);
    for (int i = 1; s->choices[i]; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), " %s", s->choices[i]);
    return mert_fail(e, "'%s' is none of: %s", text, all);
}

/* "512x10/5 512x3/2*4": a word is channels x kernel / stride, with * and the number of equal layers. */
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
                return mert_fail(e, "'%s': a number must follow the *", text);
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

/* Two settings that mean the same exclude each other: the later one counts. A new lr clears lr_seconds, the audio per
 * update for which lr was chosen. */
static void supersede(mert_recipe *r, const void *set)
{
    if (set == &r->update_freq)
        r->update_batches = 0;
    else if (set == &r->update_batches && r->update_batches)
        r->update_freq = 1;
    else if (set == &r->lr)
        r->lr_seconds = 0;
}

static int store(mert_recipe *r, const mert_setting *s, const char *text, mert_error *e)
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
    case WHOLE_LIST:
    case REAL_LIST: bad = list(s, text, to, e); break;
    case PATH: bad = path(text, to, e); break;
    }
    if (!bad)
        supersede(r, to);
    return bad ? mert_fail_in(e, "%s", s->name) : 0;
}

void mert_recipe_defaults(mert_recipe *r)
{
    memset(r, 0, sizeof *r);
    for (int i = 0; i < mert_settings_n; i++)
        if (mert_settings[i].kind != HEADING)
            store(r, &mert_settings[i], mert_settings[i].preset, NULL);
}

/* ---- lines ---- */

/* Removes blanks from both ends, in place. */
static char *trim(char *s)
{
    char *end;
    while (isspace((unsigned char)*s))
        s++;
    for (end = s + strlen(s); end > s && isspace((unsigned char)end[-1]);)
        *--end = 0;
    return s;
}

/* Parses "name = value", in place. */
static const mert_setting *assignment(char *line, char **value, mert_error *e)
{
    char *equals = strchr(line, '='), *name;
    const mert_setting *s;
    if (!equals) {
        mert_fail(e, "'%s' is not of the form name = value", line);
        return NULL;
    }
    *equals = 0;
    name = trim(line);
    *value = trim(equals + 1);
    s = find(name, strlen(name));
    if (!s)
        mert_fail(e, "a recipe has no setting '%s': mert-train --print-recipe lists them", name);
    else if (!**value)
        mert_fail(e, "%s: no value", name);
    return s && **value ? s : NULL;
}

int mert_recipe_set(mert_recipe *r, const char *text, mert_error *e)
{
    char *copy = strdup(text), *value;
    const mert_setting *s;
    int bad;
    if (!copy)
        return mert_fail(e, "out of memory");
    s = assignment(copy, &value, e);
    bad = !s || store(r, s, value, e);
    free(copy);
    return bad ? -1 : 0;
}

/* The path of the recipe with this name, to be freed; NULL: out of memory. */
static char *find_recipe(const char *name)
{
    char in[1024], *path = NULL;
    if (!strchr(name, '/') && access(name, F_OK) && snprintf(in, sizeof in, "recipes/%s", name) < (int)sizeof in)
        path = mert_pipeline_path(in);
    return path ? path : strdup(name);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Adds the list of recipes to the error that there is no recipe of that name. */
static void list_recipes(const char *name, mert_error *e)
{
    char all[600] = "", *folder = strchr(name, '/') ? NULL : mert_pipeline_path("recipes");
    struct dirent **found;
    int n = folder ? scandir(folder, &found, visible, alphasort) : -1;
    for (int i = 0; i < n; i++) {
        snprintf(all + strlen(all), sizeof all - strlen(all), " %s", found[i]->d_name);
        free(found[i]);
    }
    if (n >= 0)
        free(found);
    if (*all)
        mert_fail(e, "%.200s: %s: the recipes that come with the program are%s", name, strerror(ENOENT), all);
    free(folder);
}

static int read_file(mert_recipe *r, const char *path, mert_error *e)
{
    int seen[MERT_SETTINGS_MAX] = {0}, bad;
    size_t size;
    char *text = mert_file_read(path, 1 << 20, &size, e), *line, *value;
    mert_text t;
    if (!text)
        return -1;
    bad = mert_text_open(&t, path, text, size, e);
    while (!bad && (bad = mert_text_line(&t, &line, e)) > 0) {
        const mert_setting *s;
        bad = 0;
        line[strcspn(line, "#")] = 0;
        line = trim(line);
        if (!*line)
            continue;
        s = assignment(line, &value, e);
        if (s && seen[s - mert_settings]) {
            mert_fail(e, "%s is already set in line %d", s->name, seen[s - mert_settings]);
            s = NULL;
        }
        if (!s || store(r, s, value, e))
            bad = mert_fail_in(e, "%s: line %d", path, (int)t.number);
        else
            seen[s - mert_settings] = (int)t.number;
    }
    free(text);
    return bad;
}

int mert_recipe_read(mert_recipe *r, const char *name, mert_error *e)
{
    char *path = find_recipe(name);
    int bad = path ? read_file(r, path, e) : mert_fail(e, "%s: out of memory", name);
    if (bad && path && access(path, F_OK))
        list_recipes(name, e);
    free(path);
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
            fprintf(f, "*%" PRId64, same);
    }
}

static void write_list(FILE *f, const mert_list *l, int whole)
{
    for (int64_t i = 0; i < l->n; i++) {
        fputs(i ? " " : "", f);
        if (whole)
            fprintf(f, "%.0f", l->value[i]);
        else
            write_real(f, l->value[i]);
    }
    if (!l->n)
        fputs("none", f);
}

static void write_value(FILE *f, const mert_recipe *r, const mert_setting *s)
{
    const void *from = (const char *)r + s->offset;
    const int64_t *whole = from;
    const double *real = from;
    switch (s->kind) {
    case HEADING: break;
    case WHOLE: fprintf(f, "%" PRId64, whole[0]); break;
    case WHOLES: fprintf(f, "%" PRId64 " %" PRId64, whole[0], whole[1]); break;
    case REAL: write_real(f, real[0]); break;
    case REALS:
        write_real(f, real[0]);
        fputc(' ', f);
        write_real(f, real[1]);
        break;
    case FLAG: fputs(*(const int *)from ? "yes" : "no", f); break;
    case CHOICE: fputs(s->choices[*(const int *)from], f); break;
    case CONVS: write_convs(f, from); break;
    case WHOLE_LIST:
    case REAL_LIST: write_list(f, from, s->kind == WHOLE_LIST); break;
    case PATH: fputs(*(const char *)from ? (const char *)from : "none", f); break;
    }
}

static void write_comment(FILE *f, const mert_setting *s)
{
    fprintf(f, "# %s", s->help);
    if (s->max > s->min)
        fprintf(f, " (%.10g to %.10g; %s)\n", s->min, s->max, s->preset);
    else
        fprintf(f, " (%s)\n", s->preset);
}

char *mert_recipe_text(const mert_recipe *r, int comments)
{
    mert_memory m;
    FILE *f = mert_memory_open(&m);
    for (int i = 0; f && i < mert_settings_n; i++) {
        const mert_setting *s = &mert_settings[i];
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
    return mert_memory_close(f, &m);
}

char *mert_recipe_value(const mert_recipe *r, const char *name)
{
    mert_memory m;
    const mert_setting *s = find(name, strlen(name));
    FILE *f = s ? mert_memory_open(&m) : NULL;
    if (f)
        write_value(f, r, s);
    return f ? mert_memory_close(f, &m) : NULL;
}

int mert_recipe_may_change(const char *name)
{
    const mert_setting *s = find(name, strlen(name));
    return s ? mert_setting_may_change(s) : 0;
}

/* Whether the setting has the same value in both recipes. */
static int same(const mert_setting *s, const mert_recipe *a, const mert_recipe *b)
{
    static const size_t size[] = {
        [WHOLE] = sizeof(int64_t),   [REAL] = sizeof(double),      [FLAG] = sizeof(int),
        [CHOICE] = sizeof(int),      [CONVS] = sizeof(mert_convs), [WHOLES] = 2 * sizeof(int64_t),
        [REALS] = 2 * sizeof(double), [WHOLE_LIST] = sizeof(mert_list),  [REAL_LIST] = sizeof(mert_list),
        [PATH] = MERT_RECIPE_PATH_MAX};
    return !memcmp((const char *)a + s->offset, (const char *)b + s->offset, size[s->kind]);
}

const char *mert_recipe_difference(const mert_recipe *a, const mert_recipe *b)
{
    for (const mert_setting *s = mert_settings; s < mert_settings + mert_settings_n; s++)
        if (s->kind != HEADING && !s->free && !same(s, a, b))
            return s->name;
    return NULL;
}

const mert_setting *mert_recipe_meaningless(const mert_recipe *r)
{
    int is = (r->model ? MERT_OF_CONFORMER : MERT_OF_TRANSFORMER) |
             (mert_recipe_mel_input(r) ? MERT_OF_MEL : MERT_OF_WAVEFORM);
    mert_recipe defaults, zero = {0};
    mert_recipe_defaults(&defaults);
    for (const mert_setting *s = mert_settings; s < mert_settings + mert_settings_n; s++)
        if (s->kind != HEADING && s->only && !(s->only & is) && !same(s, r, &defaults) &&
            !same(s, r, &zero))
            return s;
    return NULL;
}
