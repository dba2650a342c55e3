#include "libcommon/probe/layers.h"

#include "formats/array.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int is_hidden(const mts_record *r)
{
    return !strcmp(r->kind, "hidden") && r->ndim == 3;
}

int64_t mert_layers_count(const mts_record *r)
{
    return is_hidden(r) ? r->shape[1] : 1;
}

/* Reads the names of n layers from the provenance of mert-encode: "layers=0,6,12". */
static int named_layers(mert_layer_name *to, int64_t n, const char *recipe)
{
    const char *p = strncmp(recipe, "mert-encode ", 12) ? NULL : strstr(recipe, " layers=");
    if (!p)
        return 0;
    p += strlen(" layers=");
    for (int64_t i = 0; i < n; i++) {
        size_t length = strcspn(p, ", ");
        if (!length || length >= sizeof to[i])
            return 0;
        memcpy(to[i], p, length);
        to[i][length] = 0;
        p += length;
        if (*p != ',')
            return i + 1 == n && strcmp(to[i], "all");
        p++;
    }
    return 0;
}

mert_layer_name *mert_layers_names(const mert_features *f, const mts_record *r)
{
    int64_t n = mert_layers_count(r);
    mert_layer_name *to = mert_array_zeroed(n, sizeof *to);
    if (!to)
        return NULL;
    if (!is_hidden(r))
        memcpy(to[0], r->kind, sizeof to[0]);
    else if (!named_layers(to, n, f->recipe))
        for (int64_t l = 0; l < n; l++)
            snprintf(to[l], sizeof to[l], "%" PRId64, l);
    return to;
}
