#define _GNU_SOURCE
#include "libcommon/base/install_paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FOLDER/BESIDE/NAME, where FOLDER has this program's file. To be freed; NULL: not known, or out of memory. */
static char *beside_program(const char *beside, const char *name)
{
    char program[4096], *path;
    ssize_t n = readlink("/proc/self/exe", program, sizeof program);
    const char *slash = n > 0 && n < (ssize_t)sizeof program ? memrchr(program, '/', (size_t)n) : NULL;
    if (!slash || asprintf(&path, "%.*s/%s/%s", (int)(slash - program), program, beside, name) < 0)
        return NULL;
    return path;
}

char *mert_program_path(const char *name)
{
    char *path = beside_program(".", name);
    if (path && !access(path, X_OK))
        return path;
    free(path);
    return strdup(name);
}

char *mert_plugin_path(const char *name)
{
    const char *folder = getenv("MERT_PLUGINS");
    char *path = folder ? NULL : beside_program(MERT_LIBDIR, name);
    if (folder)
        return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
    if (path && access(path, F_OK)) { /* not installed: in the build folder */
        free(path);
        path = beside_program("../lib/mert", name);
    }
    return path;
}

char *mert_pipeline_path(const char *name)
{
    static const char *const beside[] = {MERT_DATADIR "/pipelines", MERT_TREE "/pipelines"};
    char *path;
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        path = beside_program(beside[i], name);
        if (path && !access(path, F_OK))
            return path;
        free(path);
    }
    if (asprintf(&path, "pipelines/%s", name) < 0)
        return NULL;
    if (!access(path, F_OK))
        return path;
    free(path);
    return NULL;
}
