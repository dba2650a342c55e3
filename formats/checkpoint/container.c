/* Functions by which the container readers fill a checkpoint. */
#include "formats/checkpoint/container.h"

#include "formats/array.h"
#include "formats/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mert_mappings_forget(const mert_checkpoint *c, const void *data, size_t size)
{
    for (size_t i = 0; i < c->nmappings; i++)
        mert_mapping_forget(&c->mappings[i], data, size);
}

void *mert_checkpoint_hold(mert_checkpoint *c, size_t size)
{
    void **held = mert_array_grow(c->held, &c->held_room, (int64_t)c->nheld + 1, sizeof *held), *p;
    if (!held)
        return NULL;
    c->held = held;
    return (p = malloc(size ? size : 1)) ? held[c->nheld++] = p : NULL;
}

int mert_checkpoint_map(mert_checkpoint *c, const char *path, mert_mapping *m, mert_error *e)
{
    mert_mapping *more = mert_array_resize(c->mappings, (int64_t)c->nmappings + 1, sizeof *more);
    if (!more)
        return mert_fail(e, "%s: out of memory", path);
    c->mappings = more;
    if (mert_mapping_open(m, path, e))
        return -1;
    more[c->nmappings++] = *m;
    if (!m->size)
        return mert_fail(e, "%s: the file is empty", path);
    c->gather_max += m->size;
    return 0;
}

int mert_checkpoint_add(mert_checkpoint *c, const char *name, size_t name_size, mert_dtype type, int ndim,
                        const int64_t *shape, const void *data, mert_error *e)
{
    mert_tensor *t;
    char *copy;
    if (memchr(name, 0, name_size))
        return mert_fail(e, "%s: a tensor's name with a NUL byte in it", mert_show(name, name_size).text);
    if (!(t = mert_array_grow(c->tensors, &c->room, (int64_t)c->count + 1, sizeof *t)))
        return mert_fail(e, "out of memory");
    c->tensors = t;
    if (!(copy = mert_checkpoint_hold(c, name_size + 1)))
        return mert_fail(e, "out of memory");
    memcpy(copy, name, name_size);
    copy[name_size] = 0;
    t = &c->tensors[c->count++];
    *t = (mert_tensor){.name = copy, .type = type, .ndim = ndim, .data = data};
    memcpy(t->shape, shape, (size_t)ndim * sizeof *shape);
    return mert_shape_elements(ndim, shape, &t->elements) ? mert_fail(e, "an impossible shape") : 0;
}

int mert_checkpoint_add_other(mert_checkpoint *c, const char *name, size_t name_size, const char *type, int ndim,
                              const int64_t *shape, mert_error *e)
{
    mert_shown shown = mert_show(type, strlen(type));
    char *copy = mert_checkpoint_hold(c, strlen(shown.text) + 1);
    if (!copy)
        return mert_fail(e, "out of memory");
    strcpy(copy, shown.text);
    if (mert_checkpoint_add(c, name, name_size, MERT_E_OTHER, ndim, shape, NULL, e))
        return -1;
    c->tensors[c->count - 1].other = copy;
    return 0;
}

int mert_checkpoint_add_checked(mert_checkpoint *c, const mert_checked *r, const char *path, mert_error *e)
{
    size_t room = strlen(path) + strlen(r->name) + 3;
    char *name = mert_checkpoint_hold(c, room);
    mert_checked *more = mert_array_grow(c->checked, &c->checked_room, (int64_t)c->nchecked + 1, sizeof *more);
    if (more)
        c->checked = more;
    if (!name || !more)
        return mert_fail(e, "%s: out of memory", path);
    snprintf(name, room, "%s: %s", path, r->name);
    c->checked[c->nchecked] = *r;
    c->checked[c->nchecked++].name = name;
    return 0;
}
