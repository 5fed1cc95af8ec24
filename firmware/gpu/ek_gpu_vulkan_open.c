/* ek_gpu_vulkan_open.c - the library, and a device that can run the bundles' shaders. */
#include "ek_gpu_vulkan_core.h"

#include <string.h>

enum { DEVICES = 16, FAMILIES = 16, ALIGN = 16 };

/* ---- the library */

#define ENTRY(name) {#name, offsetof(ek_vk_api_t, name)}
static const ek_gpu_symbol_t symbols[] = {
    ENTRY(vkCreateInstance), ENTRY(vkDestroyInstance), ENTRY(vkEnumeratePhysicalDevices),
    ENTRY(vkGetPhysicalDeviceProperties), ENTRY(vkGetPhysicalDeviceFeatures2),
    ENTRY(vkGetPhysicalDeviceQueueFamilyProperties), ENTRY(vkGetPhysicalDeviceMemoryProperties),
    ENTRY(vkCreateDevice), ENTRY(vkDestroyDevice), ENTRY(vkGetDeviceQueue), ENTRY(vkCreateBuffer),
    ENTRY(vkDestroyBuffer), ENTRY(vkGetBufferMemoryRequirements), ENTRY(vkAllocateMemory),
    ENTRY(vkFreeMemory), ENTRY(vkBindBufferMemory), ENTRY(vkMapMemory), ENTRY(vkCreateShaderModule),
    ENTRY(vkDestroyShaderModule), ENTRY(vkCreatePipelineCache), ENTRY(vkDestroyPipelineCache),
    ENTRY(vkGetPipelineCacheData), ENTRY(vkCreateComputePipelines), ENTRY(vkDestroyPipeline),
    ENTRY(vkCreateDescriptorSetLayout), ENTRY(vkDestroyDescriptorSetLayout),
    ENTRY(vkCreatePipelineLayout), ENTRY(vkDestroyPipelineLayout), ENTRY(vkCreateDescriptorPool),
    ENTRY(vkDestroyDescriptorPool), ENTRY(vkResetDescriptorPool), ENTRY(vkAllocateDescriptorSets),
    ENTRY(vkUpdateDescriptorSets), ENTRY(vkCreateCommandPool), ENTRY(vkDestroyCommandPool),
    ENTRY(vkAllocateCommandBuffers), ENTRY(vkBeginCommandBuffer), ENTRY(vkEndCommandBuffer),
    ENTRY(vkCmdBindPipeline), ENTRY(vkCmdBindDescriptorSets), ENTRY(vkCmdDispatch),
    ENTRY(vkCmdPipelineBarrier), ENTRY(vkCreateQueryPool), ENTRY(vkDestroyQueryPool),
    ENTRY(vkCmdResetQueryPool), ENTRY(vkCmdWriteTimestamp), ENTRY(vkGetQueryPoolResults),
    ENTRY(vkCreateFence), ENTRY(vkDestroyFence), ENTRY(vkResetFences), ENTRY(vkWaitForFences),
    ENTRY(vkQueueSubmit),
};

static const char *const names[] = {"libvulkan.so.1", "libvulkan.so"};
static const ek_gpu_library_t library = {
    "Vulkan", names, sizeof names / sizeof names[0], symbols, sizeof symbols / sizeof symbols[0]};

/* ---- devices */

/* The features that the shaders ask for, all that are chained to `base`. */
typedef struct {
    VkPhysicalDeviceFeatures2 base;
    VkPhysicalDevice8BitStorageFeatures bytes;
    VkPhysicalDevice16BitStorageFeatures halves;
    VkPhysicalDeviceShaderFloat16Int8Features numbers;
} features_t;

static void chain(features_t *f)
{
    memset(f, 0, sizeof *f);
    f->base.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    f->base.pNext = &f->bytes;
    f->bytes.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES;
    f->bytes.pNext = &f->halves;
    f->halves.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES;
    f->halves.pNext = &f->numbers;
    f->numbers.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT16_INT8_FEATURES;
}

/* Only what is there and used is asked for. */
static bool can_run(ek_gpu_vulkan_t *vk, VkPhysicalDevice id, features_t *wanted)
{
    features_t has;
    chain(&has);
    chain(wanted);
    vk->api.vkGetPhysicalDeviceFeatures2(id, &has.base);
    wanted->bytes.storageBuffer8BitAccess = has.bytes.storageBuffer8BitAccess;
    wanted->halves.storageBuffer16BitAccess = has.halves.storageBuffer16BitAccess;
    wanted->numbers.shaderInt8 = has.numbers.shaderInt8;
    wanted->base.features.shaderInt16 = has.base.features.shaderInt16;
    wanted->base.features.shaderInt64 = has.base.features.shaderInt64;
    return has.bytes.storageBuffer8BitAccess != 0u && has.numbers.shaderInt8 != 0u;
}

static bool find_device(ek_gpu_vulkan_t *vk, const char *asked, features_t *wanted, char *why,
                        size_t size)
{
    VkPhysicalDevice ids[DEVICES];
    VkPhysicalDeviceProperties p;
    uint32_t count = DEVICES, best = 0u, able = 0u;
    const VkResult status = vk->api.vkEnumeratePhysicalDevices(vk->instance, &count, ids);
    if (status != VK_SUCCESS && status != VK_INCOMPLETE) {
        count = 0u;
    }
    for (uint32_t i = 0; i < count && i < DEVICES; ++i) {
        features_t its;
        vk->api.vkGetPhysicalDeviceProperties(ids[i], &p);
        if (p.apiVersion < VK_MAKE_VERSION(1, 1) || !can_run(vk, ids[i], &its)) {
            continue;
        }
        able += 1u;
        p.deviceName[sizeof p.deviceName - 1u] = '\0';
        const uint32_t how = ek_gpu_suits(p.deviceType != VK_PHYSICAL_DEVICE_TYPE_CPU, "Vulkan",
                                          p.deviceName, asked);
        if (how > best) {
            best = how;
            vk->physical = ids[i];
        }
    }
    const char *const nothing =
        count == 0u  ? "Vulkan has no device"
        : able == 0u ? "Vulkan's devices have no 8-bit integers in shaders and buffers" : NULL;
    if (best == 0u) {
        return ek_gpu_no_device(why, size, nothing, "Vulkan", asked);
    }
    return can_run(vk, vk->physical, wanted);
}

static bool find_family(ek_gpu_vulkan_t *vk)
{
    VkQueueFamilyProperties families[FAMILIES];
    uint32_t count = FAMILIES;
    vk->api.vkGetPhysicalDeviceQueueFamilyProperties(vk->physical, &count, families);
    for (uint32_t i = 0; i < count; ++i) {
        if ((families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) != 0u && families[i].queueCount != 0u) {
            vk->family = i;
            vk->device.info.timed = families[i].timestampValidBits != 0u;
            return true;
        }
    }
    return false;
}

/* The best memory that the CPU sees without flushing. */
static bool find_memory(ek_gpu_vulkan_t *vk)
{
    enum {
        NEEDED = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
        SHARED = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
    };
    VkPhysicalDeviceMemoryProperties m;
    uint32_t best = 0u;
    vk->api.vkGetPhysicalDeviceMemoryProperties(vk->physical, &m);
    for (uint32_t i = 0; i < m.memoryTypeCount && i < 32u; ++i) {
        const VkFlags has = m.memoryTypes[i].propertyFlags;
        const uint32_t how = (has & (VkFlags)NEEDED) != (VkFlags)NEEDED ? 0u :
                             1u + ((has & (VkFlags)SHARED) != 0u ? 2u : 0u) +
                             ((has & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0u ? 1u : 0u);
        if (how > best) {
            best = how;
            vk->memory_type = i;
            vk->device.info.unified = (has & (VkFlags)SHARED) != 0u;
        }
    }
    return best != 0u;
}

static void add_version(ek_gpu_info_t *info, const char *before, uint32_t number)
{
    ek_gpu_text_add(info->driver, sizeof info->driver, before);
    ek_gpu_text_number(info->driver, sizeof info->driver, number);
}

static void describe(ek_gpu_vulkan_t *vk)
{
    VkPhysicalDeviceProperties p;
    ek_gpu_info_t *info = &vk->device.info;
    vk->api.vkGetPhysicalDeviceProperties(vk->physical, &p);
    p.deviceName[sizeof p.deviceName - 1u] = '\0';
    ek_gpu_text_add(info->api, sizeof info->api, "Vulkan");
    ek_gpu_text_add(info->name, sizeof info->name, p.deviceName);
    add_version(info, "", p.driverVersion >> 22);
    add_version(info, ".", p.driverVersion >> 12 & 0x3FFu);
    add_version(info, ".", p.driverVersion & 0xFFFu);
    add_version(info, "; Vulkan ", p.apiVersion >> 22);
    add_version(info, ".", p.apiVersion >> 12 & 0x3FFu);
    info->group_items = p.limits.maxComputeWorkGroupInvocations;
    memcpy(info->group_size, p.limits.maxComputeWorkGroupSize, sizeof info->group_size);
    info->local_bytes = p.limits.maxComputeSharedMemorySize;
    info->is_cpu = p.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    vk->nanoseconds = p.limits.timestampPeriod;
    const VkDeviceSize alignment = p.limits.minStorageBufferOffsetAlignment;
    vk->alignment = alignment == 0u || alignment > 65536u ? 256u : (uint32_t)alignment;
}

/* ---- opening */

static bool make_instance(ek_gpu_vulkan_t *vk)
{
    static const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "edgekit",
        .apiVersion = VK_MAKE_VERSION(1, 1),
    };
    const VkInstanceCreateInfo about = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &application,
    };
    return vk->api.vkCreateInstance(&about, NULL, &vk->instance) == VK_SUCCESS;
}

/* In Vulkan 1.2 these are part of the standard. */
static const char *const extensions[] = {
    "VK_KHR_8bit_storage", "VK_KHR_shader_float16_int8"};

static bool make_device(ek_gpu_vulkan_t *vk, const features_t *wanted)
{
    static const float priority = 1.0f;
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = vk->family,
        .queueCount = 1u,
        .pQueuePriorities = &priority,
    };
    VkDeviceCreateInfo about = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &wanted->base,
        .queueCreateInfoCount = 1u,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = 2u,
        .ppEnabledExtensionNames = extensions,
    };
    /* Drivers of 1.2 and later may not list them any more. */
    VkResult status = vk->api.vkCreateDevice(vk->physical, &about, NULL, &vk->logical);
    if (status != VK_SUCCESS) {
        about.enabledExtensionCount = 0u;
        status = vk->api.vkCreateDevice(vk->physical, &about, NULL, &vk->logical);
    }
    if (status != VK_SUCCESS) {
        return false;
    }
    vk->api.vkGetDeviceQueue(vk->logical, vk->family, 0u, &vk->queue);
    return true;
}

/* Give every table its place from `at` on; returns where they end. */
static uint8_t *arrange(ek_gpu_vulkan_t *vk, const ek_gpu_section_t *s, uint32_t cache_bytes,
                        uint8_t *at)
{
    const uint64_t places = (uint64_t)s->argument_count + s->tensor_count;
    vk->function_count = s->function_count;
    vk->pipeline_most = s->size_count + s->function_count;
    vk->scratch_bytes = cache_bytes;
    vk->places = (void *)ek_gpu_take(&at, places * sizeof *vk->places);
    vk->offsets = (void *)ek_gpu_take(&at, places * sizeof *vk->offsets);
    vk->modules = (void *)ek_gpu_take(&at, s->function_count * sizeof *vk->modules);
    vk->names = (void *)ek_gpu_take(&at, s->function_count * sizeof *vk->names);
    vk->pipelines = (void *)ek_gpu_take(&at, vk->pipeline_most * sizeof *vk->pipelines);
    vk->scratch = ek_gpu_take(&at, cache_bytes);
    return at;
}

size_t ek_gpu_vulkan_bytes(const ek_model_t *model, uint32_t cache_bytes)
{
    ek_gpu_vulkan_t vk;
    ek_gpu_section_t section;
    uint32_t detail;
    if (ek_gpu_section(model, &section, &detail) != EK_OK) {
        return 0u;
    }
    uint8_t *const base = (uint8_t *)(uintptr_t)ALIGN;
    return (size_t)(arrange(&vk, &section, cache_bytes, base) - base);
}

ek_gpu_device_t *ek_gpu_vulkan_open(ek_gpu_vulkan_t *vk, const ek_model_t *model, void *memory,
                                    uint32_t cache_bytes, const ek_gpu_vulkan_settings_t *settings,
                                    char *why, size_t size)
{
    static const ek_gpu_vulkan_settings_t defaults = {NULL, NULL, NULL};
    ek_gpu_section_t section;
    features_t wanted;
    uint32_t detail;
    why[0] = '\0';
    settings = settings == NULL ? &defaults : settings;
    memset(vk, 0, sizeof *vk);
    if (ek_gpu_section(model, &section, &detail) != EK_OK) {
        ek_gpu_text_add_two(why, size, "the bundle has no GPU section that is sound", "");
        return NULL;
    }
    if (section.spirv_bytes == 0u) {
        ek_gpu_text_add_two(why, size, "the bundle has no SPIR-V: compile it with edgekit[vulkan]", "");
        return NULL;
    }
    memset(memory, 0, ek_gpu_vulkan_bytes(model, cache_bytes));
    (void)arrange(vk, &section, cache_bytes, memory);
    if (!ek_gpu_library_load(&library, settings->loader, settings->library, &vk->api, why, size)) {
        return NULL;
    }
    if (!make_instance(vk)) {
        ek_gpu_text_add_two(why, size, "Vulkan makes no instance: there is no driver of it", "");
        return NULL;
    }
    if (!find_device(vk, settings->device, &wanted, why, size)) {
        ek_vk_release(vk);
        return NULL;
    }
    describe(vk);
    if (!find_family(vk) || !find_memory(vk) || !make_device(vk, &wanted) ||
        !ek_vk_make_objects(vk)) {
        ek_gpu_text_add_two(why, size, "Vulkan cannot compute on ", vk->device.info.name);
        ek_vk_release(vk);
        return NULL;
    }
    ek_gpu_device_t *d = &vk->device;
    d->self = vk;
    d->memory = ek_vk_memory;
    d->build = ek_vk_build;
    d->built = ek_vk_built;
    d->write = ek_vk_write;
    d->read = ek_vk_read;
    d->map = d->info.unified ? ek_vk_map : NULL;
    d->unmap = d->info.unified ? ek_vk_unmap : NULL;
    d->launch = ek_vk_launch;
    d->flush = ek_vk_flush;
    d->wait = ek_vk_wait;
    d->elapsed = ek_vk_elapsed;
    d->close = ek_vk_close;
    return d;
}
