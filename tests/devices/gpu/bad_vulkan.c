/* A Vulkan library that hands everything on to the system's but for one thing, which EK_BAD names:
 *
 *   device     there is no device
 *   bytes      the only device has no 8-bit integers
 *   pipeline   no pipeline of the first shader can be made
 *   lost:N     the device is lost at the Nth batch
 *   slow:N     the Nth batch does not end in time
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "ek_gpu_vulkan_api.h"

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) real(#name)

static unsigned long batches;
static VkHandle first;

static void *real(const char *name)
{
    static void *library;
    if (library == NULL) library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    return library == NULL ? NULL : dlsym(library, name);
}

static int bad(const char *what)
{
    const char *asked = getenv("EK_BAD");
    return asked != NULL && strcmp(asked, what) == 0;
}

static int bad_at(const char *what, unsigned long count)
{
    const char *asked = getenv("EK_BAD");
    const size_t length = strlen(what);
    return asked != NULL && strncmp(asked, what, length) == 0 && asked[length] == ':' &&
           strtoul(asked + length + 1, NULL, 10) == count;
}

EXPORT VkResult vkEnumeratePhysicalDevices(VkInstance i, uint32_t *count, VkPhysicalDevice *ids)
{
    VkResult (*next)(VkInstance, uint32_t *, VkPhysicalDevice *);
    *(void **)&next = REAL(vkEnumeratePhysicalDevices);
    const VkResult status = next(i, count, ids);
    if (bad("device")) *count = 0;
    return status;
}

EXPORT VkResult vkCreateDevice(VkPhysicalDevice d, const VkDeviceCreateInfo *info, const void *allocator, VkDevice *made)
{
    VkResult (*next)(VkPhysicalDevice, const VkDeviceCreateInfo *, const void *, VkDevice *);
    *(void **)&next = REAL(vkCreateDevice);
    return bad("logical") ? -1 : next(d, info, allocator, made);
}

EXPORT VkResult vkCreateFence(VkDevice d, const VkFenceCreateInfo *info, const void *allocator, VkHandle *made)
{
    VkResult (*next)(VkDevice, const VkFenceCreateInfo *, const void *, VkHandle *);
    *(void **)&next = REAL(vkCreateFence);
    return bad("fence") ? -1 : next(d, info, allocator, made);
}

EXPORT void vkGetPhysicalDeviceFeatures2(VkPhysicalDevice d, VkPhysicalDeviceFeatures2 *f)
{
    void (*next)(VkPhysicalDevice, VkPhysicalDeviceFeatures2 *);
    *(void **)&next = REAL(vkGetPhysicalDeviceFeatures2);
    next(d, f);
    if (bad("bytes")) ((VkPhysicalDevice8BitStorageFeatures *)f->pNext)->storageBuffer8BitAccess = 0;
}

EXPORT VkResult vkCreateComputePipelines(VkDevice d, VkHandle cache, uint32_t count,
                                         const VkComputePipelineCreateInfo *infos,
                                         const void *allocator, VkHandle *made)
{
    VkResult (*next)(VkDevice, VkHandle, uint32_t, const VkComputePipelineCreateInfo *, const void *,
                     VkHandle *);
    *(void **)&next = REAL(vkCreateComputePipelines);
    first = first == 0 ? infos->stage.module : first;
    return bad("pipeline") && infos->stage.module == first ? -1 : next(d, cache, count, infos, allocator, made);
}

EXPORT VkResult vkQueueSubmit(VkQueue q, uint32_t count, const VkSubmitInfo *infos, VkHandle fence)
{
    VkResult (*next)(VkQueue, uint32_t, const VkSubmitInfo *, VkHandle);
    *(void **)&next = REAL(vkQueueSubmit);
    batches += 1;
    return bad_at("lost", batches) ? VK_ERROR_DEVICE_LOST : next(q, count, infos, fence);
}

EXPORT VkResult vkWaitForFences(VkDevice d, uint32_t count, const VkHandle *fences, VkBool32 all,
                                uint64_t ns)
{
    VkResult (*next)(VkDevice, uint32_t, const VkHandle *, VkBool32, uint64_t);
    *(void **)&next = REAL(vkWaitForFences);
    return bad_at("slow", batches) ? VK_TIMEOUT : next(d, count, fences, all, ns);
}
