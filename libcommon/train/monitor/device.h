/* What a run would need of a device that is not here (mert-train --plan --device cuda:NAME): memory, and the least time
 * of an update by the device's published rates.
 *
 * Rates are those of NVIDIA's data sheets, of one device, without sparsity: H200, H100, A100, L40S and L4 from "NVIDIA
 * H200 Tensor Core GPU", "NVIDIA H100 Tensor Core GPU", "NVIDIA A100 Tensor Core GPU", "NVIDIA L40S", "NVIDIA L4 Tensor
 * Core GPU"; B200 from "NVIDIA Blackwell Architecture Technical Brief" (HGX B200, with the memory that it has of 192
 * GB); RTX 4090 from "NVIDIA Ada GPU Architecture", appendix A. 16-bit rates are those of bfloat16 and
 * float16 with sums in float32, float32 rates those without TF32.
 *
 * Memory: weights, gradients and moments as in budget.h; activations as counted by the dry backend for a backend that
 * packs nothing and takes everything at once (16-bit copies of the weights are among them); what products and the
 * largest operation work in; and RESERVED bytes for driver and libraries, which is an allowance, not a measurement.
 *
 * Least time of an update: the longer of
 *     products   operations of models/flops.h / rate for the recipe's precision
 *     memory     (2 activations of its batches + 2 weights as elements for each batch + gradients read and written for
 *                each batch + 32 bytes for each own parameter: weights, gradients and moments read, weights and moments
 *                written, gradients cleared) / bandwidth
 * What a batch keeps is written once and read once at least. Exchange between devices, transfers from the host, and
 * everything that is done more often than it must be come on top: no run is faster, and real ones take longer. */
#ifndef MERT_DEVICE_RATES_H
#define MERT_DEVICE_RATES_H

#include "libcommon/train/monitor/budget.h"

typedef struct mert_device_rates {
    const char *name;      /* as in --device cuda:NAME */
    const char *part[2];   /* words that the driver's name of it has in it; NULL: nothing more */
    double memory;         /* bytes */
    double f32, half;      /* operations per second, a multiplication and an addition being two */
    double bandwidth;      /* bytes per second */
} mert_device_rates;

/* A name of the table, in capitals or not; or GB/F32/HALF/BANDWIDTH: memory in 10^9 bytes, TFLOP/s of float32 and of 16
 * bits, GB/s. -1: neither; the message lists the names. */
int mert_device_find(mert_device_rates *d, const char *name, mert_error *e) MERT_MUST_USE;
/* By the name that its driver gives it, "NVIDIA H100 80GB HBM3". -1: it is not in the table. Those of
 * laptops, which have other rates, are not. */
int mert_device_recognise(mert_device_rates *d, const char *full_name);
/* The names, with commas. */
void mert_device_names(char *to, size_t size);

typedef struct mert_device_plan {
    /* bytes on each device */
    double weights, gradients, moments, activations, workspace, reserved, all;
    double products, memory, update; /* seconds of an update: at least, of products, of memory, of both */
} mert_device_plan;

/* As mert_budget_make; b: the budget on this device. */
int mert_device_budget(mert_device_plan *p, mert_budget *b, const mert_device_rates *d, const mert_recipe *r,
                       const mert_corpus *c, const mert_corpus *v, int ranks, mert_sharding sharding,
                       const char *offload, mert_error *e) MERT_MUST_USE;
/* Where p takes more than the device has: the settings that would fit, "--recompute (51.3 GB), ...", or that none of
 * those tried does. "": it fits. */
int mert_device_advice(char *to, size_t size, const mert_device_plan *p, const mert_device_rates *d,
                       const mert_recipe *r, const mert_corpus *c, const mert_corpus *v, int ranks,
                       mert_sharding sharding, const char *offload, mert_error *e) MERT_MUST_USE;

#endif
