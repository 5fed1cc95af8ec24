/* ek_gpu_vulkan_api.h - the part of Vulkan 1.1 that ek_gpu_vulkan.c uses, declared here so that no
 * headers and no library are needed to build it; names and numbers are the standard's. */
#ifndef EK_GPU_VULKAN_API_H
#define EK_GPU_VULKAN_API_H

#include <stddef.h>
#include <stdint.h>

typedef int32_t VkResult;
typedef uint32_t VkFlags;
typedef uint32_t VkBool32;
typedef uint64_t VkDeviceSize;
typedef struct VkInstance_T *VkInstance;
typedef struct VkPhysicalDevice_T *VkPhysicalDevice;
typedef struct VkDevice_T *VkDevice;
typedef struct VkQueue_T *VkQueue;
typedef struct VkCommandBuffer_T *VkCommandBuffer;
/* Handles that are pointers on 64-bit machines only: numbers everywhere here. */
typedef uint64_t VkHandle;

enum {
    VK_SUCCESS = 0,
    VK_TIMEOUT = 2,
    VK_INCOMPLETE = 5,
    VK_ERROR_DEVICE_LOST = -4
};
enum {
    VK_STRUCTURE_TYPE_APPLICATION_INFO = 0,
    VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO = 1,
    VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO = 2,
    VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO = 3,
    VK_STRUCTURE_TYPE_SUBMIT_INFO = 4,
    VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO = 5,
    VK_STRUCTURE_TYPE_FENCE_CREATE_INFO = 8,
    VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO = 11,
    VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO = 12,
    VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO = 16,
    VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO = 17,
    VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO = 18,
    VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO = 29,
    VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO = 30,
    VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO = 32,
    VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO = 33,
    VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO = 34,
    VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET = 35,
    VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO = 39,
    VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO = 40,
    VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO = 42,
    VK_STRUCTURE_TYPE_MEMORY_BARRIER = 46,
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2 = 1000059000,
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT16_INT8_FEATURES = 1000082000,
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES = 1000083000,
    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES = 1000177000
};
enum {
    VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU = 1,
    VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU = 2,
    VK_PHYSICAL_DEVICE_TYPE_CPU = 4
};
enum { VK_QUEUE_COMPUTE_BIT = 2 };
enum {
    VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT = 1,
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT = 2,
    VK_MEMORY_PROPERTY_HOST_COHERENT_BIT = 4,
    VK_MEMORY_PROPERTY_HOST_CACHED_BIT = 8
};
enum { VK_BUFFER_USAGE_STORAGE_BUFFER_BIT = 0x20 };
enum { VK_DESCRIPTOR_TYPE_STORAGE_BUFFER = 7 };
enum { VK_SHADER_STAGE_COMPUTE_BIT = 0x20 };
enum { VK_PIPELINE_BIND_POINT_COMPUTE = 1 };
enum { VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT = 2 };
enum { VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT = 1 };
enum { VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT = 0x800, VK_PIPELINE_STAGE_HOST_BIT = 0x4000 };
enum {
    VK_ACCESS_SHADER_READ_BIT = 0x20,
    VK_ACCESS_SHADER_WRITE_BIT = 0x40,
    VK_ACCESS_HOST_READ_BIT = 0x2000
};
enum { VK_QUERY_TYPE_TIMESTAMP = 2 };
enum { VK_QUERY_RESULT_64_BIT = 1 };
#define VK_MAKE_VERSION(major, minor) ((uint32_t)(major) << 22 | (uint32_t)(minor) << 12)
#define VK_WHOLE_SIZE UINT64_MAX

typedef struct {
    int32_t sType;
    const void *pNext;
    const char *pApplicationName;
    uint32_t applicationVersion;
    const char *pEngineName;
    uint32_t engineVersion;
    uint32_t apiVersion;
} VkApplicationInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    const VkApplicationInfo *pApplicationInfo;
    uint32_t enabledLayerCount;
    const char *const *ppEnabledLayerNames;
    uint32_t enabledExtensionCount;
    const char *const *ppEnabledExtensionNames;
} VkInstanceCreateInfo;

typedef struct {
    uint32_t before[7]; /* sizes of images and of buffers of texels */
    uint32_t maxStorageBufferRange;
    uint32_t more[3];
    VkDeviceSize bufferImageGranularity, sparseAddressSpaceSize;
    uint32_t descriptors[16];
    uint32_t vertices[22];
    uint32_t maxComputeSharedMemorySize;
    uint32_t maxComputeWorkGroupCount[3];
    uint32_t maxComputeWorkGroupInvocations;
    uint32_t maxComputeWorkGroupSize[3];
    uint32_t pixels[5];
    float samplers[2];
    uint32_t maxViewports, maxViewportDimensions[2];
    float viewportBoundsRange[2];
    uint32_t viewportSubPixelBits;
    size_t minMemoryMapAlignment;
    VkDeviceSize minTexelBufferOffsetAlignment, minUniformBufferOffsetAlignment;
    VkDeviceSize minStorageBufferOffsetAlignment;
    int32_t texels[6];
    uint32_t framebuffers[15];
    VkBool32 timestampComputeAndGraphics;
    float timestampPeriod;
    uint32_t distances[4];
    float sizes[6];
    VkBool32 lines[2];
    VkDeviceSize optimalBufferCopyOffsetAlignment, optimalBufferCopyRowPitchAlignment;
    VkDeviceSize nonCoherentAtomSize;
} VkPhysicalDeviceLimits;

typedef struct {
    uint32_t apiVersion, driverVersion, vendorID, deviceID;
    int32_t deviceType;
    char deviceName[256];
    uint8_t pipelineCacheUUID[16];
    VkPhysicalDeviceLimits limits;
    VkBool32 sparseProperties[5];
} VkPhysicalDeviceProperties;

typedef struct {
    VkFlags queueFlags;
    uint32_t queueCount, timestampValidBits;
    uint32_t minImageTransferGranularity[3];
} VkQueueFamilyProperties;

typedef struct {
    uint32_t memoryTypeCount;
    struct {
        VkFlags propertyFlags;
        uint32_t heapIndex;
    } memoryTypes[32];
    uint32_t memoryHeapCount;
    struct {
        VkDeviceSize size;
        VkFlags flags;
    } memoryHeaps[16];
} VkPhysicalDeviceMemoryProperties;

typedef struct {
    VkBool32 before[39];
    VkBool32 shaderFloat64, shaderInt64, shaderInt16;
    VkBool32 after[13];
} VkPhysicalDeviceFeatures;

typedef struct {
    int32_t sType;
    void *pNext;
    VkPhysicalDeviceFeatures features;
} VkPhysicalDeviceFeatures2;

typedef struct {
    int32_t sType;
    void *pNext;
    VkBool32 storageBuffer8BitAccess, uniformAndStorageBuffer8BitAccess, storagePushConstant8;
} VkPhysicalDevice8BitStorageFeatures;

typedef struct {
    int32_t sType;
    void *pNext;
    VkBool32 storageBuffer16BitAccess, uniformAndStorageBuffer16BitAccess, storagePushConstant16;
    VkBool32 storageInputOutput16;
} VkPhysicalDevice16BitStorageFeatures;

typedef struct {
    int32_t sType;
    void *pNext;
    VkBool32 shaderFloat16, shaderInt8;
} VkPhysicalDeviceShaderFloat16Int8Features;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    uint32_t queueFamilyIndex, queueCount;
    const float *pQueuePriorities;
} VkDeviceQueueCreateInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    uint32_t queueCreateInfoCount;
    const VkDeviceQueueCreateInfo *pQueueCreateInfos;
    uint32_t enabledLayerCount;
    const char *const *ppEnabledLayerNames;
    uint32_t enabledExtensionCount;
    const char *const *ppEnabledExtensionNames;
    const VkPhysicalDeviceFeatures *pEnabledFeatures;
} VkDeviceCreateInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    VkDeviceSize size;
    VkFlags usage;
    int32_t sharingMode;
    uint32_t queueFamilyIndexCount;
    const uint32_t *pQueueFamilyIndices;
} VkBufferCreateInfo;

typedef struct {
    VkDeviceSize size, alignment;
    uint32_t memoryTypeBits;
} VkMemoryRequirements;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkDeviceSize allocationSize;
    uint32_t memoryTypeIndex;
} VkMemoryAllocateInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    size_t codeSize;
    const uint32_t *pCode;
} VkShaderModuleCreateInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    size_t initialDataSize;
    const void *pInitialData;
} VkPipelineCacheCreateInfo;

typedef struct {
    uint32_t constantID, offset;
    size_t size;
} VkSpecializationMapEntry;

typedef struct {
    uint32_t mapEntryCount;
    const VkSpecializationMapEntry *pMapEntries;
    size_t dataSize;
    const void *pData;
} VkSpecializationInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    VkFlags stage;
    VkHandle module;
    const char *pName;
    const VkSpecializationInfo *pSpecializationInfo;
} VkPipelineShaderStageCreateInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    VkPipelineShaderStageCreateInfo stage;
    VkHandle layout, basePipelineHandle;
    int32_t basePipelineIndex;
} VkComputePipelineCreateInfo;

typedef struct {
    uint32_t binding;
    int32_t descriptorType;
    uint32_t descriptorCount;
    VkFlags stageFlags;
    const VkHandle *pImmutableSamplers;
} VkDescriptorSetLayoutBinding;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    uint32_t bindingCount;
    const VkDescriptorSetLayoutBinding *pBindings;
} VkDescriptorSetLayoutCreateInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    uint32_t setLayoutCount;
    const VkHandle *pSetLayouts;
    uint32_t pushConstantRangeCount;
    const void *pPushConstantRanges;
} VkPipelineLayoutCreateInfo;

typedef struct {
    int32_t type;
    uint32_t descriptorCount;
} VkDescriptorPoolSize;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    uint32_t maxSets, poolSizeCount;
    const VkDescriptorPoolSize *pPoolSizes;
} VkDescriptorPoolCreateInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkHandle descriptorPool;
    uint32_t descriptorSetCount;
    const VkHandle *pSetLayouts;
} VkDescriptorSetAllocateInfo;

typedef struct {
    VkHandle buffer;
    VkDeviceSize offset, range;
} VkDescriptorBufferInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkHandle dstSet;
    uint32_t dstBinding, dstArrayElement, descriptorCount;
    int32_t descriptorType;
    const void *pImageInfo;
    const VkDescriptorBufferInfo *pBufferInfo;
    const VkHandle *pTexelBufferView;
} VkWriteDescriptorSet;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    uint32_t queueFamilyIndex;
} VkCommandPoolCreateInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkHandle commandPool;
    int32_t level;
    uint32_t commandBufferCount;
} VkCommandBufferAllocateInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    const void *pInheritanceInfo;
} VkCommandBufferBeginInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags srcAccessMask, dstAccessMask;
} VkMemoryBarrier;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
} VkFenceCreateInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    uint32_t waitSemaphoreCount;
    const VkHandle *pWaitSemaphores;
    const VkFlags *pWaitDstStageMask;
    uint32_t commandBufferCount;
    const VkCommandBuffer *pCommandBuffers;
    uint32_t signalSemaphoreCount;
    const VkHandle *pSignalSemaphores;
} VkSubmitInfo;

typedef struct {
    int32_t sType;
    const void *pNext;
    VkFlags flags;
    int32_t queryType;
    uint32_t queryCount;
    VkFlags pipelineStatistics;
} VkQueryPoolCreateInfo;

/* The functions that are used, by their names; allocators are always NULL. */
typedef struct {
    VkResult (*vkCreateInstance)(const VkInstanceCreateInfo *, const void *, VkInstance *);
    void (*vkDestroyInstance)(VkInstance, const void *);
    VkResult (*vkEnumeratePhysicalDevices)(VkInstance, uint32_t *, VkPhysicalDevice *);
    void (*vkGetPhysicalDeviceProperties)(VkPhysicalDevice, VkPhysicalDeviceProperties *);
    void (*vkGetPhysicalDeviceFeatures2)(VkPhysicalDevice, VkPhysicalDeviceFeatures2 *);
    void (*vkGetPhysicalDeviceQueueFamilyProperties)(VkPhysicalDevice, uint32_t *,
                                                     VkQueueFamilyProperties *);
    void (*vkGetPhysicalDeviceMemoryProperties)(VkPhysicalDevice,
                                                VkPhysicalDeviceMemoryProperties *);
    VkResult (*vkCreateDevice)(VkPhysicalDevice, const VkDeviceCreateInfo *, const void *,
                               VkDevice *);
    void (*vkDestroyDevice)(VkDevice, const void *);
    void (*vkGetDeviceQueue)(VkDevice, uint32_t, uint32_t, VkQueue *);
    VkResult (*vkCreateBuffer)(VkDevice, const VkBufferCreateInfo *, const void *, VkHandle *);
    void (*vkDestroyBuffer)(VkDevice, VkHandle, const void *);
    void (*vkGetBufferMemoryRequirements)(VkDevice, VkHandle, VkMemoryRequirements *);
    VkResult (*vkAllocateMemory)(VkDevice, const VkMemoryAllocateInfo *, const void *, VkHandle *);
    void (*vkFreeMemory)(VkDevice, VkHandle, const void *);
    VkResult (*vkBindBufferMemory)(VkDevice, VkHandle, VkHandle, VkDeviceSize);
    VkResult (*vkMapMemory)(VkDevice, VkHandle, VkDeviceSize, VkDeviceSize, VkFlags, void **);
    VkResult (*vkCreateShaderModule)(VkDevice, const VkShaderModuleCreateInfo *, const void *,
                                     VkHandle *);
    void (*vkDestroyShaderModule)(VkDevice, VkHandle, const void *);
    VkResult (*vkCreatePipelineCache)(VkDevice, const VkPipelineCacheCreateInfo *, const void *,
                                      VkHandle *);
    void (*vkDestroyPipelineCache)(VkDevice, VkHandle, const void *);
    VkResult (*vkGetPipelineCacheData)(VkDevice, VkHandle, size_t *, void *);
    VkResult (*vkCreateComputePipelines)(VkDevice, VkHandle, uint32_t,
                                         const VkComputePipelineCreateInfo *, const void *,
                                         VkHandle *);
    void (*vkDestroyPipeline)(VkDevice, VkHandle, const void *);
    VkResult (*vkCreateDescriptorSetLayout)(VkDevice, const VkDescriptorSetLayoutCreateInfo *,
                                            const void *, VkHandle *);
    void (*vkDestroyDescriptorSetLayout)(VkDevice, VkHandle, const void *);
    VkResult (*vkCreatePipelineLayout)(VkDevice, const VkPipelineLayoutCreateInfo *, const void *,
                                       VkHandle *);
    void (*vkDestroyPipelineLayout)(VkDevice, VkHandle, const void *);
    VkResult (*vkCreateDescriptorPool)(VkDevice, const VkDescriptorPoolCreateInfo *, const void *,
                                       VkHandle *);
    void (*vkDestroyDescriptorPool)(VkDevice, VkHandle, const void *);
    VkResult (*vkResetDescriptorPool)(VkDevice, VkHandle, VkFlags);
    VkResult (*vkAllocateDescriptorSets)(VkDevice, const VkDescriptorSetAllocateInfo *, VkHandle *);
    void (*vkUpdateDescriptorSets)(VkDevice, uint32_t, const VkWriteDescriptorSet *, uint32_t,
                                   const void *);
    VkResult (*vkCreateCommandPool)(VkDevice, const VkCommandPoolCreateInfo *, const void *,
                                    VkHandle *);
    void (*vkDestroyCommandPool)(VkDevice, VkHandle, const void *);
    VkResult (*vkAllocateCommandBuffers)(VkDevice, const VkCommandBufferAllocateInfo *,
                                         VkCommandBuffer *);
    VkResult (*vkBeginCommandBuffer)(VkCommandBuffer, const VkCommandBufferBeginInfo *);
    VkResult (*vkEndCommandBuffer)(VkCommandBuffer);
    void (*vkCmdBindPipeline)(VkCommandBuffer, int32_t, VkHandle);
    void (*vkCmdBindDescriptorSets)(VkCommandBuffer, int32_t, VkHandle, uint32_t, uint32_t,
                                    const VkHandle *, uint32_t, const uint32_t *);
    void (*vkCmdDispatch)(VkCommandBuffer, uint32_t, uint32_t, uint32_t);
    void (*vkCmdPipelineBarrier)(VkCommandBuffer, VkFlags, VkFlags, VkFlags, uint32_t,
                                 const VkMemoryBarrier *, uint32_t, const void *, uint32_t,
                                 const void *);
    VkResult (*vkCreateQueryPool)(VkDevice, const VkQueryPoolCreateInfo *, const void *,
                                  VkHandle *);
    void (*vkDestroyQueryPool)(VkDevice, VkHandle, const void *);
    void (*vkCmdResetQueryPool)(VkCommandBuffer, VkHandle, uint32_t, uint32_t);
    void (*vkCmdWriteTimestamp)(VkCommandBuffer, VkFlags, VkHandle, uint32_t);
    VkResult (*vkGetQueryPoolResults)(VkDevice, VkHandle, uint32_t, uint32_t, size_t, void *,
                                      VkDeviceSize, VkFlags);
    VkResult (*vkCreateFence)(VkDevice, const VkFenceCreateInfo *, const void *, VkHandle *);
    void (*vkDestroyFence)(VkDevice, VkHandle, const void *);
    VkResult (*vkResetFences)(VkDevice, uint32_t, const VkHandle *);
    VkResult (*vkWaitForFences)(VkDevice, uint32_t, const VkHandle *, VkBool32, uint64_t);
    VkResult (*vkQueueSubmit)(VkQueue, uint32_t, const VkSubmitInfo *, VkHandle);
} ek_vk_api_t;

#endif
