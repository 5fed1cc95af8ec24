/* ek_gpu_vulkan_build.c - shaders of a bundle, a pipeline for each local size, and the driver's cache of
 * them in a file for the next start. */
#include "ek_gpu_vulkan_core.h"

#include <string.h>

/* A file: this, the hash of device and driver, bytes and CRC-32 of what follows, the driver's cache. */
static const char magic[8] = {'E', 'K', 'G', 'P', 'I', 'P', 'E', '1'};
typedef struct {
    char magic[8];
    uint64_t hash;
    uint32_t nbytes, crc;
} head_t;

static uint64_t hash_of(const ek_gpu_vulkan_t *vk)
{
    const ek_gpu_info_t *info = &vk->device.info;
    return ek_gpu_hash(ek_gpu_hash(0u, info->name, sizeof info->name), info->driver,
                       sizeof info->driver);
}

static bool set_path(ek_gpu_vulkan_t *vk, const ek_gpu_code_t *code)
{
    uint64_t hash = hash_of(vk);
    vk->path[0] = '\0';
    if (code->folder[0] == '\0') {
        return false;
    }
    hash = ek_gpu_hash(hash, code->hash, 8u);
    ek_gpu_text_add(vk->path, sizeof vk->path, code->folder);
    ek_gpu_text_add(vk->path, sizeof vk->path, "/gpu-pipelines-");
    ek_gpu_text_hash(vk->path, sizeof vk->path, hash);
    if (ek_gpu_text_bytes_of(vk->path) + 1u >= sizeof vk->path) {
        vk->path[0] = '\0';
    }
    return vk->path[0] != '\0';
}

/* Bytes of the kept cache behind the head in `scratch`; 0 where there is none that is whole. */
static uint32_t kept(ek_gpu_vulkan_t *vk)
{
    const uint32_t found = ek_file_read(vk->path, vk->scratch, vk->scratch_bytes);
    head_t head;
    if (found <= sizeof head) {
        return 0u;
    }
    memcpy(&head, vk->scratch, sizeof head);
    const bool whole = memcmp(head.magic, magic, sizeof magic) == 0 && head.hash == hash_of(vk) &&
                       head.nbytes == found - sizeof head &&
                       head.crc == ek_gpu_crc32(vk->scratch + sizeof head, head.nbytes);
    return whole ? head.nbytes : 0u;
}

void ek_vk_keep_pipelines(ek_gpu_vulkan_t *vk)
{
    size_t nbytes = 0u;
    uint8_t *data = vk->scratch + sizeof(head_t);
    if (vk->fresh == 0u || vk->path[0] == '\0' || vk->scratch_bytes <= sizeof(head_t)) {
        return;
    }
    vk->fresh = 0u;
    if (vk->api.vkGetPipelineCacheData(vk->logical, vk->cache, &nbytes, NULL) != VK_SUCCESS ||
        nbytes == 0u || nbytes > vk->scratch_bytes - sizeof(head_t) ||
        vk->api.vkGetPipelineCacheData(vk->logical, vk->cache, &nbytes, data) != VK_SUCCESS) {
        return;
    }
    head_t head = {{0}, hash_of(vk), (uint32_t)nbytes, ek_gpu_crc32(data, (uint32_t)nbytes)};
    memcpy(head.magic, magic, sizeof magic);
    memcpy(vk->scratch, &head, sizeof head);
    (void)ek_file_write(vk->path, vk->scratch, (uint32_t)(sizeof head + nbytes));
}

static ek_gpu_result_t open_cache(ek_gpu_vulkan_t *vk, const ek_gpu_code_t *code)
{
    VkPipelineCacheCreateInfo about = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    if (vk->cache != 0u) {
        return EK_GPU_OK;
    }
    if (set_path(vk, code)) {
        about.initialDataSize = kept(vk);
        about.pInitialData = about.initialDataSize == 0u ? NULL : vk->scratch + sizeof(head_t);
    }
    if (about.initialDataSize != 0u &&
        vk->api.vkCreatePipelineCache(vk->logical, &about, NULL, &vk->cache) == VK_SUCCESS) {
        return EK_GPU_OK;
    }
    about.initialDataSize = 0u;
    about.pInitialData = NULL;
    return vk->api.vkCreatePipelineCache(vk->logical, &about, NULL, &vk->cache) == VK_SUCCESS
               ? EK_GPU_OK : EK_GPU_REFUSED;
}

ek_gpu_result_t ek_vk_build(void *self, const ek_gpu_code_t *code)
{
    ek_gpu_vulkan_t *vk = self;
    if (vk->gone) {
        return EK_GPU_GONE;
    }
    if (open_cache(vk, code) != EK_GPU_OK) {
        return EK_GPU_REFUSED;
    }
    for (uint32_t i = 0; i < code->function_count && i < vk->function_count; ++i) {
        const ek_gpu_function_t *f = &code->functions[i];
        if (!f->wanted || vk->modules[i] != 0u || f->spirv.nbytes == 0u ||
            f->name.nbytes >= sizeof vk->names[i] ||
            f->local_bytes > vk->device.info.local_bytes) {
            continue;
        }
        const VkShaderModuleCreateInfo about = {
            .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
            .codeSize = f->spirv.nbytes,
            .pCode = (const uint32_t *)(const void *)f->spirv.data,
        };
        memcpy(vk->names[i], f->name.data, f->name.nbytes);
        vk->names[i][f->name.nbytes] = '\0';
        if (vk->api.vkCreateShaderModule(vk->logical, &about, NULL, &vk->modules[i]) !=
            VK_SUCCESS) {
            vk->modules[i] = 0u;
        }
    }
    return EK_GPU_OK;
}

bool ek_vk_built(void *self, uint32_t function, const char **said)
{
    ek_gpu_vulkan_t *vk = self;
    *said = "there is no SPIR-V of it that the driver takes";
    return function < vk->function_count && vk->modules[function] != 0u;
}

VkHandle ek_vk_pipeline(ek_gpu_vulkan_t *vk, uint32_t function, uint32_t count,
                        const uint32_t group[3])
{
    static const VkSpecializationMapEntry entries[3] = {
        {0u, 0u, 4u}, {1u, 4u, 4u}, {2u, 8u, 4u}};
    for (uint32_t i = 0; i < vk->pipeline_count; ++i) {
        const ek_gpu_pipeline_t *p = &vk->pipelines[i];
        if (p->function == function && p->count == count &&
            memcmp(p->group, group, sizeof p->group) == 0) {
            return p->handle;
        }
    }
    if (vk->pipeline_count == vk->pipeline_most) {
        return 0u;
    }
    const VkSpecializationInfo size = {3u, entries, 3u * sizeof group[0], group};
    const VkComputePipelineCreateInfo about = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {
            .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
            .stage = VK_SHADER_STAGE_COMPUTE_BIT,
            .module = vk->modules[function],
            .pName = vk->names[function],
            .pSpecializationInfo = &size,
        },
        .layout = vk->layouts[count],
        .basePipelineIndex = -1,
    };
    VkHandle made = 0u;
    if (vk->api.vkCreateComputePipelines(vk->logical, vk->cache, 1u, &about, NULL, &made) !=
            VK_SUCCESS || made == 0u) {
        return 0u;
    }
    ek_gpu_pipeline_t *p = &vk->pipelines[vk->pipeline_count];
    *p = (ek_gpu_pipeline_t){function, {group[0], group[1], group[2]}, count, made};
    vk->pipeline_count += 1u;
    vk->fresh = 1u;
    return made;
}
