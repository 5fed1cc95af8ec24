/* ek_gpu_vulkan_core.h - what the files of the Vulkan device share; nothing for users. */
#ifndef EK_GPU_VULKAN_CORE_H
#define EK_GPU_VULKAN_CORE_H

#include "ek_gpu_core.h"
#include "ek_gpu_vulkan.h"

/* Launches of one batch; a longer inference is several. */
enum { EK_VK_BATCH = 256 };

/* The functions of ek_gpu_device_t. */
ek_gpu_result_t ek_vk_memory(void *self, const ek_gpu_memory_t *memory);
ek_gpu_result_t ek_vk_build(void *self, const ek_gpu_code_t *code);
bool ek_vk_built(void *self, uint32_t function, const char **said);
ek_gpu_result_t ek_vk_write(void *self, uint32_t place, const void *data, uint32_t nbytes);
ek_gpu_result_t ek_vk_read(void *self, uint32_t place, void *data, uint32_t nbytes);
uint8_t *ek_vk_map(void *self, uint32_t place, bool writing);
ek_gpu_result_t ek_vk_unmap(void *self, uint32_t place);
ek_gpu_result_t ek_vk_launch(void *self, uint32_t function, const uint32_t *places, uint32_t count,
                             const uint32_t items[3], const uint32_t group[3], uint32_t event);
ek_gpu_result_t ek_vk_flush(void *self);
ek_gpu_result_t ek_vk_wait(void *self, uint32_t patience_ms);
uint64_t ek_vk_elapsed(void *self, uint32_t event);
void ek_vk_close(void *self);
/* Give back all that was made, without waiting for work. */
void ek_vk_release(ek_gpu_vulkan_t *vk);

/* EK_GPU_OK, or the device is gone. */
ek_gpu_result_t ek_vk_result(ek_gpu_vulkan_t *vk, VkResult status);
/* The pipeline of a function with a local size, made where there is none; 0 where that fails. */
VkHandle ek_vk_pipeline(ek_gpu_vulkan_t *vk, uint32_t function, uint32_t count,
                        const uint32_t group[3]);
/* Write the cache of pipelines to its file. */
void ek_vk_keep_pipelines(ek_gpu_vulkan_t *vk);
/* Layouts, pools and the fence, which need the logical device only; false where one fails. */
bool ek_vk_make_objects(ek_gpu_vulkan_t *vk);

#endif
