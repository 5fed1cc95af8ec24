/* ek_gpu_time.c - times of variants and local sizes, for tuners. */
#include "ek_gpu_core.h"

static uint64_t now(const ek_gpu_t *gpu)
{
    return gpu->options.now == NULL ? 0u : gpu->options.now(gpu->options.context);
}

/* One run on what is in the device's memory; its events are counted from 0. */
static ek_gpu_result_t run(ek_gpu_t *gpu, uint32_t variant, uint64_t *ns)
{
    const uint64_t start = now(gpu);
    gpu->events = 0u;
    ek_gpu_result_t result = ek_gpu_launch(gpu, variant);
    if (result == EK_GPU_OK) {
        result = gpu->device->flush(gpu->device->self);
    }
    if (result == EK_GPU_OK) {
        result = gpu->device->wait(gpu->device->self, gpu->options.patience_ms);
    }
    *ns = gpu->device->info.timed ? 0u : now(gpu) - start;
    for (uint32_t i = 0; i < gpu->events && gpu->device->info.timed; ++i) {
        *ns += gpu->device->elapsed(gpu->device->self, i);
    }
    return result;
}

static ek_gpu_trial_t trial_of(ek_gpu_t *gpu, ek_gpu_result_t result, uint32_t wrong)
{
    ek_gpu_trial_t trial = {EK_GPU_RIGHT, 0u};
    if (result == EK_GPU_GONE || result == EK_GPU_TOO_SLOW) {
        gpu->lost = true;
        trial.verdict = EK_GPU_DIED;
    } else if (result != EK_GPU_OK) {
        trial.verdict = EK_GPU_UNSTARTED;
    } else if (wrong != 0u) {
        trial.verdict = EK_GPU_WRONG_BYTES;
        trial.detail = wrong;
    }
    return trial;
}

static ek_gpu_trial_t time_sizes(ek_gpu_t *gpu, uint32_t layer, uint32_t variant, uint32_t repeat,
                                 uint64_t *ns)
{
    const ek_gpu_layer_t l = ek_gpu_get_layer(&gpu->section, layer);
    uint32_t wrong = 0u;
    ek_gpu_reach(gpu, 0u, layer);
    ek_gpu_result_t result = ek_gpu_run_once(gpu, &l, variant, &wrong);
    for (uint32_t i = 0; i < repeat && result == EK_GPU_OK && wrong == 0u; ++i) {
        uint64_t spent;
        result = run(gpu, variant, &spent);
        *ns = i == 0u || spent < *ns ? spent : *ns;
    }
    return trial_of(gpu, result, wrong);
}

ek_gpu_trial_t ek_gpu_time(ek_gpu_t *gpu, uint32_t layer, uint32_t variant, const uint8_t *sizes,
                           uint32_t size_count, uint32_t repeat, uint64_t *ns)
{
    const ek_gpu_trial_t refused = {EK_GPU_UNSTARTED, 0u};
    const ek_gpu_section_t *s = &gpu->section;
    uint8_t before[EK_GPU_ARGUMENTS];
    *ns = 0u;
    if (gpu->model == NULL || gpu->device == NULL || gpu->lost || gpu->running ||
        layer >= s->layer_count || s->golden_count == 0u) {
        return refused;
    }
    const ek_gpu_layer_t l = ek_gpu_get_layer(s, layer);
    if (variant >= l.variant_count) {
        return refused;
    }
    const uint32_t index = l.first_variant + variant;
    const ek_gpu_variant_t v = ek_gpu_get_variant(s, index);
    ek_gpu_trial_t trial = ek_gpu_judge(gpu, index);
    if (trial.verdict != (uint32_t)EK_GPU_UNTRIED || size_count != v.launch_count ||
        size_count > EK_GPU_ARGUMENTS) {
        return trial.verdict != (uint32_t)EK_GPU_UNTRIED ? trial : refused;
    }
    for (uint32_t i = 0; i < size_count; ++i) {
        if (sizes[i] >= ek_gpu_get_launch(s, v.first_launch + i).size_count) {
            return refused;
        }
    }
    for (uint32_t i = 0; i < size_count; ++i) {
        before[i] = gpu->sizes[v.first_launch + i];
        gpu->sizes[v.first_launch + i] = sizes[i];
    }
    trial = time_sizes(gpu, layer, index, repeat, ns);
    for (uint32_t i = 0; i < size_count; ++i) {
        gpu->sizes[v.first_launch + i] = before[i];
    }
    return trial;
}
