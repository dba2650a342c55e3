#include "libcommon/nn/no_room.h"

#include <stdio.h>
#include <string.h>

void mert_ops_no_room(const mert_ops *o, const char *way_on, mert_error *e)
{
    char why[sizeof e->text];
    if (!e || !o->device || strncmp(e->text, "out of memory", 13))
        return;
    snprintf(why, sizeof why, "%s", e->text);
    mert_error_set(e, "%.500s: device %.200s has %.2f GB in all: %s", why, o->device, 1e-9 * (double)o->memory, way_on);
}
