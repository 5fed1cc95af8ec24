/* ek_app_host.c - the interpreter as a library in a host process, which supplies the bundle. */
#include "edgekit.h"
#include "ek_app.h"
#include "model_config.h"

extern const ek_kernel_t ek_kernels[];
extern const uint32_t ek_kernel_count;

static const void *bundle;
static size_t bundle_bytes;
static ek_model_t model;
static const ek_kernel_t *slots[EK_MODEL_KERNELS];
static uint8_t arena[EK_MODEL_ARENA_BYTES] __attribute__((aligned(16)));

/* Set the bundle that ek_app_open will open; 16-byte aligned, and it stays the caller's. */
void ek_host_bundle(const void *data, size_t nbytes);
void ek_host_bundle(const void *data, size_t nbytes)
{
    bundle = data;
    bundle_bytes = nbytes;
}

int32_t ek_app_open(ek_app_info_t *info)
{
    (void)info;
    return (int32_t)ek_open(&model, bundle, bundle_bytes, ek_kernels, ek_kernel_count, slots,
                            EK_MODEL_KERNELS, arena, sizeof arena);
}

uint8_t *ek_app_input(uint32_t index, uint32_t *bytes) { return ek_input(&model, index, bytes); }

const uint8_t *ek_app_output(uint32_t index, uint32_t *bytes)
{
    return ek_output(&model, index, bytes);
}

int32_t ek_app_invoke(void) { return (int32_t)ek_invoke(&model); }

int32_t ek_app_reset(void) { return (int32_t)ek_reset(&model); }
