/* ek_gpu_vulkan.c - memory, launches and waiting through Vulkan; finding a device is in
 * ek_gpu_vulkan_open.c, shaders and pipelines are in ek_gpu_vulkan_build.c.
 *
 * Launches are recorded into one batch of commands. The CPU touches memory only when no batch is
 * under way. */
#include "ek_gpu_vulkan_core.h"

#include <string.h>

enum { PLACE_ALIGN = 128 };
/* The patience of what waits on the way: the caller's own is for whole inferences. */
enum { SYNC_MS = 20000 };

ek_gpu_result_t ek_vk_result(ek_gpu_vulkan_t *vk, VkResult status)
{
    if (status == VK_SUCCESS) {
        return EK_GPU_OK;
    }
    vk->gone = true;
    return status == VK_TIMEOUT ? EK_GPU_TOO_SLOW : EK_GPU_GONE;
}

/* ---- memory */

/* Where each place lies: the arena and then the constants, or where the device wants a larger
 * alignment than places have, one after the other. Returns the bytes of all. */
static uint64_t arrange(ek_gpu_vulkan_t *vk, const ek_gpu_memory_t *memory)
{
    const bool apart = vk->alignment > PLACE_ALIGN;
    const uint64_t arena = (memory->arena_bytes + UINT64_C(255)) / 256u * 256u;
    uint64_t at = 0u;
    for (uint32_t i = 0; i < memory->place_count; ++i) {
        const ek_gpu_place_t *p = &memory->places[i];
        if (apart) {
            at = (at + vk->alignment - 1u) / vk->alignment * vk->alignment;
            vk->offsets[i] = at;
            at += p->nbytes;
        } else {
            vk->offsets[i] = p->offset + (p->space == EK_GPU_ARENA ? 0u : arena);
        }
    }
    const uint64_t all = apart ? at : arena + memory->constants.nbytes;
    return all == 0u ? 256u : all;
}

ek_gpu_result_t ek_vk_memory(void *self, const ek_gpu_memory_t *memory)
{
    ek_gpu_vulkan_t *vk = self;
    memcpy(vk->places, memory->places, memory->place_count * sizeof *vk->places);
    vk->place_count = memory->place_count;
    const VkBufferCreateInfo about = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = arrange(vk, memory),
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
    };
    VkMemoryRequirements needs;
    if (vk->api.vkCreateBuffer(vk->logical, &about, NULL, &vk->buffer) != VK_SUCCESS) {
        return EK_GPU_REFUSED;
    }
    vk->api.vkGetBufferMemoryRequirements(vk->logical, vk->buffer, &needs);
    const VkMemoryAllocateInfo wanted = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .allocationSize = needs.size,
        .memoryTypeIndex = vk->memory_type,
    };
    void *bytes = NULL;
    if ((needs.memoryTypeBits & (UINT32_C(1) << vk->memory_type)) == 0u ||
        vk->api.vkAllocateMemory(vk->logical, &wanted, NULL, &vk->memory) != VK_SUCCESS ||
        vk->api.vkBindBufferMemory(vk->logical, vk->buffer, vk->memory, 0u) != VK_SUCCESS ||
        vk->api.vkMapMemory(vk->logical, vk->memory, 0u, VK_WHOLE_SIZE, 0u, &bytes) != VK_SUCCESS) {
        return EK_GPU_REFUSED;
    }
    vk->bytes = bytes;
    for (uint32_t i = 0; i < memory->place_count; ++i) {
        const ek_gpu_place_t *p = &memory->places[i];
        if (p->space == EK_GPU_CONSTANTS) {
            memcpy(vk->bytes + vk->offsets[i], memory->constants.data + p->offset, p->nbytes);
        }
    }
    return EK_GPU_OK;
}

/* Nothing is under way any more, and what was written is there to be read. */
static ek_gpu_result_t settle(ek_gpu_vulkan_t *vk)
{
    return vk->recording || vk->submitted ? ek_vk_wait(vk, SYNC_MS)
                                          : (vk->gone ? EK_GPU_GONE : EK_GPU_OK);
}

ek_gpu_result_t ek_vk_write(void *self, uint32_t place, const void *data, uint32_t nbytes)
{
    ek_gpu_vulkan_t *vk = self;
    const ek_gpu_result_t result = settle(vk);
    if (result == EK_GPU_OK) {
        memcpy(vk->bytes + vk->offsets[place], data, nbytes);
    }
    return result;
}

ek_gpu_result_t ek_vk_read(void *self, uint32_t place, void *data, uint32_t nbytes)
{
    ek_gpu_vulkan_t *vk = self;
    const ek_gpu_result_t result = settle(vk);
    if (result == EK_GPU_OK) {
        memcpy(data, vk->bytes + vk->offsets[place], nbytes);
    }
    return result;
}

uint8_t *ek_vk_map(void *self, uint32_t place, bool writing)
{
    ek_gpu_vulkan_t *vk = self;
    (void)writing;
    return settle(vk) == EK_GPU_OK ? vk->bytes + vk->offsets[place] : NULL;
}

ek_gpu_result_t ek_vk_unmap(void *self, uint32_t place)
{
    ek_gpu_vulkan_t *vk = self;
    (void)place;
    return vk->gone ? EK_GPU_GONE : EK_GPU_OK;
}

/* ---- launches */

static ek_gpu_result_t begin(ek_gpu_vulkan_t *vk)
{
    static const VkCommandBufferBeginInfo once = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
    };
    if (vk->recording) {
        return EK_GPU_OK;
    }
    VkResult status = vk->api.vkResetDescriptorPool(vk->logical, vk->descriptors, 0u);
    if (status == VK_SUCCESS) {
        status = vk->api.vkBeginCommandBuffer(vk->batch, &once);
    }
    vk->recording = status == VK_SUCCESS;
    vk->batch_sets = 0u;
    return ek_vk_result(vk, status);
}

static bool set_of(ek_gpu_vulkan_t *vk, const uint32_t *places, uint32_t count, VkHandle *set)
{
    VkDescriptorBufferInfo ranges[EK_GPU_ARGUMENTS];
    VkWriteDescriptorSet writes[EK_GPU_ARGUMENTS];
    const VkDescriptorSetAllocateInfo wanted = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = vk->descriptors,
        .descriptorSetCount = 1u,
        .pSetLayouts = &vk->set_layouts[count],
    };
    if (vk->api.vkAllocateDescriptorSets(vk->logical, &wanted, set) != VK_SUCCESS) {
        return false;
    }
    for (uint32_t i = 0; i < count; ++i) {
        const uint64_t whole_words = (vk->places[places[i]].nbytes + UINT64_C(3)) / 4u * 4u;
        ranges[i] = (VkDescriptorBufferInfo){vk->buffer, vk->offsets[places[i]], whole_words};
        writes[i] = (VkWriteDescriptorSet){
            .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
            .dstSet = *set,
            .dstBinding = i,
            .descriptorCount = 1u,
            .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
            .pBufferInfo = &ranges[i],
        };
    }
    vk->api.vkUpdateDescriptorSets(vk->logical, count, writes, 0u, NULL);
    return true;
}

/* What a launch writes is there for the next one. */
static void barrier(ek_gpu_vulkan_t *vk, VkFlags stage, VkFlags access)
{
    const VkMemoryBarrier all = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
        .dstAccessMask = access,
    };
    vk->api.vkCmdPipelineBarrier(vk->batch, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, stage, 0u, 1u,
                                 &all, 0u, NULL, 0u, NULL);
}

ek_gpu_result_t ek_vk_launch(void *self, uint32_t function, const uint32_t *places, uint32_t count,
                             const uint32_t items[3], const uint32_t group[3], uint32_t event)
{
    ek_gpu_vulkan_t *vk = self;
    VkHandle set = 0u;
    if (vk->gone) {
        return EK_GPU_GONE;
    }
    if (vk->modules[function] == 0u) {
        return EK_GPU_NOT_BUILT;
    }
    for (uint32_t i = 0; i < 3u; ++i) {
        if (group[i] == 0u || group[i] > vk->device.info.group_size[i] ||
            items[i] % group[i] != 0u) {
            return EK_GPU_REFUSED;
        }
    }
    if (count > EK_GPU_ARGUMENTS ||
        (uint64_t)group[0] * group[1] * group[2] > vk->device.info.group_items) {
        return EK_GPU_REFUSED;
    }
    const VkHandle pipeline = ek_vk_pipeline(vk, function, count, group);
    if (pipeline == 0u) {
        return EK_GPU_REFUSED;
    }
    ek_gpu_result_t result = EK_GPU_OK;
    if (vk->submitted || (vk->recording && vk->batch_sets == (uint32_t)EK_VK_BATCH)) {
        result = ek_vk_wait(vk, SYNC_MS);
    }
    result = result == EK_GPU_OK ? begin(vk) : result;
    if (result != EK_GPU_OK) {
        return result;
    }
    if (!set_of(vk, places, count, &set)) {
        return EK_GPU_REFUSED;
    }
    vk->batch_sets += 1u;
    const bool told = event < EK_GPU_EVENTS && vk->device.info.timed;
    if (told) {
        vk->api.vkCmdResetQueryPool(vk->batch, vk->queries, 2u * event, 2u);
        vk->api.vkCmdWriteTimestamp(vk->batch, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, vk->queries,
                                    2u * event);
    }
    vk->api.vkCmdBindPipeline(vk->batch, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk->api.vkCmdBindDescriptorSets(vk->batch, VK_PIPELINE_BIND_POINT_COMPUTE, vk->layouts[count],
                                    0u, 1u, &set, 0u, NULL);
    vk->api.vkCmdDispatch(vk->batch, items[0] / group[0], items[1] / group[1],
                          items[2] / group[2]);
    if (told) {
        vk->api.vkCmdWriteTimestamp(vk->batch, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, vk->queries,
                                    2u * event + 1u);
    }
    barrier(vk, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
            VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
    return EK_GPU_OK;
}

ek_gpu_result_t ek_vk_flush(void *self)
{
    ek_gpu_vulkan_t *vk = self;
    if (vk->gone || !vk->recording) {
        return vk->gone ? EK_GPU_GONE : EK_GPU_OK;
    }
    const VkSubmitInfo batch = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .commandBufferCount = 1u,
        .pCommandBuffers = &vk->batch,
    };
    barrier(vk, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
    vk->recording = false;
    VkResult status = vk->api.vkEndCommandBuffer(vk->batch);
    if (status == VK_SUCCESS) {
        status = vk->api.vkResetFences(vk->logical, 1u, &vk->fence);
    }
    if (status == VK_SUCCESS) {
        status = vk->api.vkQueueSubmit(vk->queue, 1u, &batch, vk->fence);
    }
    vk->submitted = status == VK_SUCCESS;
    return ek_vk_result(vk, status);
}

ek_gpu_result_t ek_vk_wait(void *self, uint32_t patience_ms)
{
    ek_gpu_vulkan_t *vk = self;
    const uint32_t pipelines = vk->fresh;
    ek_gpu_result_t result = ek_vk_flush(vk);
    if (result == EK_GPU_OK && vk->submitted) {
        vk->submitted = false;
        result = ek_vk_result(vk, vk->api.vkWaitForFences(vk->logical, 1u, &vk->fence, 1u,
                                                          patience_ms * UINT64_C(1000000)));
    }
    if (result == EK_GPU_OK && pipelines != 0u) {
        vk->fresh += 1u; /* batches since the last new pipeline */
        if (vk->fresh > 2u) {
            ek_vk_keep_pipelines(vk);
        }
    }
    return result;
}

uint64_t ek_vk_elapsed(void *self, uint32_t event)
{
    ek_gpu_vulkan_t *vk = self;
    uint64_t ticks[2] = {0u, 0u};
    if (vk->gone || !vk->device.info.timed || event >= EK_GPU_EVENTS ||
        vk->api.vkGetQueryPoolResults(vk->logical, vk->queries, 2u * event, 2u, sizeof ticks, ticks,
                                      sizeof ticks[0], VK_QUERY_RESULT_64_BIT) != VK_SUCCESS) {
        return 0u;
    }
    return ticks[1] > ticks[0] ? (uint64_t)((double)(ticks[1] - ticks[0]) * vk->nanoseconds) : 0u;
}

/* Destroying waits for what is under way: not on a device that is gone. */
/* What was never made is VK_NULL_HANDLE, which these functions ignore. */
static void release_device(ek_gpu_vulkan_t *vk)
{
    for (uint32_t i = 0; i < vk->pipeline_count; ++i) {
        vk->api.vkDestroyPipeline(vk->logical, vk->pipelines[i].handle, NULL);
    }
    for (uint32_t i = 0; i < vk->function_count; ++i) {
        vk->api.vkDestroyShaderModule(vk->logical, vk->modules[i], NULL);
    }
    for (uint32_t i = 0; i <= EK_GPU_ARGUMENTS; ++i) {
        vk->api.vkDestroyPipelineLayout(vk->logical, vk->layouts[i], NULL);
        vk->api.vkDestroyDescriptorSetLayout(vk->logical, vk->set_layouts[i], NULL);
    }
    vk->api.vkDestroyPipelineCache(vk->logical, vk->cache, NULL);
    vk->api.vkDestroyQueryPool(vk->logical, vk->queries, NULL);
    vk->api.vkDestroyFence(vk->logical, vk->fence, NULL);
    vk->api.vkDestroyCommandPool(vk->logical, vk->commands, NULL);
    vk->api.vkDestroyDescriptorPool(vk->logical, vk->descriptors, NULL);
    vk->api.vkDestroyBuffer(vk->logical, vk->buffer, NULL);
    vk->api.vkFreeMemory(vk->logical, vk->memory, NULL);
    vk->api.vkDestroyDevice(vk->logical, NULL);
}

void ek_vk_release(ek_gpu_vulkan_t *vk)
{
    if (vk->logical != NULL) {
        release_device(vk);
    }
    vk->api.vkDestroyInstance(vk->instance, NULL);
    vk->gone = true;
}

void ek_vk_close(void *self)
{
    ek_gpu_vulkan_t *vk = self;
    if (!vk->gone && settle(vk) == EK_GPU_OK) {
        ek_vk_keep_pipelines(vk);
        ek_vk_release(vk);
    }
}
