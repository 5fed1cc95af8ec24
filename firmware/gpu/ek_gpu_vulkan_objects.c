/* ek_gpu_vulkan_objects.c - layouts of arguments, pools, the fence: what every batch of launches uses. */
#include "ek_gpu_vulkan_core.h"

static bool make_layouts(ek_gpu_vulkan_t *vk)
{
    VkDescriptorSetLayoutBinding bindings[EK_GPU_ARGUMENTS];
    for (uint32_t i = 0; i < EK_GPU_ARGUMENTS; ++i) {
        bindings[i] = (VkDescriptorSetLayoutBinding){
            i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1u, VK_SHADER_STAGE_COMPUTE_BIT, NULL};
    }
    for (uint32_t count = 0; count <= EK_GPU_ARGUMENTS; ++count) {
        const VkDescriptorSetLayoutCreateInfo set = {
            .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
            .bindingCount = count,
            .pBindings = bindings,
        };
        const VkPipelineLayoutCreateInfo layout = {
            .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
            .setLayoutCount = 1u,
            .pSetLayouts = &vk->set_layouts[count],
        };
        if (vk->api.vkCreateDescriptorSetLayout(vk->logical, &set, NULL, &vk->set_layouts[count]) !=
                VK_SUCCESS ||
            vk->api.vkCreatePipelineLayout(vk->logical, &layout, NULL, &vk->layouts[count]) !=
                VK_SUCCESS) {
            return false;
        }
    }
    return true;
}

bool ek_vk_make_objects(ek_gpu_vulkan_t *vk)
{
    static const VkDescriptorPoolSize sizes = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                               EK_VK_BATCH * EK_GPU_ARGUMENTS};
    const VkDescriptorPoolCreateInfo sets = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
        .maxSets = EK_VK_BATCH,
        .poolSizeCount = 1u,
        .pPoolSizes = &sizes,
    };
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = vk->family,
    };
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    const VkQueryPoolCreateInfo queries = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .queryType = VK_QUERY_TYPE_TIMESTAMP,
        .queryCount = 2u * EK_GPU_EVENTS,
    };
    if (!make_layouts(vk) ||
        vk->api.vkCreateDescriptorPool(vk->logical, &sets, NULL, &vk->descriptors) != VK_SUCCESS ||
        vk->api.vkCreateCommandPool(vk->logical, &pool, NULL, &vk->commands) != VK_SUCCESS ||
        vk->api.vkCreateFence(vk->logical, &fence, NULL, &vk->fence) != VK_SUCCESS) {
        return false;
    }
    vk->device.info.timed =
        vk->device.info.timed && vk->nanoseconds > 0.0f &&
        vk->api.vkCreateQueryPool(vk->logical, &queries, NULL, &vk->queries) == VK_SUCCESS;
    const VkCommandBufferAllocateInfo batch = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = vk->commands,
        .commandBufferCount = 1u,
    };
    return vk->api.vkAllocateCommandBuffers(vk->logical, &batch, &vk->batch) == VK_SUCCESS;
}
