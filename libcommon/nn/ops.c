#include "libcommon/nn/ops.h"

#include <string.h>

mert_ops *mert_ops_open(const char *device)
{
    if (!strcmp(device, "cpu"))
        return mert_ops_cpu();
    if (!strcmp(device, "guard"))
        return mert_ops_guard();
    return NULL;
}
