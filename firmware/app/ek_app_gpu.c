/* ek_app_gpu.c - the device program's model as a bundle, run on a GPU through OpenCL or
 * Vulkan.
 *
 * The environment says which: EDGEKIT_GPU_API is "opencl", "vulkan", or the first of them that has a
 * device; EDGEKIT_GPU is part of "PLATFORM / DEVICE", or "gpu" for a device that says it is one, else
 * the first; EDGEKIT_OPENCL_LIBRARY and EDGEKIT_VULKAN_LIBRARY other libraries; EDGEKIT_GPU_FOLDER where
 * results and programs are kept (~/.cache/edgekit), EDGEKIT_GPU_TUNING a tuning file
 * (FOLDER/gpu-tuning-HASH-DEVICE, by the bundle's hash and the CRC-32 of the device's and the
 * driver's name), EDGEKIT_GPU_PATIENCE_MS how long an inference may take. */
#define _POSIX_C_SOURCE 200809L
#include "ek_app.h"
#include "ek_app_gpu.h"
#include "ek_gpu.h"
#include "ek_gpu_core.h"
#include "ek_gpu_opencl.h"
#include "ek_gpu_vulkan.h"
#include "ek_profile.h"
#include "model_config.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { PROGRAM_BYTES = 32 << 20, LINES = 64, LINE = 256, PATH = 512, TUNING_BYTES = 65536 };

extern const uint8_t ek_bundle_start[];
extern const uint8_t ek_bundle_end[];
extern const ek_kernel_t ek_kernels[];
extern const uint32_t ek_kernel_count;

static ek_model_t model;
static const ek_kernel_t *slots[EK_MODEL_KERNELS];
static uint8_t arena[EK_MODEL_ARENA_BYTES] __attribute__((aligned(16)));
static ek_gpu_opencl_t opencl;
static ek_gpu_vulkan_t vulkan;
static ek_gpu_device_t *device;
static ek_gpu_t gpu;
static bool prepared;
static ek_status_t prepared_status;
static char why[LINE - 16], said[LINES][LINE], folder[PATH], tuning[PATH];
static uint32_t said_count;

static void say(void *context, const char *line)
{
    (void)context;
    if (said_count < (uint32_t)LINES) {
        (void)snprintf(said[said_count], LINE, "said %s", line);
        said_count += 1u;
    }
    (void)fprintf(stderr, "%s\n", line);
}

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value == NULL ? "" : value;
}

#ifdef EK_PROFILE
static uint64_t now(void *context)
{
    struct timespec time = {0, 0};
    (void)context;
    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}
#endif

/* Where files are kept, made where it is missing; "" where there is no such place. */
static void find_folder(void)
{
    int n = snprintf(folder, sizeof folder, "%s", setting("EDGEKIT_GPU_FOLDER"));
    if (n == 0 && setting("XDG_CACHE_HOME")[0] != '\0') {
        n = snprintf(folder, sizeof folder, "%s/edgekit", setting("XDG_CACHE_HOME"));
    } else if (n == 0 && setting("HOME")[0] != '\0') {
        n = snprintf(folder, sizeof folder, "%s/.cache", setting("HOME"));
        (void)mkdir(folder, 0755);
        n = snprintf(folder, sizeof folder, "%s/.cache/edgekit", setting("HOME"));
    }
    (void)mkdir(folder, 0755);
    struct stat about;
    if (n < 0 || (size_t)n >= sizeof folder || stat(folder, &about) != 0 ||
        !S_ISDIR(about.st_mode)) {
        folder[0] = '\0';
    }
}

/* The file of choices for this model and device in the folder; false where there is no folder. */
static bool kept_tuning(void)
{
    const uint8_t *h = model.hash;
    char names[2u * EK_GPU_NAME + 2u];
    const int length =
        snprintf(names, sizeof names, "%s\n%s", device->info.name, device->info.driver);
    const uint32_t which = ek_gpu_crc32((const uint8_t *)names, (uint32_t)length);
    const int n = snprintf(tuning, sizeof tuning,
                           "%s/gpu-tuning-%02x%02x%02x%02x%02x%02x%02x%02x-%08lx", folder, h[0], h[1],
                           h[2], h[3], h[4], h[5], h[6], h[7], (unsigned long)which);
    return folder[0] != '\0' && n >= 0 && (size_t)n < sizeof tuning;
}

static void find_tuning(void)
{
    const char *const asked = setting("EDGEKIT_GPU_TUNING");
    struct stat about;
    if (asked[0] != '\0') {
        const int n = snprintf(tuning, sizeof tuning, "%s", asked);
        if ((size_t)n >= sizeof tuning) {
            say(NULL, "EDGEKIT_GPU_TUNING is ignored: the name is too long");
            tuning[0] = '\0';
        }
    } else if (!kept_tuning() || stat(tuning, &about) != 0) { /* nothing was asked for */
        tuning[0] = '\0';
    }
}

static void *load(const char *name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }
static const ek_gpu_loader_t loader = {load, dlsym};

static void *room(size_t nbytes)
{
    void *found = NULL;
    return nbytes != 0u && posix_memalign(&found, 16u, nbytes) == 0 ? found : NULL;
}

/* The device of one API; NULL where there is none, and `why` is filled. Memory is never given back: a
 * device that is gone may still use it. */
static ek_gpu_device_t *open_opencl(void)
{
    const ek_gpu_opencl_settings_t wanted = {&loader, setting("EDGEKIT_OPENCL_LIBRARY"),
                                             setting("EDGEKIT_GPU")};
    void *memory = room(ek_gpu_opencl_bytes(&model, PROGRAM_BYTES));
    if (memory == NULL) {
        (void)snprintf(why, sizeof why, "there is not enough memory");
        return NULL;
    }
    return ek_gpu_opencl_open(&opencl, &model, memory, PROGRAM_BYTES, &wanted, why, sizeof why);
}

static ek_gpu_device_t *open_vulkan(void)
{
    const ek_gpu_vulkan_settings_t wanted = {&loader, setting("EDGEKIT_VULKAN_LIBRARY"),
                                             setting("EDGEKIT_GPU")};
    void *memory = room(ek_gpu_vulkan_bytes(&model, PROGRAM_BYTES));
    if (memory == NULL) {
        (void)snprintf(why, sizeof why, "there is not enough memory");
        return NULL;
    }
    return ek_gpu_vulkan_open(&vulkan, &model, memory, PROGRAM_BYTES, &wanted, why, sizeof why);
}

/* OpenCL's where nothing is asked for, Vulkan's where there is none of OpenCL. */
static ek_gpu_device_t *open_device(void)
{
    enum { HALF = (int)(sizeof why - sizeof "; ") / 2 };
    const char *const api = setting("EDGEKIT_GPU_API");
    char first[HALF + 1];
    if (strcmp(api, "vulkan") == 0) {
        return open_vulkan();
    }
    ek_gpu_device_t *found = open_opencl();
    if (found != NULL || strcmp(api, "opencl") == 0) {
        return found;
    }
    (void)snprintf(first, sizeof first, "%.*s", HALF, why);
    found = open_vulkan();
    if (found == NULL) {
        char second[HALF + 1];
        (void)snprintf(second, sizeof second, "%.*s", HALF, why);
        (void)snprintf(why, sizeof why, "%s; %s", first, second);
    }
    return found;
}

static ek_status_t open_gpu(void)
{
    const size_t gpu_bytes = ek_gpu_bytes(&model);
    void *memory = room(gpu_bytes);
    find_folder();
    if (memory == NULL) {
        (void)snprintf(why, sizeof why, "%s", gpu_bytes == 0u ? "the bundle has no GPU section"
                                                              : "there is not enough memory");
        return EK_GPU_NONE;
    }
    device = open_device();
    if (device == NULL) {
        return EK_GPU_NONE;
    }
    find_tuning();
    const ek_gpu_options_t options = {
        folder, tuning, (uint32_t)strtoul(setting("EDGEKIT_GPU_PATIENCE_MS"), NULL, 10), say,
#ifdef EK_PROFILE
        now,
#else
        NULL,
#endif
        NULL, NULL};
    return ek_gpu_open(&gpu, &model, device, memory, gpu_bytes, &options);
}

static ek_status_t prepare(void)
{
    if (!prepared) {
        prepared = true;
        /* A model with states has no section, and is the CPU's. */
        prepared_status = model.state_count != 0u ? EK_OK : open_gpu();
    }
    return prepared_status;
}

int32_t ek_app_open(ek_app_info_t *info)
{
    const ek_status_t status =
        ek_open(&model, ek_bundle_start, (size_t)(ek_bundle_end - ek_bundle_start), ek_kernels,
                ek_kernel_count, slots, EK_MODEL_KERNELS, arena, sizeof arena);
    info->mode = "gpu";
    for (uint32_t i = 0; i < sizeof info->model_hash; ++i) {
        info->model_hash[i] = model.hash[i];
    }
    info->inputs = (uint16_t)model.input_count;
    info->outputs = (uint16_t)model.output_count;
    info->layers = (uint16_t)model.call_count;
    info->arena_bytes = model.arena_bytes;
    return (int32_t)status;
}

uint8_t *ek_app_input(uint32_t index, uint32_t *bytes) { return ek_input(&model, index, bytes); }

const uint8_t *ek_app_output(uint32_t index, uint32_t *bytes)
{
    return ek_output(&model, index, bytes);
}

/* Preparing runs the model, and inputs are there already: they are kept. */
static ek_status_t prepare_with_inputs(void)
{
    uint32_t sum = 0u, nbytes = 0u;
    if (prepared) {
        return prepared_status;
    }
    for (uint32_t i = 0; i < model.input_count; ++i) {
        (void)ek_input(&model, i, &nbytes);
        sum += nbytes;
    }
    uint8_t *kept = room((size_t)sum + 1u), *at = kept;
    if (kept == NULL) {
        return EK_ARENA_TOO_SMALL;
    }
    for (uint32_t i = 0; i < model.input_count; ++i, at += nbytes) {
        memcpy(at, ek_input(&model, i, &nbytes), nbytes);
    }
    const ek_status_t status = prepare();
    at = kept;
    for (uint32_t i = 0; i < model.input_count; ++i, at += nbytes) {
        memcpy(ek_input(&model, i, &nbytes), at, nbytes);
    }
    free(kept);
    return status;
}

int32_t ek_app_invoke(void)
{
    ek_status_t status = prepare_with_inputs();
    if (status != EK_OK) {
        return (int32_t)status;
    }
    if (gpu.model == NULL) { /* a model with states */
        return (int32_t)ek_invoke(&model);
    }
    EK_EDGE(0u);
    status = ek_gpu_invoke(&gpu);
#ifdef EK_PROFILE
    for (uint32_t i = 0; i < model.call_count; ++i) {
        ek_profile_place(i + 1u, ek_gpu_layer_time(&gpu, i));
    }
#endif
    return (int32_t)status;
}

int32_t ek_app_reset(void) { return (int32_t)ek_reset(&model); }

const char *ek_app_gpu_line(uint32_t index)
{
    static char line[LINE];
    char text[LINE - 16];
    (void)prepare();
    if (model.state_count != 0u) {
        return index == 0u ? "said a model with states is the CPU's as a whole" : "";
    }
    if (device == NULL) {
        (void)snprintf(line, sizeof line, "why %s", why);
        return index == 0u ? line : "";
    }
    line[0] = '\0';
    if (index == 0u) {
        (void)snprintf(line, sizeof line, "device %s", device->info.name);
    } else if (index == 1u) {
        (void)snprintf(line, sizeof line, "driver %s", device->info.driver);
    } else if (index == 2u) {
        (void)snprintf(line, sizeof line, "api %s", device->info.api);
    } else if (index == 3u) {
        (void)snprintf(line, sizeof line, "cpu %d", device->info.is_cpu ? 1 : 0);
    } else if (index - 4u < model.call_count) {
        (void)snprintf(line, sizeof line, "layer %lu %s", (unsigned long)(index - 4u),
                       ek_gpu_layer_text(&gpu, index - 4u, text, sizeof text));
    } else if (index - 4u - model.call_count < said_count) {
        return said[index - 4u - model.call_count];
    }
    return line;
}

uint32_t ek_app_gpu_time(uint32_t layer, uint32_t variant, const uint8_t *sizes, uint32_t size_count,
                         uint32_t repeat, uint32_t *detail, uint64_t *ns)
{
    (void)prepare();
    const ek_gpu_trial_t trial = ek_gpu_time(&gpu, layer, variant, sizes, size_count, repeat, ns);
    *detail = trial.detail;
    return trial.verdict;
}

int32_t ek_app_gpu_tuning(uint32_t offset, const uint8_t *data, uint32_t nbytes)
{
    static uint8_t text[TUNING_BYTES];
    if (offset > sizeof text || nbytes > sizeof text - offset) {
        return -1;
    }
    if (nbytes != 0u) {
        memcpy(text + offset, data, nbytes);
        return 0;
    }
    (void)prepare();
    return device != NULL && kept_tuning() && ek_file_write(tuning, text, offset) ? 0 : -1;
}
