/* What a run would need of a device that this machine does not have (mert-train --plan --device cuda:NAME): memory, and
 * a lower bound for the time of an update, from the device's published rates.
 *
 * Rates are those of NVIDIA's data sheets, of one device, without sparsity: H200, H100, A100, L40S and L4 from "NVIDIA
 * H200 Tensor Core GPU", "NVIDIA H100 Tensor Core GPU", "NVIDIA A100 Tensor Core GPU", "NVIDIA L40S", "NVIDIA L4 Tensor
 * Core GPU"; B200 from "NVIDIA Blackwell Architecture Technical Brief" (HGX B200, with its actual memory of 192 GB);
 * RTX 4090 from "NVIDIA Ada GPU Architecture", appendix A. 16-bit rates are those of bfloat16 and float16 with sums in
 * float32; float32 rates are those without TF32.
 *
 * Memory is the sum of weights, gradients and moments as in budget.h; activations as counted by the dry backend, for a
 * backend that packs nothing and processes all rows at once (this includes 16-bit copies of the weights); scratch
 * memory of products and of the largest operation; and RESERVED bytes for driver and libraries, which are an allowance,
 * not a measurement.
 *
 * The time of an update is at least the longer of
 *     products   operations of models/flops.h / rate for the recipe's precision, and those of the CQT targets of masked
 *                frames (cqt_device.h) / rate for float32
 *     memory     (2 activations of its batches + 2 weights as elements for each batch + gradients read and written for
 *                each batch + 32 bytes for each own parameter: weights, gradients and moments read, weights and moments
 *                written, gradients cleared) / bandwidth
 * because activations are written at least once and read at least once. The bound leaves out exchange between devices,
 * transfers from the host, and memory accesses beyond this minimum. So no run is faster, and real runs are slower. */
#ifndef MERT_DEVICE_RATES_H
#define MERT_DEVICE_RATES_H

#include "libcommon/train/monitor/budget.h"

typedef struct mert_device_rates {
    const char *name;      /* as in --device cuda:NAME */
    const char *part[2];   /* words that must be in the name that the driver gives it; NULL: none */
    double memory;         /* bytes */
    double f32, half;      /* operations per second; a multiplication and an addition are two */
    double bandwidth;      /* bytes per second */
} mert_device_rates;

/* Finds the device by its name in the table (upper or lower case), or from GB/F32/HALF/BANDWIDTH: memory in 10^9 bytes,
 * TFLOP/s of float32 and of 16 bits, GB/s. Otherwise an error that lists the names. */
int mert_device_find(mert_device_rates *d, const char *name, mert_error *e) MERT_MUST_USE;
/* Finds the device by the name that its driver gives it, such as "NVIDIA H100 80GB HBM3". -1: it is not in the table.
 * Laptop devices have other rates and are not recognised. */
int mert_device_recognise(mert_device_rates *d, const char *full_name);
/* The names of the table, separated by commas. */
void mert_device_names(char *to, size_t size);

typedef struct mert_device_plan {
    /* bytes on each device */
    double weights, gradients, moments, activations, workspace, reserved, all;
    /* lower bounds in seconds for an update: of products, of CQT targets, of memory, of all */
    double products, targets, memory, update;
} mert_device_plan;

/* As mert_budget_make; b: the budget on this device. */
int mert_device_budget(mert_device_plan *p, mert_budget *b, const mert_device_rates *d, const mert_recipe *r,
                       const mert_corpus *c, const mert_corpus *v, int ranks, mert_sharding sharding,
                       const char *offload, mert_error *e) MERT_MUST_USE;
/* If p needs more memory than the device has: the settings with which it would fit, "--recompute (51.3 GB), ...", or
 * that none of those tried is enough. "": it fits. */
int mert_device_advice(char *to, size_t size, const mert_device_plan *p, const mert_device_rates *d,
                       const mert_recipe *r, const mert_corpus *c, const mert_corpus *v, int ranks,
                       mert_sharding sharding, const char *offload, mert_error *e) MERT_MUST_USE;

#endif
