/* ek_gpu_vulkan.h - devices of Vulkan 1.1 and later for ek_gpu.h. The library is loaded at run time.
 *
 * Functions are the SPIR-V of the bundle, a pipeline for each local size that is taken. Memory is one
 * buffer that the CPU sees too, of which places are ranges. The driver's cache of pipelines is kept in
 * the folder of ek_gpu_code_t; a file that is damaged, or that the driver does not take, is written
 * again. */
#ifndef EK_GPU_VULKAN_H
#define EK_GPU_VULKAN_H

#include "ek_gpu.h"
#include "ek_gpu_loader.h"
#include "ek_gpu_vulkan_api.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    /* How the library is loaded; must be there. */
    const ek_gpu_loader_t *loader;
    /* The shared library; NULL or "": the system's libvulkan. */
    const char *library;
    /* Part of "Vulkan / DEVICE" in any case of letters, or "gpu": a device that says it is a GPU.
     * NULL or "": the first GPU, or where there is none the first device. */
    const char *device;
} ek_gpu_vulkan_settings_t;

/* A function with one local size. */
typedef struct {
    uint32_t function;
    uint32_t group[3];
    uint32_t count; /* of arguments */
    VkHandle handle;
} ek_gpu_pipeline_t;

typedef struct {
    ek_gpu_device_t device;
    ek_vk_api_t api;
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice logical;
    VkQueue queue;
    uint32_t family;
    float nanoseconds;      /* of a tick of timestamps */
    uint32_t alignment;     /* of places, bytes */
    uint32_t memory_type;
    VkHandle buffer, memory;
    uint8_t *bytes;         /* of the buffer, for the CPU */
    ek_gpu_place_t *places;
    uint64_t *offsets;      /* of each place, in the buffer */
    uint32_t place_count;
    VkHandle *modules;      /* of each function */
    char (*names)[64];
    uint32_t function_count;
    ek_gpu_pipeline_t *pipelines;
    uint32_t pipeline_count, pipeline_most, fresh;
    VkHandle cache;
    VkHandle set_layouts[EK_GPU_ARGUMENTS + 1u], layouts[EK_GPU_ARGUMENTS + 1u];
    VkHandle descriptors, commands, fence, queries;
    VkCommandBuffer batch;
    uint32_t batch_sets;    /* launches in it */
    bool recording, submitted, gone;
    uint8_t *scratch;       /* a file */
    uint32_t scratch_bytes;
    char path[1024];
} ek_gpu_vulkan_t;

/* Bytes of memory that ek_gpu_vulkan_open wants for this model, with room for a cache of
 * `cache_bytes`; a larger one is not kept. */
size_t ek_gpu_vulkan_bytes(const ek_model_t *model, uint32_t cache_bytes);

/* Open a device. NULL where there is none, and `why` (of `size` bytes) says so. `memory` is 16-byte
 * aligned and must be as large as ek_gpu_vulkan_bytes says for `model` and `cache_bytes`. */
ek_gpu_device_t *ek_gpu_vulkan_open(ek_gpu_vulkan_t *vulkan, const ek_model_t *model, void *memory,
                                    uint32_t cache_bytes, const ek_gpu_vulkan_settings_t *settings,
                                    char *why, size_t size);

#ifdef __cplusplus
}
#endif

#endif
