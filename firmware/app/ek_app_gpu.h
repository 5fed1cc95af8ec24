/* What the device program of a model on a GPU tells beyond ek_app.h. */
#ifndef EK_APP_GPU_H
#define EK_APP_GPU_H

#include <stdint.h>

/* Prepare the GPU, which may take minutes at the first start, and say line `index` of what there is
 * to know of it, "" behind the last. A line is a word, a space and a text: "device", "driver", "api",
 * "cpu" (it computes on one), "layer" and its number (what computes it and why), "said" (what there
 * was to say), "why" (why there is no device). */
const char *ek_app_gpu_line(uint32_t index);

/* `ek_gpu_time`; returns the verdict, `detail` as there. */
uint32_t ek_app_gpu_time(uint32_t layer, uint32_t variant, const uint8_t *sizes, uint32_t size_count,
                         uint32_t repeat, uint32_t *detail, uint64_t *ns);

/* A tuning file in pieces, to be kept for the next start; no bytes at the end, `offset` being its
 * size. 0 where that worked. */
int32_t ek_app_gpu_tuning(uint32_t offset, const uint8_t *data, uint32_t nbytes);

#endif
