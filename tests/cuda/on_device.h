/* Runs the tests of operations that a file of tests/unit has on the emulated CUDA device in the place of the CPU: it
 * includes this, then that file. What they hold the CPU against, references in double and their differences, the
 * device is held against, with the same tolerances; what is stored as 16 bits must be what float32 gives, rounded once.
 * The device is that of $EMULATED (the race detector's), or the one beside the tests; or $MERT_TEST_DEVICE, one that is
 * there (tests/cuda/gpu). */
#ifndef TEST_ON_DEVICE_H
#define TEST_ON_DEVICE_H

#define _GNU_SOURCE
#include "tests/unit/nn.h"

/* Of what stands on memory of the host, or on weights that are packed. */
static int needs_the_cpu(const char *name)
{
    return !strcmp(name, "all_numbers_of_16_bits");
}

static const char *device_name(void)
{
    const char *given = getenv("MERT_TEST_DEVICE");
    return given ? given : "emulated";
}

static mert_ops *device_of(mert_element_type type)
{
    mert_error e;
    mert_ops *device = mert_ops_open(device_name(), type, &e);
    if (!device) {
        printf("# %s\n", e.text);
        abort();
    }
    return device;
}

/* Whether there is the plugin, and the plan of a program that has none. */
static int find_device(char *path)
{
    const char *given = getenv("EMULATED");
    char *slash, file[4200];
    if (getenv("MERT_TEST_DEVICE"))
        return 1;
    snprintf(path, 4096, "%s", given ? given : "");
    if (!given && realpath("/proc/self/exe", path)) { /* OUT/tests/unit/NAME: OUT/lib/mert */
        for (int i = 0; i < 3; i++)
            if ((slash = strrchr(path, '/')))
                *slash = 0;
        strncat(path, "/lib/mert", 4095 - strlen(path));
    }
    snprintf(file, sizeof file, "%s/device-emulated.so", path);
    setenv("MERT_PLUGINS", path, 1);
    return !access(file, F_OK);
}

static inline void run_on_device(const nn_test *tests, int n)
{
    char path[4096];
    if (!find_device(path)) {
        test_skip("operations on the emulated device", "no C++17 compiler built it");
        return;
    }
    use_threads(1);
    ops = device_of(MERT_ELEMENT_F32);
    for (int i = 0; i < n; i++) {
        if (needs_the_cpu(tests[i].name))
            continue;
        test_bad = 0;
        tests[i].run();
        forget();
        test_report(tests[i].name, device_name());
    }
    ops->close(ops);
}

#define run_everywhere run_on_device
#define run_lesser_sets(argv) ((void)(argv))
#define mert_ops_cpu_of device_of

#endif
