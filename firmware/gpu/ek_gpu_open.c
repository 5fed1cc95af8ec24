/* ek_gpu_open.c - preparing a model on a device: memory from the caller, the device's memory and
 * functions, the self-test. Knows no API. */
#include "ek_gpu_core.h"

#include <string.h>

enum { ALIGN = 16, PATIENCE_MS = 20000, TUNING_BYTES = 65536 };

/* ---- memory from the caller */

typedef struct {
    uint8_t *base; /* NULL: only counting */
    uint64_t used;
} room_t;

static void *take(room_t *room, uint64_t nbytes)
{
    uint8_t *found = room->base == NULL ? NULL : room->base + room->used;
    room->used += (nbytes + ALIGN - 1u) / ALIGN * ALIGN;
    return found;
}

static uint64_t packed_bytes(const ek_gpu_section_t *s, uint32_t first, uint32_t count)
{
    uint64_t sum = 0u;
    for (uint32_t i = first; i < first + count; ++i) {
        sum += ek_gpu_get_tensor(s, ek_gpu_get_operand(s, i)).nbytes;
    }
    return sum;
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Give every buffer its place; returns the bytes of all. */
static uint64_t arrange(ek_gpu_t *gpu, uint8_t *memory)
{
    const ek_gpu_section_t *s = &gpu->section;
    room_t room = {memory, 0u};
    uint64_t packed = 0u, expected = 0u, found = 0u, inputs = 0u;
    for (uint32_t i = 0; i < s->layer_count; ++i) {
        const ek_gpu_layer_t l = ek_gpu_get_layer(s, i);
        packed = larger(packed, packed_bytes(s, l.first_operand, l.input_count));
        expected = larger(expected,
                          packed_bytes(s, l.first_operand + l.input_count, l.output_count));
    }
    for (uint32_t i = 0; i < s->tensor_count; ++i) {
        found = larger(found, ek_gpu_get_tensor(s, i).nbytes);
    }
    for (uint32_t i = 0; i < s->argument_count; ++i) {
        const ek_gpu_argument_t a = ek_gpu_get_argument(s, i);
        found = larger(found, a.written != 0u ? a.nbytes : 0u);
    }
    for (uint32_t i = 0; i < s->input_count; ++i) {
        const ek_gpu_tensor_t t = ek_gpu_get_tensor(s, ek_gpu_get_input(s, i));
        inputs += ek_gpu_cpu_bytes(&t);
    }
    gpu->file_bytes = (uint32_t)larger(ek_gpu_results_bytes(s), TUNING_BYTES);
    gpu->functions = take(&room, s->function_count * sizeof *gpu->functions);
    gpu->places =
        take(&room, ((uint64_t)s->argument_count + s->tensor_count) * sizeof *gpu->places);
    gpu->place_of_argument = take(&room, s->argument_count * sizeof(uint32_t));
    gpu->place_of_tensor = take(&room, s->tensor_count * sizeof(uint32_t));
    gpu->trials = take(&room, s->variant_count * sizeof *gpu->trials);
    gpu->choices = take(&room, s->layer_count * sizeof(uint32_t));
    gpu->preferred = take(&room, s->layer_count * sizeof(uint32_t));
    gpu->sizes = take(&room, s->launch_count);
    gpu->preferred_sizes = take(&room, s->launch_count);
    gpu->times = take(&room, s->layer_count * sizeof(uint64_t));
    gpu->inputs = take(&room, inputs);
    gpu->packed = take(&room, packed);
    gpu->expected = take(&room, expected);
    gpu->found = take(&room, found);
    gpu->file = take(&room, gpu->file_bytes);
    return room.used;
}

size_t ek_gpu_bytes(const ek_model_t *model)
{
    ek_gpu_t gpu;
    uint32_t detail;
    memset(&gpu, 0, sizeof gpu);
    if (ek_gpu_section(model, &gpu.section, &detail) != EK_OK) {
        return 0u;
    }
    const uint64_t nbytes = arrange(&gpu, NULL);
    return nbytes <= SIZE_MAX ? (size_t)nbytes : 0u;
}

/* ---- places: each range of memory once */

static uint32_t place_at(ek_gpu_t *gpu, uint32_t space, uint32_t offset, uint32_t nbytes)
{
    for (uint32_t i = 0; i < gpu->place_count; ++i) {
        const ek_gpu_place_t *p = &gpu->places[i];
        if (p->space == space && p->offset == offset && p->nbytes == nbytes) {
            return i;
        }
    }
    const ek_gpu_place_t added = {space, offset, nbytes};
    gpu->places[gpu->place_count] = added;
    gpu->place_count += 1u;
    return gpu->place_count - 1u;
}

static bool make_memory(ek_gpu_t *gpu)
{
    const ek_gpu_section_t *s = &gpu->section;
    for (uint32_t i = 0; i < s->tensor_count; ++i) {
        const ek_gpu_tensor_t t = ek_gpu_get_tensor(s, i);
        gpu->place_of_tensor[i] = place_at(gpu, EK_GPU_ARENA, t.offset, t.nbytes);
    }
    for (uint32_t i = 0; i < s->argument_count; ++i) {
        const ek_gpu_argument_t a = ek_gpu_get_argument(s, i);
        gpu->place_of_argument[i] = place_at(gpu, a.space, a.offset, a.nbytes);
    }
    const ek_gpu_memory_t memory = {
        s->arena_bytes, {s->constants, s->constant_bytes}, gpu->places, gpu->place_count};
    return gpu->device->memory(gpu->device->self, &memory) == EK_GPU_OK;
}

/* ---- functions */

static bool build(ek_gpu_t *gpu)
{
    const ek_gpu_section_t *s = &gpu->section;
    for (uint32_t i = 0; i < s->function_count; ++i) {
        gpu->functions[i] = ek_gpu_get_function(s, i);
    }
    for (uint32_t i = 0; i < s->variant_count; ++i) {
        const ek_gpu_variant_t v = ek_gpu_get_variant(s, i);
        if ((v.needs & ~gpu->device->info.features) != 0u ||
            gpu->trials[i].verdict > (uint32_t)EK_GPU_RIGHT) {
            continue;
        }
        for (uint32_t j = 0; j < v.launch_count; ++j) {
            gpu->functions[ek_gpu_get_launch(s, v.first_launch + j).function].wanted = true;
        }
    }
    const ek_gpu_code_t code = {{s->text + s->prelude, s->prelude_bytes},
                                gpu->functions,
                                s->function_count,
                                gpu->model->hash,
                                gpu->options.folder == NULL ? "" : gpu->options.folder};
    return gpu->device->build(gpu->device->self, &code) == EK_GPU_OK;
}

/* Whether everything that kept results have chosen has been built. */
static bool choices_are_built(const ek_gpu_t *gpu)
{
    const ek_gpu_section_t *s = &gpu->section;
    for (uint32_t i = 0; i < s->layer_count; ++i) {
        if (gpu->choices[i] == EK_GPU_ON_CPU) {
            continue;
        }
        const ek_gpu_variant_t v = ek_gpu_get_variant(s, gpu->choices[i]);
        for (uint32_t j = 0; j < v.launch_count; ++j) {
            const char *said;
            if (!gpu->device->built(gpu->device->self,
                                    ek_gpu_get_launch(s, v.first_launch + j).function, &said)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- opening */

/* Whether whole inferences give the golden outputs, after each layer was right by itself. */
static bool whole_is_right(ek_gpu_t *gpu, uint32_t samples)
{
    for (uint32_t sample = 0; sample < samples; ++sample) {
        ek_gpu_bytes_t data = {NULL, 0u};
        for (uint32_t i = 0; i < gpu->section.input_count; ++i) {
            if (ek_gpu_get_golden(gpu->model, &gpu->section, sample, false, i, &data)) {
                memcpy(ek_input(gpu->model, i, NULL), data.data, data.nbytes);
            }
        }
        if (ek_gpu_invoke(gpu) != EK_OK) {
            return false;
        }
        for (uint32_t i = 0; i < gpu->section.output_count; ++i) {
            const ek_gpu_tensor_t t =
                ek_gpu_get_tensor(&gpu->section, ek_gpu_get_output(&gpu->section, i));
            if (!ek_gpu_get_golden(gpu->model, &gpu->section, sample, true, i, &data) ||
                !ek_gpu_agrees(&t, ek_output(gpu->model, i, NULL), data.data, data.nbytes)) {
                return false;
            }
        }
    }
    return true;
}

static void all_on_cpu(ek_gpu_t *gpu, ek_gpu_verdict_t verdict)
{
    for (uint32_t i = 0; i < gpu->section.layer_count; ++i) {
        if (gpu->choices[i] != EK_GPU_ON_CPU && verdict != EK_GPU_UNTRIED) {
            gpu->trials[gpu->choices[i]].verdict = verdict;
        }
        gpu->choices[i] = EK_GPU_ON_CPU;
    }
}

/* Test what is not known, and keep what was found. */
static void test(ek_gpu_t *gpu)
{
    all_on_cpu(gpu, EK_GPU_UNTRIED);
    if (!ek_gpu_test(gpu)) {
        all_on_cpu(gpu, EK_GPU_UNTRIED);
        ek_gpu_lose(gpu);
        ek_gpu_store_results(gpu, false);
        return;
    }
    if (!whole_is_right(gpu, gpu->section.golden_count)) {
        if (!gpu->lost) {
            ek_gpu_say(gpu, "every layer is right by itself and the whole is not: the CPU computes");
        }
        all_on_cpu(gpu, gpu->lost ? EK_GPU_UNTRIED : EK_GPU_WRONG_WHOLE);
        if (gpu->lost) {
            return; /* the next start may fare better */
        }
    }
    ek_gpu_store_results(gpu, true);
}

static void prepare(ek_gpu_t *gpu)
{
    bool complete = false;
    if (!make_memory(gpu)) {
        ek_gpu_say(gpu, "the device refuses the memory that the model needs: the CPU computes");
        gpu->device = NULL;
        return;
    }
    ek_gpu_load_tuning(gpu);
    (void)ek_gpu_load_results(gpu, &complete);
    if (!build(gpu)) {
        ek_gpu_say(gpu, "the device builds nothing: the CPU computes");
        gpu->device = NULL;
        return;
    }
    if (complete && !choices_are_built(gpu)) {
        ek_gpu_say(gpu, "a function that was right does not compile any more: testing again");
        memset(gpu->trials, 0, gpu->section.variant_count * sizeof *gpu->trials);
        complete = false;
    }
    if (complete && gpu->section.golden_count != 0u && !whole_is_right(gpu, 1u) && !gpu->lost) {
        ek_gpu_say(gpu, "what was right at an earlier start is not any more: testing again");
        memset(gpu->trials, 0, gpu->section.variant_count * sizeof *gpu->trials);
        complete = build(gpu) ? false : true;
    }
    if (!complete && !gpu->lost) {
        test(gpu);
    }
}

ek_status_t ek_gpu_open(ek_gpu_t *gpu, const ek_model_t *model, ek_gpu_device_t *device,
                        void *memory, size_t memory_bytes, const ek_gpu_options_t *options)
{
    uint32_t detail;
    memset(gpu, 0, sizeof *gpu);
    const ek_status_t status = ek_gpu_section(model, &gpu->section, &detail);
    if (status != EK_OK) {
        return status;
    }
    if (model->state_count != 0u) {
        return EK_STATE;
    }
    if ((uintptr_t)memory % ALIGN != 0u) {
        return EK_ALIGNMENT;
    }
    if (memory == NULL || arrange(gpu, memory) > memory_bytes) {
        return EK_ARENA_TOO_SMALL;
    }
    memset(memory, 0, (size_t)arrange(gpu, memory));
    gpu->model = model;
    gpu->device = device;
    if (options != NULL) {
        gpu->options = *options;
    }
    if (gpu->options.patience_ms == 0u) {
        gpu->options.patience_ms = PATIENCE_MS;
    }
    for (uint32_t i = 0; i < gpu->section.layer_count; ++i) {
        gpu->choices[i] = EK_GPU_ON_CPU;
        gpu->preferred[i] = EK_GPU_ON_CPU;
    }
    if (device != NULL) {
        prepare(gpu);
    }
    return EK_OK;
}
