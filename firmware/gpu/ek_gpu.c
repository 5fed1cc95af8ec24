/* ek_gpu.c - inferences of a model on a device, and what is known of its layers. Knows no API; preparing
 * is in ek_gpu_open.c. */
#include "ek_gpu_core.h"

#include <string.h>

/* ---- launches and tensors */

static bool within_limits(const ek_gpu_t *gpu, const ek_gpu_launch_t *l, const uint32_t group[3])
{
    const ek_gpu_info_t *info = &gpu->device->info;
    const uint32_t local_bytes = gpu->functions[l->function].local_bytes;
    for (uint32_t axis = 0; axis < 3u; ++axis) {
        if (info->group_size[axis] != 0u && group[axis] > info->group_size[axis]) {
            return false;
        }
    }
    return (info->group_items == 0u ||
            (uint64_t)group[0] * group[1] * group[2] <= info->group_items) &&
           (info->local_bytes == 0u || local_bytes <= info->local_bytes);
}

ek_gpu_result_t ek_gpu_launch(ek_gpu_t *gpu, uint32_t variant)
{
    const ek_gpu_section_t *s = &gpu->section;
    const ek_gpu_variant_t v = ek_gpu_get_variant(s, variant);
    for (uint32_t i = v.first_launch; i < v.first_launch + v.launch_count; ++i) {
        const ek_gpu_launch_t l = ek_gpu_get_launch(s, i);
        uint32_t places[EK_GPU_ARGUMENTS], group[3], event = EK_GPU_NO_EVENT;
        ek_gpu_get_size(s, l.first_size + gpu->sizes[i], group);
        if (!within_limits(gpu, &l, group)) {
            return EK_GPU_REFUSED;
        }
        for (uint32_t j = 0; j < l.argument_count; ++j) {
            places[j] = gpu->place_of_argument[l.first_argument + j];
        }
        if (gpu->options.now != NULL && gpu->device->info.timed && gpu->events < EK_GPU_EVENTS) {
            event = gpu->events;
            gpu->events += 1u;
        }
        const ek_gpu_result_t result = gpu->device->launch(
            gpu->device->self, l.function, places, l.argument_count, l.items, group, event);
        if (result != EK_GPU_OK) {
            return result;
        }
    }
    return EK_GPU_OK;
}

ek_gpu_result_t ek_gpu_write_tensor(ek_gpu_t *gpu, uint32_t tensor)
{
    const ek_gpu_tensor_t t = ek_gpu_get_tensor(&gpu->section, tensor);
    const uint32_t place = gpu->place_of_tensor[tensor];
    const uint8_t *from = gpu->model->arena + t.cpu_offset;
    uint8_t *shared =
        gpu->device->map == NULL ? NULL : gpu->device->map(gpu->device->self, place, true);
    if (shared != NULL) {
        ek_gpu_pack(&t, from, shared);
        return gpu->device->unmap(gpu->device->self, place);
    }
    ek_gpu_pack(&t, from, gpu->found);
    return gpu->device->write(gpu->device->self, place, gpu->found, t.nbytes);
}

ek_gpu_result_t ek_gpu_read_tensor(ek_gpu_t *gpu, uint32_t tensor)
{
    const ek_gpu_tensor_t t = ek_gpu_get_tensor(&gpu->section, tensor);
    const uint32_t place = gpu->place_of_tensor[tensor];
    uint8_t *to = gpu->model->arena + t.cpu_offset;
    uint8_t *shared =
        gpu->device->map == NULL ? NULL : gpu->device->map(gpu->device->self, place, false);
    if (shared != NULL) {
        ek_gpu_unpack(&t, shared, to);
        return gpu->device->unmap(gpu->device->self, place);
    }
    const ek_gpu_result_t result =
        gpu->device->read(gpu->device->self, place, gpu->found, t.nbytes);
    if (result == EK_GPU_OK) {
        ek_gpu_unpack(&t, gpu->found, to);
    }
    return result;
}

/* ---- inferences */

static uint64_t now(const ek_gpu_t *gpu)
{
    return gpu->options.now == NULL ? 0u : gpu->options.now(gpu->options.context);
}

static ek_gpu_result_t finish(ek_gpu_t *gpu)
{
    const ek_gpu_result_t result = gpu->device->flush(gpu->device->self);
    return result != EK_GPU_OK ? result
                               : gpu->device->wait(gpu->device->self, gpu->options.patience_ms);
}

void ek_gpu_cpu_layer(const ek_gpu_t *gpu, uint32_t layer)
{
    ek_run_t run = {layer};
    if (gpu->options.layer != NULL) {
        gpu->options.layer(gpu->options.context, layer);
    } else {
        (void)ek_step(gpu->model, &run);
    }
}

static void cpu_layer(ek_gpu_t *gpu, uint32_t layer)
{
    const uint64_t start = now(gpu);
    ek_gpu_cpu_layer(gpu, layer);
    gpu->times[layer] = now(gpu) - start;
}

/* A layer of the CPU amid those of the device. */
static ek_gpu_result_t visit_cpu(ek_gpu_t *gpu, uint32_t layer)
{
    const ek_gpu_layer_t l = ek_gpu_get_layer(&gpu->section, layer);
    ek_gpu_result_t result = finish(gpu);
    for (uint32_t i = 0; i < l.input_count && result == EK_GPU_OK; ++i) {
        result = ek_gpu_read_tensor(gpu, ek_gpu_get_operand(&gpu->section, l.first_operand + i));
    }
    if (result == EK_GPU_OK) {
        cpu_layer(gpu, layer);
    }
    for (uint32_t i = 0; i < l.output_count && result == EK_GPU_OK; ++i) {
        result = ek_gpu_write_tensor(
            gpu, ek_gpu_get_operand(&gpu->section, l.first_operand + l.input_count + i));
    }
    return result;
}

static ek_gpu_result_t device_layer(ek_gpu_t *gpu, uint32_t layer)
{
    const bool one_by_one = gpu->options.now != NULL && !gpu->device->info.timed;
    const uint64_t start = one_by_one ? now(gpu) : 0u;
    ek_gpu_result_t result = ek_gpu_launch(gpu, gpu->choices[layer]);
    if (one_by_one && result == EK_GPU_OK) {
        result = finish(gpu);
        gpu->times[layer] = now(gpu) - start;
    }
    return result;
}

/* Layers from the next one on: to the end, or without `through` to the first of the CPU. */
static ek_gpu_result_t advance(ek_gpu_t *gpu, bool through)
{
    ek_gpu_result_t result = EK_GPU_OK;
    while (result == EK_GPU_OK && gpu->next < gpu->section.layer_count) {
        const bool on_cpu = gpu->choices[gpu->next] == EK_GPU_ON_CPU;
        if (on_cpu && !through) {
            break;
        }
        result = on_cpu ? visit_cpu(gpu, gpu->next) : device_layer(gpu, gpu->next);
        gpu->next += 1u;
    }
    return result == EK_GPU_OK ? gpu->device->flush(gpu->device->self) : result;
}

/* Times of layers from the events of their launches, which were counted in this order. */
static void read_times(ek_gpu_t *gpu)
{
    uint32_t event = 0u;
    if (gpu->options.now == NULL || !gpu->device->info.timed) {
        return;
    }
    for (uint32_t i = 0; i < gpu->section.layer_count; ++i) {
        if (gpu->choices[i] == EK_GPU_ON_CPU) {
            continue;
        }
        uint32_t left = ek_gpu_get_variant(&gpu->section, gpu->choices[i]).launch_count;
        gpu->times[i] = 0u;
        for (; left != 0u && event < gpu->events; --left, ++event) {
            gpu->times[i] += gpu->device->elapsed(gpu->device->self, event);
        }
    }
}

uint32_t ek_gpu_device_layers(const ek_gpu_t *gpu)
{
    uint32_t count = 0u;
    for (uint32_t i = 0; i < gpu->section.layer_count && gpu->device != NULL && !gpu->lost; ++i) {
        count += gpu->choices[i] != EK_GPU_ON_CPU ? 1u : 0u;
    }
    return count;
}

static void copy_inputs(ek_gpu_t *gpu, bool back)
{
    uint8_t *kept = gpu->inputs;
    for (uint32_t i = 0; i < gpu->section.input_count; ++i) {
        uint32_t nbytes = 0u;
        uint8_t *input = ek_input(gpu->model, i, &nbytes);
        memcpy(back ? input : kept, back ? kept : input, nbytes);
        kept += nbytes;
    }
}

/* The device is of no use any more. What it may still do, it does to its own memory. */
void ek_gpu_lose(ek_gpu_t *gpu)
{
    gpu->lost = true;
    ek_gpu_say(gpu, "the device is lost: the CPU computes from now on");
}

ek_status_t ek_gpu_start(ek_gpu_t *gpu)
{
    if (gpu->model == NULL || gpu->running) {
        return EK_STATE;
    }
    gpu->running = true;
    gpu->next = 0u;
    gpu->events = 0u;
    if (ek_gpu_device_layers(gpu) == 0u) {
        return EK_OK;
    }
    ek_gpu_result_t result = EK_GPU_OK;
    copy_inputs(gpu, false);
    for (uint32_t i = 0; i < gpu->section.input_count && result == EK_GPU_OK; ++i) {
        result = ek_gpu_write_tensor(gpu, ek_gpu_get_input(&gpu->section, i));
    }
    if (result == EK_GPU_OK) {
        result = advance(gpu, false);
    }
    if (result != EK_GPU_OK) {
        ek_gpu_lose(gpu);
        copy_inputs(gpu, true);
        gpu->next = EK_GPU_ON_CPU; /* ek_gpu_wait is to say so */
    }
    return EK_OK;
}

static void invoke_on_cpu(ek_gpu_t *gpu)
{
    for (uint32_t i = 0; i < gpu->section.layer_count; ++i) {
        cpu_layer(gpu, i);
    }
}

ek_status_t ek_gpu_wait(ek_gpu_t *gpu)
{
    ek_gpu_result_t result = EK_GPU_OK;
    if (gpu->model == NULL || !gpu->running) {
        return EK_STATE;
    }
    gpu->running = false;
    if (gpu->lost || ek_gpu_device_layers(gpu) == 0u) {
        invoke_on_cpu(gpu);
        return gpu->next == EK_GPU_ON_CPU ? EK_GPU_LOST : EK_OK;
    }
    result = advance(gpu, true);
    if (result == EK_GPU_OK) {
        result = finish(gpu);
    }
    for (uint32_t i = 0; i < gpu->section.output_count && result == EK_GPU_OK; ++i) {
        result = ek_gpu_read_tensor(gpu, ek_gpu_get_output(&gpu->section, i));
    }
    if (result == EK_GPU_OK) {
        read_times(gpu);
        return EK_OK;
    }
    ek_gpu_lose(gpu);
    copy_inputs(gpu, true);
    invoke_on_cpu(gpu);
    return EK_GPU_LOST;
}

ek_status_t ek_gpu_invoke(ek_gpu_t *gpu)
{
    const ek_status_t status = ek_gpu_start(gpu);
    return status == EK_OK ? ek_gpu_wait(gpu) : status;
}

uint64_t ek_gpu_layer_time(const ek_gpu_t *gpu, uint32_t layer)
{
    return gpu->model != NULL && layer < gpu->section.layer_count ? gpu->times[layer] : 0u;
}

/* ---- texts */

static void add_trial(const ek_gpu_t *gpu, uint32_t variant, char *text, size_t size)
{
    const ek_gpu_trial_t trial = gpu->trials[variant];
    ek_gpu_text_add(text, size, "; ");
    ek_gpu_text_bytes(text, size, ek_gpu_get_variant(&gpu->section, variant).name);
    switch (trial.verdict) {
    case EK_GPU_NEEDS:
        ek_gpu_text_add(text, size, (trial.detail & EK_GPU_HAS_DOT) != 0u
                                        ? ": needs the dot product" : ": needs half floats");
        break;
    case EK_GPU_UNBUILT:
        ek_gpu_text_add(text, size, ": did not compile");
        break;
    case EK_GPU_UNSTARTED:
        ek_gpu_text_add(text, size, ": the device refuses to run it");
        break;
    case EK_GPU_WRONG_BYTES:
        ek_gpu_text_add(text, size, ": ");
        ek_gpu_text_number(text, size, trial.detail);
        ek_gpu_text_add(text, size, " bytes differ");
        break;
    case EK_GPU_DIED:
        ek_gpu_text_add(text, size, ": the device was lost");
        break;
    default:
        ek_gpu_text_add(text, size, ": right by itself, the model's outputs were not");
        break;
    }
}

const char *ek_gpu_layer_text(const ek_gpu_t *gpu, uint32_t layer, char *text, size_t size)
{
    text[0] = '\0';
    if (gpu->model == NULL || layer >= gpu->section.layer_count) {
        return text;
    }
    const ek_gpu_layer_t l = ek_gpu_get_layer(&gpu->section, layer);
    const uint32_t choice = gpu->choices[layer];
    if (gpu->device == NULL || gpu->lost) {
        ek_gpu_text_add(text, size, gpu->lost ? "CPU: the device was lost" : "CPU: no device");
        return text;
    }
    if (choice != EK_GPU_ON_CPU) {
        ek_gpu_text_bytes(text, size, ek_gpu_get_variant(&gpu->section, choice).name);
    } else {
        ek_gpu_text_add(text, size, "CPU");
        if (l.why_not.nbytes != 0u) {
            ek_gpu_text_add(text, size, ": ");
            ek_gpu_text_bytes(text, size, l.why_not);
        }
    }
    for (uint32_t v = l.first_variant; v < l.first_variant + l.variant_count; ++v) {
        if (gpu->trials[v].verdict > (uint32_t)EK_GPU_RIGHT) {
            add_trial(gpu, v, text, size);
        }
    }
    return text;
}
