/* The table of devices that --plan knows (train/monitor/device.h): the names that drivers give, and rates as numbers. */
#include "libcommon/train/monitor/device.h"
#include "tests/test.h"

static mert_error e;

TEST(names_of_drivers)
{
    static const struct { const char *full, *name; } known[] = {
        {"NVIDIA H200", "H200"}, {"cuda:0 (NVIDIA H200 NVL)", "H200-NVL"}, {"NVIDIA H100 80GB HBM3", "H100"},
        {"NVIDIA H100 PCIe", "H100-PCIe"}, {"NVIDIA H100 NVL", "H100-NVL"}, {"NVIDIA A100-SXM4-40GB", "A100-40GB"},
        {"NVIDIA A100-PCIE-40GB", "A100-40GB"}, {"NVIDIA A100-SXM4-80GB", "A100-80GB"},
        {"NVIDIA A100 80GB PCIe", "A100-80GB-PCIe"}, {"NVIDIA L40S", "L40S"}, {"NVIDIA L4", "L4"},
        {"NVIDIA GeForce RTX 4090", "RTX-4090"}, {"NVIDIA B200", "B200"}};
    static const char *const unknown[] = {"NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA L40", "NVIDIA GB200",
                                          "Tesla T4", "emulated device 0"};
    mert_device_rates d;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        CHECK(!mert_device_recognise(&d, known[i].full) && !strcmp(d.name, known[i].name));
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CHECK(mert_device_recognise(&d, unknown[i]));
}

TEST(names_and_numbers)
{
    mert_device_rates d;
    CHECK(!mert_device_find(&d, "rtx-4090", &e) && d.memory == 24e9 && d.half == 165.2e12 && d.bandwidth == 1008e9);
    CHECK(!mert_device_find(&d, "80/67/989.5/3350", &e) && d.memory == 80e9 && d.f32 == 67e12 && d.half == 989.5e12);
    CHECK(mert_device_find(&d, "80/67/989.5", &e) && mert_device_find(&d, "80/67/989.5/3350/1", &e));
    CHECK(mert_device_find(&d, "80/-67/1/1", &e) && mert_device_find(&d, "nan/1/1/1", &e));
    CHECK(mert_device_find(&d, "H1000", &e) && test_says(e.text, "no device 'H1000' in the table: there are B200, "));
}

/* A digit that slipped would show. */
TEST(rates_are_plausible)
{
    char names[256], *name, *rest = names;
    mert_device_rates d;
    int n = 0;
    mert_device_names(names, sizeof names);
    while ((name = strtok_r(rest, ", ", &rest))) {
        CHECK(!mert_device_find(&d, name, &e) && !strcmp(d.name, name));
        CHECK(d.half >= 1.9 * d.f32 && d.half < 40 * d.f32);
        CHECK(d.memory >= 20e9 && d.memory < 300e9 && d.bandwidth >= 250e9 && d.bandwidth < 9000e9);
        n++;
    }
    CHECK(n == 12);
}

int main(void)
{
    RUN(names_of_drivers);
    RUN(names_and_numbers);
    RUN(rates_are_plausible);
    return test_done();
}
