/* The container of torch.save since 1.6: a zip file of stored entries, ARCHIVE/data.pkl (the values, with references to
 * storages), ARCHIVE/data/KEY (the storages), ARCHIVE/byteorder and ARCHIVE/version. */
#include "formats/checkpoint/torch.h"
#include "formats/checkpoint/zip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const mert_zip_entry *find_below(const mert_zip *z, const char *archive, size_t archive_size, const char *folder,
                                        const char *key, size_t key_size, mert_error *e)
{
    size_t n = strlen(folder);
    char *name = malloc(archive_size + n + key_size + 1);
    const mert_zip_entry *found;
    if (!name) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    memcpy(name, archive, archive_size);
    memcpy(name + archive_size, folder, n);
    memcpy(name + archive_size + n, key, key_size);
    if (!(found = mert_zip_find(z, name, archive_size + n + key_size)))
        mert_fail(e, "%s: not in the zip file", mert_show(name, archive_size + n + key_size).text);
    free(name);
    return found;
}

static const mert_zip_entry *find_pickle(const mert_zip *z, mert_error *e)
{
    const mert_zip_entry *found = NULL;
    for (size_t i = 0; i < z->n; i++) {
        const mert_zip_entry *t = &z->entries[i];
        if (t->name_size < 8 || memcmp(t->name + t->name_size - 8, "data.pkl", 8) ||
            (t->name_size > 8 && t->name[t->name_size - 9] != '/'))
            continue;
        if (found) {
            mert_fail(e, "two data.pkl in one zip file");
            return NULL;
        }
        found = t;
    }
    if (!found)
        mert_fail(e, "a zip file without data.pkl: not written by torch.save");
    return found;
}

static int locate(const mert_zip *z, const mert_zip_entry *pkl, mert_storages *s, mert_error *e)
{
    for (size_t i = 0; i < s->n; i++) {
        mert_storage *t = &s->items[i];
        const mert_zip_entry *record = find_below(z, pkl->name, pkl->name_size - 8, "data/", t->key, t->key_size, e);
        uint64_t bytes;
        if (!record)
            return -1;
        if (t->element_size && (mert_storage_bytes(t, &bytes) || bytes != record->size))
            return mert_fail(e, "%s: %zu bytes, data.pkl says %" PRId64 " elements of %zu",
                             mert_show(record->name, record->name_size).text, record->size, t->numel, t->element_size);
        t->data = record->data;
    }
    return 0;
}

static int read_archive(mert_checkpoint *c, const char *path, const mert_zip *z, mert_error *e)
{
    const mert_zip_entry *pkl = find_pickle(z, e), *order;
    mert_pickle *p = NULL;
    mert_storages s = {0};
    size_t used;
    int rc = -1;
    if (!pkl)
        return -1;
    if (pkl->crc && mert_crc32(0, pkl->data, pkl->size) != pkl->crc)
        return mert_fail(e, "data.pkl: the checksum does not fit: the file is damaged");
    if ((order = find_below(z, pkl->name, pkl->name_size - 8, "", "byteorder", 9, NULL)) &&
        (order->size != 6 || memcmp(order->data, "little", 6)))
        return mert_fail(e, "byteorder: %s-endian tensors are not supported",
                         mert_show((const char *)order->data, order->size).text);
    for (size_t i = 0; i < z->n; i++) {
        const mert_zip_entry *t = &z->entries[i];
        mert_shown name = mert_show(t->name, t->name_size);
        mert_checked r = {t->data, t->size, t->crc, 0, name.text};
        if (t->crc && mert_checkpoint_add_checked(c, &r, path, e)) /* 0: torch has an option to leave them out */
            return -1;
    }
    if (!(p = mert_pickle_read(pkl->data, pkl->size, &used, e)))
        return mert_fail_in(e, "data.pkl");
    if (used != pkl->size)
        mert_fail(e, "data.pkl: offset %zu: something behind its end", used);
    else if (!mert_storages_list(&s, p, e) && !locate(z, pkl, &s, e))
        rc = mert_torch_collect(c, p, &s, pkl->size, e);
    free(s.items);
    mert_pickle_free(p);
    return rc;
}

int mert_torch_zip_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e)
{
    mert_zip z;
    int rc;
    c->container = "torch zip";
    if (mert_zip_read(&z, m, e))
        return mert_fail_in(e, "%s", path);
    rc = read_archive(c, path, &z, e);
    mert_zip_free(&z);
    return rc ? mert_fail_in(e, "%s", path) : 0;
}
