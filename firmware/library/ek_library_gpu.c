/* ek_library_gpu.c - instances whose model runs on a GPU; see NAME.h for what each call does.
 *
 * Until a device is attached an instance runs the best program for its CPU. Then it runs the one that
 * was compiled for the GPU: its arena is what the runtime packs inputs from and unpacks outputs to,
 * and its layers are what the CPU computes, amid those of the device and after its loss. */
#include "ek_library_gpu.h"

#include "ek_bundle.h"
#include "ek_gpu_core.h"
#include "ek_gpu_opencl.h"
#include "ek_gpu_vulkan.h"

#include <string.h>

enum { WHY = 256, PATH = 1024, ALIGN = 16 };

typedef struct {
    const ek_library_gpu_t *library;
    size_t nbytes; /* of the whole context */
    ek_model_t model;
    ek_gpu_t gpu;
    union {
        ek_gpu_opencl_t opencl;
        ek_gpu_vulkan_t vulkan;
    } api;
    ek_gpu_device_t *device;      /* the one that is used, or was until it was lost */
    const ek_parallel_t *threads; /* of the inference under way */
    void (*say)(void *context, const char *line);
    void *say_context;
    char why[WHY]; /* the device does not compute */
    char tuning[PATH];
} state_t;

typedef char state_fits[sizeof(state_t) <= EK_GPU_STATE_BYTES ? 1 : -1];

static uint8_t *arena_of(void *context) { return (uint8_t *)context + EK_CONTEXT_HEAD; }

/* NULL where the context is not open. */
static state_t *state_of(const ek_library_gpu_t *gpu, const void *context)
{
    return ek_library_program(gpu->library, context) == NULL
               ? NULL : (state_t *)(void *)((uint8_t *)(uintptr_t)context + gpu->at);
}

static void because(state_t *state, const char *why)
{
    state->why[0] = '\0';
    ek_gpu_text_add(state->why, sizeof state->why, why);
}

ek_status_t ek_library_gpu_open(const ek_library_gpu_t *gpu, void *context, size_t nbytes,
                                const char *target)
{
    const ek_status_t status = ek_library_open(gpu->library, context, nbytes, target);
    if (status == EK_OK) {
        state_t *const state = state_of(gpu, context);
        memset(state, 0, sizeof *state);
        state->library = gpu;
        state->nbytes = nbytes;
        because(state, "nobody has asked for a device");
    }
    return status;
}

/* ---- devices */

/* What the runtime calls while it opens and runs. */
static void say(void *context, const char *line)
{
    state_t *const state = context;
    because(state, line); /* the last one stands where the CPU computes */
    if (state->say != NULL) {
        state->say(state->say_context, line);
    }
}

static void cpu_layer(void *context, uint32_t index)
{
    const state_t *const state = context;
    state->library->layer(state->model.arena, state->threads, index);
}

/* Room for programs in files, of the bytes that are left; they are counted in 32 bits. */
static uint32_t left(size_t nbytes, size_t taken)
{
    const size_t rest = (nbytes - taken) / ALIGN * ALIGN;
    return rest < 0x40000000u ? (uint32_t)rest : 0x40000000u;
}

static ek_gpu_device_t *open_opencl(state_t *state, uint8_t *memory, size_t nbytes,
                                    const ek_gpu_loader_t *loader,
                                    const ek_gpu_settings_t *settings)
{
    const ek_gpu_opencl_settings_t wanted = {loader, settings->library, settings->device};
    const size_t least = ek_gpu_opencl_bytes(&state->model, 0u);
    return ek_gpu_opencl_open(&state->api.opencl, &state->model, memory, left(nbytes, least),
                              &wanted, state->why, sizeof state->why);
}

static ek_gpu_device_t *open_vulkan(state_t *state, uint8_t *memory, size_t nbytes,
                                    const ek_gpu_loader_t *loader,
                                    const ek_gpu_settings_t *settings)
{
    const ek_gpu_vulkan_settings_t wanted = {loader, settings->library, settings->device};
    const size_t least = ek_gpu_vulkan_bytes(&state->model, 0u);
    return ek_gpu_vulkan_open(&state->api.vulkan, &state->model, memory, left(nbytes, least),
                              &wanted, state->why, sizeof state->why);
}

static bool given(const char *text) { return text != NULL && text[0] != '\0'; }

/* NULL where there is no device, and why is known. */
static ek_gpu_device_t *open_device(state_t *state, uint8_t *memory, size_t nbytes,
                                    const ek_gpu_loader_t *loader,
                                    const ek_gpu_settings_t *settings)
{
    char first[WHY / 2];
    const bool any = !given(settings->api);
    if (!any && ek_gpu_text_is(settings->api, "vulkan")) {
        return open_vulkan(state, memory, nbytes, loader, settings);
    }
    if (!any && !ek_gpu_text_is(settings->api, "opencl")) {
        because(state, "there is no API of this name: ");
        ek_gpu_text_add(state->why, sizeof state->why, settings->api);
        return NULL;
    }
    ek_gpu_device_t *found = open_opencl(state, memory, nbytes, loader, settings);
    if (found != NULL || !any || given(settings->library)) {
        return found;
    }
    first[0] = '\0';
    ek_gpu_text_add(first, sizeof first, state->why);
    found = open_vulkan(state, memory, nbytes, loader, settings);
    if (found == NULL) {
        char second[WHY / 2];
        second[0] = '\0';
        ek_gpu_text_add(second, sizeof second, state->why);
        because(state, first);
        ek_gpu_text_add_two(state->why, sizeof state->why, "; ", second);
    }
    return found;
}

/* Where choices for this device are: in the file that is asked for, or in the folder's, if it is
 * there. `memory` is for looking at it. */
static const char *tuning_of(state_t *state, const ek_gpu_device_t *device,
                             const ek_gpu_settings_t *settings, uint8_t *memory, size_t nbytes)
{
    if (given(settings->tuning)) {
        return settings->tuning;
    }
    const uint32_t most = nbytes < UINT32_MAX ? (uint32_t)nbytes : UINT32_MAX;
    return given(settings->folder) &&
                   ek_gpu_tuning_path(state->tuning, sizeof state->tuning, settings->folder,
                                      &state->model, device) &&
                   ek_file_read(state->tuning, memory, most) != 0u
               ? state->tuning : "";
}

/* The context's program is the GPU's while the device is tried, and goes on being where it computes
 * anything. */
static ek_status_t try_device(state_t *state, ek_context_t *head, ek_gpu_device_t *device,
                              uint8_t *memory, size_t nbytes, const ek_gpu_settings_t *settings)
{
    const ek_program_t *const before = head->program;
    const ek_gpu_options_t options = {
        .folder = settings->folder,
        .tuning = tuning_of(state, device, settings, memory, nbytes),
        .patience_ms = settings->patience_ms,
        .say = say,
        .layer = cpu_layer,
        .context = state,
    };
    head->program = state->library->program;
    const ek_status_t status =
        ek_gpu_open(&state->gpu, &state->model, device, memory, nbytes, &options);
    state->gpu.options.folder = NULL; /* the caller's, who may give them up now */
    state->gpu.options.tuning = NULL;
    if (status == EK_OK && ek_gpu_device_layers(&state->gpu) != 0u) {
        state->device = device;
        state->why[0] = '\0';
        return EK_OK;
    }
    device->close(device->self);
    head->program = before;
    before->reset(arena_of(head));
    if (status == EK_OK && state->gpu.device != NULL && !state->gpu.lost) {
        because(state, "no layer comes out right on ");
        ek_gpu_text_add(state->why, sizeof state->why, device->info.name);
    }
    return status == EK_OK ? EK_GPU_NONE : status;
}

ek_status_t ek_library_gpu_attach(const ek_library_gpu_t *gpu, void *context,
                                  const ek_gpu_loader_t *loader, const ek_gpu_settings_t *settings)
{
    static const ek_gpu_settings_t defaults = {0};
    state_t *const state = state_of(gpu, context);
    if (state == NULL || state->device != NULL || loader == NULL) {
        return EK_STATE;
    }
    settings = settings == NULL ? &defaults : settings;
    memset(&state->gpu, 0, sizeof state->gpu);
    memset(&state->model, 0, sizeof state->model);
    state->say = settings->say;
    state->say_context = settings->context;
    const ek_status_t status = ek_verify(&state->model, gpu->bundle, gpu->bundle_bytes);
    if (status != EK_OK) {
        return status;
    }
    state->model.arena = arena_of(context);
    const size_t runtime = ek_gpu_bytes(&state->model);
    if (runtime == 0u) {
        because(state, state->model.state_count != 0u ? "a model with states is the CPU's as a whole"
                                                      : "the library has nothing for a GPU");
        return EK_GPU_NONE;
    }
    const size_t opencl = ek_gpu_opencl_bytes(&state->model, 0u);
    const size_t vulkan = ek_gpu_vulkan_bytes(&state->model, 0u);
    const size_t before = gpu->at + EK_GPU_STATE_BYTES;
    uint8_t *const memory = (uint8_t *)context + before;
    if (runtime + (opencl > vulkan ? opencl : vulkan) > state->nbytes - before) {
        return EK_ARENA_TOO_SMALL;
    }
    ek_gpu_device_t *const device = open_device(
        state, memory + runtime, state->nbytes - before - runtime, loader, settings);
    return device == NULL ? EK_GPU_NONE
                          : try_device(state, context, device, memory, runtime, settings);
}

ek_status_t ek_library_gpu_close(const ek_library_gpu_t *gpu, void *context)
{
    state_t *const state = state_of(gpu, context);
    if (state != NULL && state->device != NULL) {
        state->device->close(state->device->self);
    }
    return ek_library_close(gpu->library, context);
}

/* ---- inferences */

ek_status_t ek_library_gpu_run(const ek_library_gpu_t *gpu, void *context,
                               const ek_parallel_t *threads)
{
    state_t *const state = state_of(gpu, context);
    if (state == NULL || state->device == NULL) {
        return ek_library_run(gpu->library, context, threads);
    }
    state->threads = threads;
    const ek_status_t status = ek_gpu_invoke(&state->gpu);
    state->threads = NULL;
    return status;
}

/* ---- what is known */

ek_status_t ek_library_gpu_summary(const ek_library_gpu_t *gpu, const void *context,
                                   ek_gpu_summary_t *summary)
{
    const state_t *const state = state_of(gpu, context);
    memset(summary, 0, sizeof *summary);
    summary->layers = gpu->layer_count;
    if (state == NULL) {
        return EK_STATE;
    }
    memcpy(summary->why, state->why, sizeof summary->why);
    if (state->device != NULL) {
        const ek_gpu_info_t *const info = &state->device->info;
        memcpy(summary->api, info->api, sizeof summary->api);
        memcpy(summary->name, info->name, sizeof summary->name);
        memcpy(summary->driver, info->driver, sizeof summary->driver);
        summary->is_cpu = info->is_cpu ? 1u : 0u;
        summary->device_layers = ek_gpu_device_layers(&state->gpu);
    }
    return EK_OK;
}

ek_status_t ek_library_gpu_layer(const ek_library_gpu_t *gpu, const void *context, uint32_t index,
                                 ek_gpu_layer_summary_t *layer)
{
    const state_t *const state = state_of(gpu, context);
    memset(layer, 0, sizeof *layer);
    if (state == NULL || index >= gpu->layer_count) {
        return EK_STATE;
    }
    layer->name = gpu->layers[index][0];
    layer->op = gpu->layers[index][1];
    if (state->gpu.model == NULL) {
        ek_gpu_text_add(layer->by, sizeof layer->by, "CPU: no device");
        return EK_OK;
    }
    layer->on_device =
        ek_gpu_device_layers(&state->gpu) != 0u && state->gpu.choices[index] != EK_GPU_ON_CPU;
    (void)ek_gpu_layer_text(&state->gpu, index, layer->by, sizeof layer->by);
    return EK_OK;
}
