/* The container of torch.save before 1.6: pickles one after the other (a magic number, the protocol, facts about the
 * system, the values, the list of storage keys), then for each key the number of elements (i64) and the elements. */
#include "formats/checkpoint/torch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* 0x1950a86a20f9469cfc6c */
static const unsigned char magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

enum { PROTOCOL = 1001, PARTS = 5 };

/* Finds the data of the storages; at: the end of the pickles. */
static int locate(const mert_mapping *m, size_t at, const mert_pickle_value *keys, mert_storages *s, mert_error *e)
{
    if (keys->type != MERT_P_LIST)
        return mert_fail(e, "no list of storages behind the values");
    for (size_t i = 0; i < keys->size; i++) {
        const mert_pickle_value *k = keys->items[i];
        mert_storage *t = k->type == MERT_P_TEXT ? mert_storages_find(s, k->text, k->size) : NULL;
        uint64_t bytes;
        mert_shown shown;
        if (!t)
            return mert_fail(e, "storage %zu of the list belongs to no tensor", i);
        shown = mert_show(t->key, t->key_size);
        if (t->data)
            return mert_fail(e, "storage %s is twice in the list", shown.text);
        if (m->size - at < 8)
            return mert_fail(e, "offset %zu: the file ends before storage %s", at, shown.text);
        if (mert_le(m->data + at, 8) != (uint64_t)t->numel)
            return mert_fail(e, "offset %zu: storage %s has %" PRIu64 " elements here, %" PRId64 " where it is used",
                             at, shown.text, mert_le(m->data + at, 8), t->numel);
        at += 8;
        if (!t->element_size)
            return mert_fail(e, "storage %s: of elements of unknown size: what is behind it cannot be found", shown.text);
        if (mert_storage_bytes(t, &bytes) || bytes > m->size - at)
            return mert_fail(e, "offset %zu: the file ends inside storage %s", at, shown.text);
        t->data = m->data + at;
        at += (size_t)bytes;
    }
    if (at != m->size)
        return mert_fail(e, "offset %zu: %zu bytes behind the last storage", at, m->size - at);
    return 0;
}

static int check_front(const mert_pickle_value *m, const mert_pickle_value *protocol, const mert_pickle_value *info,
                       mert_error *e)
{
    const mert_pickle_value *little = mert_pickle_get(info, "little_endian");
    if (m->type != MERT_P_BIG || m->size != sizeof magic || memcmp(m->text, magic, sizeof magic))
        return mert_fail(e, "a pickle, but not one that torch.save wrote");
    if (protocol->type != MERT_P_INT || protocol->number != PROTOCOL)
        return mert_fail(e, "a torch file of another protocol than %d", PROTOCOL);
    if (little && (little->type != MERT_P_BOOL || !little->number))
        return mert_fail(e, "big-endian tensors are not supported");
    return 0;
}

int mert_torch_legacy_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e)
{
    mert_pickle *p[PARTS] = {0};
    mert_storages s = {0};
    size_t at = 0, used = 0, values_size = 0;
    int rc = 0;
    c->container = "torch pickle";
    for (int i = 0; i < PARTS && !rc; i++, at += used) {
        size_t from = at;
        if (!(p[i] = mert_pickle_read(m->data + at, m->size - at, &used, e)))
            rc = i ? mert_fail_in(e, "pickle %d at offset %zu", i + 1, from) : -1;
        if (i == 0 && !rc && (mert_pickle_root(p[0])->type != MERT_P_BIG || used > 32))
            rc = mert_fail(e, "a pickle, but not one that torch.save wrote");
        values_size = i == 3 ? used : values_size;
    }
    if (!rc)
        rc = check_front(mert_pickle_root(p[0]), mert_pickle_root(p[1]), mert_pickle_root(p[2]), e);
    if (!rc)
        rc = mert_storages_list(&s, p[3], e);
    if (!rc)
        rc = locate(m, at, mert_pickle_root(p[4]), &s, e);
    if (!rc)
        rc = mert_torch_collect(c, p[3], &s, values_size, e);
    free(s.items);
    for (int i = 0; i < PARTS; i++)
        mert_pickle_free(p[i]);
    return rc ? mert_fail_in(e, "%s", path) : 0;
}
