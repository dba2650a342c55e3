#define _GNU_SOURCE /* asprintf */
#include "libcommon/train/changes.h"

#include "formats/file.h"
#include "formats/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void mert_changes_free(mert_changes *c)
{
    for (int i = 0; i < c->n; i++) {
        free(c->items[i].name);
        free(c->items[i].from);
        free(c->items[i].to);
    }
    free(c->items);
    *c = (mert_changes){0};
}

int mert_changes_add(mert_changes *c, int64_t update, const char *name, const char *from, const char *to, mert_error *e)
{
    mert_change *i;
    if (c->n == c->room) {
        int room = 2 * c->room + 8;
        mert_change *grown = realloc(c->items, (size_t)room * sizeof *grown);
        if (!grown)
            return mert_fail(e, "out of memory");
        c->items = grown;
        c->room = room;
    }
    i = &c->items[c->n++];
    *i = (mert_change){update, strdup(name), strdup(from), strdup(to)};
    return i->name && i->from && i->to ? 0 : mert_fail(e, "out of memory");
}

/* ---- in a checkpoint ---- */

int mert_changes_write(const mert_changes *c, FILE *f)
{
    fputc('[', f);
    for (int i = 0; i < c->n; i++) {
        char *from = mert_json_quote(c->items[i].from), *to = mert_json_quote(c->items[i].to);
        int bad = !from || !to;
        if (!bad)
            fprintf(f, "%s\n    {\"update\": %" PRId64 ", \"name\": \"%s\", \"from\": %s, \"to\": %s}", i ? "," : "",
                    c->items[i].update, c->items[i].name, from, to);
        free(from);
        free(to);
        if (bad)
            return -1;
    }
    fputs(c->n ? "\n  ]" : "]", f);
    return 0;
}

int mert_changes_read(mert_changes *c, const char *checkpoint, mert_error *e)
{
    char *path = mert_path_join(checkpoint, "state.json");
    mert_json *j = path ? mert_json_read(path, e) : NULL;
    const mert_json *list = mert_json_get(j, "changes");
    int bad = !path ? mert_fail(e, "out of memory") : !j;
    for (size_t i = 0; !bad && i < mert_json_size(list); i++) {
        const mert_json *one = mert_json_at(list, i);
        const char *name = mert_json_string(one, "name"), *from = mert_json_string(one, "from"),
                   *to = mert_json_string(one, "to");
        int64_t update;
        if (!name || !from || !to || mert_json_int(one, "update", &update))
            bad = mert_fail(e, "%s: its list of changes is not valid", path);
        else
            bad = mert_changes_add(c, update, name, from, to, e);
    }
    mert_json_free(j);
    free(path);
    return bad ? -1 : 0;
}

/* ---- in a recipe ---- */

static int set(mert_recipe *r, const char *name, const char *value, mert_error *e)
{
    char *text;
    int bad = asprintf(&text, "%s=%s", name, value) < 0;
    if (bad)
        return mert_fail(e, "out of memory");
    bad = mert_recipe_set(r, text, e);
    free(text);
    return bad;
}

static int is_setting(const mert_change *c)
{
    return strcmp(c->name, MERT_CHANGED_CORPUS) != 0;
}

/* Whether an earlier change has the same setting. */
static int again(const mert_changes *c, int i)
{
    for (int k = 0; k < i; k++)
        if (!strcmp(c->items[k].name, c->items[i].name))
            return 1;
    return 0;
}

int mert_changes_apply(const mert_changes *c, mert_recipe *r, mert_error *e)
{
    for (int i = 0; i < c->n; i++)
        if (is_setting(&c->items[i]) && set(r, c->items[i].name, c->items[i].to, e))
            return -1;
    return 0;
}

int mert_changes_keep(const mert_changes *c, mert_recipe *r, mert_error *e)
{
    for (int i = 0; i < c->n; i++) {
        char *is;
        int bad = 0;
        if (!is_setting(&c->items[i]) || again(c, i))
            continue;
        if (!(is = mert_recipe_value(r, c->items[i].name)))
            return mert_fail(e, "out of memory");
        for (int k = i; !bad && !strcmp(is, c->items[i].from) && k < c->n; k++)
            if (!strcmp(c->items[k].name, c->items[i].name))
                bad = set(r, c->items[k].name, c->items[k].to, e);
        free(is);
        if (bad)
            return -1;
    }
    return 0;
}

int mert_changes_make(mert_changes *c, int64_t update, const char *assignment, const mert_recipe *before,
                      mert_recipe *r, mert_error *e)
{
    const char *first = assignment + strspn(assignment, " \t");
    char *name = strndup(first, strcspn(first, "= \t")), *from = NULL, *to = NULL;
    int bad = mert_recipe_set(r, assignment, e);
    if (!bad && (!name || !(from = mert_recipe_value(before, name)) || !(to = mert_recipe_value(r, name))))
        bad = mert_fail(e, "out of memory");
    if (!bad && strcmp(from, to)) {
        if (!mert_recipe_may_change(name))
            bad = mert_fail(e,
                            "%s is %s in this run, and cannot become %s: a new run needs another --save, and can "
                            "start with this model by --init",
                            name, from, to);
        else
            bad = mert_changes_add(c, update, name, from, to, e);
    }
    free(name);
    free(from);
    free(to);
    return bad;
}

int mert_changes_of_batches(const mert_changes *c, int64_t update)
{
    for (int i = 0; i < c->n; i++)
        if (c->items[i].update == update &&
            (!is_setting(&c->items[i]) || mert_recipe_may_change(c->items[i].name) == 2))
            return 1;
    return 0;
}
