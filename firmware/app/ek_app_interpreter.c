/* ek_app_interpreter.c - the device program's model as a bundle in flash, run by the interpreter. */
#include "edgekit.h"
#include "ek_app.h"
#include "model_config.h"

extern const uint8_t ek_bundle_start[];
extern const uint8_t ek_bundle_end[];
extern const ek_kernel_t ek_kernels[];
extern const uint32_t ek_kernel_count;

static ek_model_t model;
static const ek_kernel_t *slots[EK_MODEL_KERNELS];
static uint8_t arena[EK_MODEL_ARENA_BYTES] __attribute__((aligned(16)));

int32_t ek_app_open(ek_app_info_t *info)
{
    const ek_status_t status =
        ek_open(&model, ek_bundle_start, (size_t)(ek_bundle_end - ek_bundle_start), ek_kernels,
                ek_kernel_count, slots, EK_MODEL_KERNELS, arena, sizeof arena);
    info->mode = "interpreter";
    for (uint32_t i = 0; i < sizeof info->model_hash; ++i) {
        info->model_hash[i] = model.hash[i];
    }
    info->inputs = (uint16_t)model.input_count;
    info->outputs = (uint16_t)model.output_count;
    info->layers = (uint16_t)model.call_count;
    info->arena_bytes = model.arena_bytes;
    return (int32_t)status;
}

uint8_t *ek_app_input(uint32_t index, uint32_t *bytes) { return ek_input(&model, index, bytes); }

const uint8_t *ek_app_output(uint32_t index, uint32_t *bytes)
{
    return ek_output(&model, index, bytes);
}

int32_t ek_app_invoke(void) { return (int32_t)ek_invoke(&model); }

int32_t ek_app_reset(void) { return (int32_t)ek_reset(&model); }
