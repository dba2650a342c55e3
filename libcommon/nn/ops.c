#include "libcommon/nn/ops.h"

#include "libcommon/base/install_paths.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Splits NAME[:N]. Other characters in NAME are refused, so that it cannot be a path to another folder. -1: no such
 * name. */
static int parse(const char *device, char name[64], int *number)
{
    size_t n = strspn(device, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    const char *digits = device[n] == ':' ? device + n + 1 : "0";
    long value = strtol(digits, NULL, 10);
    if (!n || n >= 64 || (device[n] && device[n] != ':') || !*digits || digits[strspn(digits, "0123456789")] ||
        value > INT_MAX)
        return -1;
    snprintf(name, 64, "%.*s", (int)n, device);
    *number = (int)value;
    return 0;
}

static mert_ops *open_plugin(const char *device, const char *name, int number, mert_element_type type,
                             mert_error *e)
{
    char file[96], *path;
    mert_device_plugin *open = NULL;
    mert_ops *ops = NULL;
    void *handle = NULL;
    snprintf(file, sizeof file, "device-%s.so", name);
    if (!(path = mert_plugin_path(file)))
        mert_fail(e, "out of memory");
    else if (access(path, F_OK))
        mert_fail(e, "no device '%s': there are cpu and guard, and no plugin %s", device, path);
    else if (!(handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)))
        mert_fail(e, "device '%s': the plugin cannot be loaded: %s", device, dlerror());
    else {
        *(void **)&open = dlsym(handle, MERT_DEVICE_PLUGIN);
        if (!open)
            mert_fail(e, "device '%s': %s is no plugin of this program", device, path);
        else if (!(ops = open(MERT_OPS_VERSION, number, type, e)))
            mert_fail_in(e, "device '%s'", device);
    }
    free(path);
    return ops;
}

mert_ops *mert_ops_open(const char *device, mert_element_type type, mert_error *e)
{
    char name[64];
    int number;
    mert_ops *ops;
    if (!strcmp(device, "cpu"))
        return mert_ops_cpu_of(type);
    if (!strcmp(device, "guard")) {
        if (!(ops = mert_ops_guard(mert_ops_cpu_of(type))))
            mert_fail(e, "out of memory");
        return ops;
    }
    if (!parse(device, name, &number) && strcmp(name, "cpu") && strcmp(name, "guard"))
        return open_plugin(device, name, number, type, e);
    mert_fail(e, "no device '%s': there are cpu and guard, and those of plugins, as NAME or NAME:NUMBER", device);
    return NULL;
}
