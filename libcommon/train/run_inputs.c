#include "libcommon/train/run_inputs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static mert_run_input *grow(mert_run_inputs *in, mert_error *e)
{
    if (in->n == in->room) {
        int room = in->room ? 2 * in->room : 16;
        mert_run_input *grown = realloc(in->items, (size_t)room * sizeof *grown);
        if (!grown) {
            mert_fail(e, "out of memory");
            return NULL;
        }
        in->items = grown;
        in->room = room;
    }
    return memset(&in->items[in->n++], 0, sizeof *in->items);
}

/* k: the codebook; -1: none. */
static int add(mert_run_inputs *in, const char *of, const char *what, int part, int k, const char *path, uint64_t hash,
               mert_error *e)
{
    mert_run_input *i = grow(in, e);
    if (!i)
        return -1;
    if (k < 0)
        snprintf(i->name, sizeof i->name, "%s.%s.%d", of, what, part);
    else
        snprintf(i->name, sizeof i->name, "%s.%s.%d.%d", of, what, part, k);
    i->hash = hash;
    i->path = strdup(path);
    return i->path ? 0 : mert_fail(e, "out of memory");
}

/* The audio of the items of one manifest, in its order. */
static int add_audio(mert_run_inputs *in, const char *of, const mert_corpus *c, int part, mert_error *e)
{
    const mert_corpus_part *p = &c->parts[part];
    int64_t i = 0;
    if (c->states) {
        char text[MTS_KEY_MAX + 32];
        snprintf(text, sizeof text, "%s%s", p->other ? p->other : p->path, p->gone ? " (it cannot be read)" : "");
        return add(in, of, "files", part, -1, text, p->sound, e);
    }
    while (i < c->n && c->items[i].part != part)
        i++;
    return i == c->n || !c->nfiles
               ? 0
               : add(in, of, "audio", part, -1, c->files[c->items[i].file], c->parts[part].sound, e);
}

static const char of_codebook[] = ".codebook.", of_audio[] = ".audio.", of_files[] = ".files.";

/* Adds the codebooks that .meta files name. */
static int add_codebooks(mert_run_inputs *in, const char *of, const mert_corpus *c, mert_error *e)
{
    for (int k = 0; k < c->K; k++) {
        const mert_codebook_labels *b = &c->codebooks[k];
        if (b->meta.codebook && add(in, of, "codebook", k, -1, b->path,
                                    (uint64_t)b->meta.codebook + ((uint64_t)b->meta.codebook_index << 56), e))
            return -1;
    }
    return 0;
}

int mert_run_inputs_add(mert_run_inputs *in, const char *of, const mert_corpus *c, mert_error *e)
{
    for (int p = 0; p < c->nparts; p++) {
        const mert_corpus_part *part = &c->parts[p];
        if (add(in, of, "manifest", p, -1, part->path, part->manifest.hash, e))
            return -1;
        for (int k = 0; k < c->K; k++)
            if (add(in, of, "labels", p, k, part->labels[k].path, part->columns[k].sum, e))
                return -1;
        if (add_audio(in, of, c, p, e))
            return -1;
    }
    return add_codebooks(in, of, c, e);
}

int mert_run_inputs_add_task(mert_run_inputs *in, const char *path, uint64_t hash, mert_error *e)
{
    return add(in, "task", "labels", 0, -1, path, hash, e);
}

void mert_run_inputs_free(mert_run_inputs *in)
{
    for (int i = 0; i < in->n; i++)
        free(in->items[i].path);
    free(in->items);
    *in = (mert_run_inputs){0};
}

void mert_run_inputs_write(const mert_run_inputs *in, FILE *f)
{
    for (int i = 0; i < in->n; i++)
        fprintf(f, "%s\n    \"%s\": \"%016" PRIx64 "\"", i ? "," : "{", in->items[i].name, in->items[i].hash);
    fputs(in->n ? "\n  }" : "{}", f);
}

int mert_run_inputs_read(mert_run_inputs *in, const mert_json *json, mert_error *e)
{
    mert_json_iterator w = {json, NULL};
    const mert_json *value;
    for (const char *name; (name = mert_json_next(&w, &value));) {
        const char *hash = mert_json_as_string(value);
        mert_run_input *to = grow(in, e);
        if (!to)
            return -1;
        if (!hash || strlen(name) >= sizeof to->name || sscanf(hash, "%16" SCNx64, &to->hash) != 1)
            return mert_fail(e, "its list of inputs is not valid");
        strcpy(to->name, name);
    }
    return 0;
}

/* A run may be resumed with audio in place or packed, however it was begun: there may be no hash to compare with. */
static int is_audio(const char *name)
{
    return strstr(name, of_audio) || strstr(name, of_files);
}

static const mert_run_input *find(const mert_run_inputs *in, const char *name)
{
    for (int i = 0; i < in->n; i++)
        if (!strcmp(in->items[i].name, name))
            return &in->items[i];
    return NULL;
}

int mert_run_inputs_same_codebooks(const mert_run_inputs *begun, const mert_run_inputs *now, mert_error *e)
{
    for (int i = 0; i < now->n; i++) {
        const mert_run_input *is = &now->items[i], *was = strstr(is->name, of_codebook) ? find(begun, is->name) : NULL;
        if (was && was->hash != is->hash)
            return mert_fail(e, "%s: made by codebook %016" PRIx64 ", the run was begun with %016" PRIx64, is->path,
                             is->hash, was->hash);
    }
    return 0;
}

int mert_run_inputs_same(const mert_run_inputs *begun, const mert_run_inputs *now, int partly, mert_error *e)
{
    for (int i = 0; i < now->n; i++) {
        const mert_run_input *is = &now->items[i], *was = find(begun, is->name);
        const char *what = strstr(is->name, ".labels.")  ? "other labels"
                           : is_audio(is->name)          ? "other audio"
                                                         : "another manifest";
        if (strstr(is->name, of_codebook)) /* the hash of the labels tells whether they are the same */
            continue;
        if (!was && is_audio(is->name))
            continue;
        if (was && was->hash != is->hash)
            return mert_fail(e, "%s: %s than the run was begun with (hash %016" PRIx64 ", it was %016" PRIx64 ")",
                             is->path, what, is->hash, was->hash);
        if (!was)
            return mert_fail(e, "%s: the run was begun without it (%s)", is->path, is->name);
    }
    for (int i = 0; !partly && i < begun->n; i++)
        if (!strstr(begun->items[i].name, of_codebook) && !is_audio(begun->items[i].name) &&
            !find(now, begun->items[i].name))
            return mert_fail(e, "the run was begun with more: there is no %s now", begun->items[i].name);
    return 0;
}
