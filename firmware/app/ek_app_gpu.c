/* ek_app_gpu.c - the device program's model as a bundle, run on a GPU through OpenCL or
 * Vulkan.
 *
 * The environment says which: EDGEKIT_GPU_API is "opencl", "vulkan", or the first of them that has a
 * device; EDGEKIT_GPU is part of "PLATFORM / DEVICE", or "gpu" for a device that says it is one, else
 * the first; EDGEKIT_OPENCL_LIBRARY and EDGEKIT_VULKAN_LIBRARY other libraries; EDGEKIT_GPU_FOLDER where
 * results and programs are kept (~/.cache/edgekit), EDGEKIT_GPU_TUNING a tuning file
 * (FOLDER/gpu-tuning-HASH-DEVICE, by the bundle's hash and the CRC-32 of the device's and the
 * driver's name), EDGEKIT_GPU_PATIENCE_MS how long an inference may take. */
#include "ek_app.h"
#include "ek_app_gpu.h"
#include "ek_gpu.h"
#include "ek_gpu_core.h"
#include "ek_gpu_opencl.h"
#include "ek_gpu_vulkan.h"
#include "ek_profile.h"
#include "ek_system.h"
#include "model_config.h"

#include <string.h>

enum {
    PROGRAM_BYTES = 32 << 20,
    LINES = 64,
    LINE = 256,
    WHY = LINE - 16,
    PATH = 512,
    TUNING_BYTES = 65536,
    STDERR = 2
};

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
static char why[WHY], said[LINES][LINE], folder[PATH], tuning[PATH];
static uint32_t said_count;

/* ---- what the process has */

/* The dynamic loader's, the only functions of a C library that are called: any of them has these. */
void *dlopen(const char *name, int flags);
void *dlsym(void *restrict library, const char *restrict name);

static void *load(const char *name)
{
    enum { NOW = 2 }; /* RTLD_NOW | RTLD_LOCAL of glibc, musl and 64-bit bionic */
    return dlopen(name, NOW);
}

static void *symbol(void *library, const char *name) { return dlsym(library, name); }

static const ek_gpu_loader_t loader = {load, symbol};

/* A text that is `first` and then `second`. */
static void set(char *text, size_t size, const char *first, const char *second)
{
    text[0] = '\0';
    ek_gpu_text_add_two(text, size, first, second);
}

static void say(void *context, const char *line)
{
    (void)context;
    if (said_count < (uint32_t)LINES) {
        set(said[said_count], LINE, "said ", line);
        said_count += 1u;
    }
    ek_print(STDERR, line);
    ek_print(STDERR, "\n");
}

/* A variable of the environment, "" where it is not there; one that is too long is said and ignored. */
static const char *setting(const char *name, char value[PATH])
{
    if (ek_environment(name, value, PATH) >= (size_t)PATH) {
        char line[LINE];
        set(line, sizeof line, name, " is ignored: it has more than 511 bytes");
        say(NULL, line);
    }
    return value;
}

#ifdef EK_PROFILE
static uint64_t now(void *context)
{
    (void)context;
    return ek_clock_ns();
}
#endif

/* ---- files */

/* Where files are kept, made where it is missing; "" where there is no such place. */
static void find_folder(void)
{
    char base[PATH];
    if (setting("EDGEKIT_GPU_FOLDER", base)[0] != '\0') {
        set(folder, sizeof folder, base, "");
    } else if (setting("XDG_CACHE_HOME", base)[0] != '\0') {
        set(folder, sizeof folder, base, "/edgekit");
    } else if (setting("HOME", base)[0] != '\0') {
        set(folder, sizeof folder, base, "/.cache");
        (void)ek_folder_make(folder);
        ek_gpu_text_add(folder, sizeof folder, "/edgekit");
    }
    if (folder[0] == '\0' || ek_gpu_text_bytes_of(folder) + 1u >= sizeof folder ||
        !ek_folder_make(folder)) {
        folder[0] = '\0';
        say(NULL, "there is no folder to keep anything in: every start tests again (EDGEKIT_GPU_FOLDER)");
    }
}

/* The file of choices for this model and device in the folder; false where there is no folder. */
static bool kept_tuning(void)
{
    return folder[0] != '\0' &&
           ek_gpu_tuning_path(tuning, sizeof tuning, folder, &model, device);
}

static void find_tuning(void)
{
    char asked[PATH];
    if (setting("EDGEKIT_GPU_TUNING", asked)[0] != '\0') {
        set(tuning, sizeof tuning, asked, "");
    } else if (!kept_tuning() || !ek_file_exists(tuning)) { /* nothing was asked for */
        tuning[0] = '\0';
    }
}

/* ---- the device */

/* The device of one API; NULL where there is none, and `why` is filled. Memory is never given back: a
 * device that is gone may still use it. */
static ek_gpu_device_t *open_opencl(void)
{
    char library[PATH], asked[PATH];
    const ek_gpu_opencl_settings_t wanted = {
        &loader, setting("EDGEKIT_OPENCL_LIBRARY", library), setting("EDGEKIT_GPU", asked)};
    void *memory = ek_memory(ek_gpu_opencl_bytes(&model, PROGRAM_BYTES));
    if (memory == NULL) {
        set(why, sizeof why, "there is not enough memory", "");
        return NULL;
    }
    return ek_gpu_opencl_open(&opencl, &model, memory, PROGRAM_BYTES, &wanted, why, sizeof why);
}

static ek_gpu_device_t *open_vulkan(void)
{
    char library[PATH], asked[PATH];
    const ek_gpu_vulkan_settings_t wanted = {
        &loader, setting("EDGEKIT_VULKAN_LIBRARY", library), setting("EDGEKIT_GPU", asked)};
    void *memory = ek_memory(ek_gpu_vulkan_bytes(&model, PROGRAM_BYTES));
    if (memory == NULL) {
        set(why, sizeof why, "there is not enough memory", "");
        return NULL;
    }
    return ek_gpu_vulkan_open(&vulkan, &model, memory, PROGRAM_BYTES, &wanted, why, sizeof why);
}

/* OpenCL's where nothing is asked for, Vulkan's where there is none of OpenCL. */
static ek_gpu_device_t *open_device(void)
{
    enum { HALF = (WHY - 2) / 2 }; /* of the text, without "; " */
    char api[PATH], first[HALF], second[HALF];
    if (ek_gpu_text_is(setting("EDGEKIT_GPU_API", api), "vulkan")) {
        return open_vulkan();
    }
    if (api[0] != '\0' && !ek_gpu_text_is(api, "opencl")) {
        set(why, sizeof why, "EDGEKIT_GPU_API is '", api);
        ek_gpu_text_add(why, sizeof why, "', not opencl or vulkan");
        return NULL;
    }
    ek_gpu_device_t *found = open_opencl();
    if (found != NULL || ek_gpu_text_is(api, "opencl")) {
        return found;
    }
    set(first, sizeof first, why, "");
    found = open_vulkan();
    if (found == NULL) {
        set(second, sizeof second, why, "");
        set(why, sizeof why, first, "; ");
        ek_gpu_text_add(why, sizeof why, second);
    }
    return found;
}

/* Milliseconds that an inference may take; 0, which is the default, where that is no number. */
static uint32_t patience(void)
{
    enum { MOST = 86400000 }; /* a day */
    char text[PATH];
    const char *at = setting("EDGEKIT_GPU_PATIENCE_MS", text);
    uint32_t value = 0u;
    for (; *at >= '0' && *at <= '9' && value <= (uint32_t)MOST; ++at) {
        value = value * 10u + (uint32_t)(*at - '0');
    }
    if (text[0] != '\0' && (*at != '\0' || value == 0u || value > (uint32_t)MOST)) {
        say(NULL, "EDGEKIT_GPU_PATIENCE_MS is ignored: it is not 1 to 86400000");
        return 0u;
    }
    return value;
}

static ek_status_t open_gpu(void)
{
    const size_t gpu_bytes = ek_gpu_bytes(&model);
    void *memory = gpu_bytes == 0u ? NULL : ek_memory(gpu_bytes);
    find_folder();
    if (memory == NULL) {
        set(why, sizeof why, gpu_bytes == 0u ? "the bundle has no GPU section"
                                             : "there is not enough memory", "");
        return EK_GPU_NONE;
    }
    device = open_device();
    if (device == NULL) {
        return EK_GPU_NONE;
    }
    find_tuning();
    const ek_gpu_options_t options = {
        folder, tuning, patience(), say,
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
    uint8_t *kept = ek_memory((size_t)sum + 1u), *at = kept; /* once in a process */
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

static const char *layer_line(uint32_t layer, char *line, size_t size)
{
    char text[WHY];
    line[0] = '\0';
    ek_gpu_text_add(line, size, "layer ");
    ek_gpu_text_number(line, size, layer);
    ek_gpu_text_add_two(line, size, " ", ek_gpu_layer_text(&gpu, layer, text, sizeof text));
    return line;
}

const char *ek_app_gpu_line(uint32_t index)
{
    static char line[LINE];
    (void)prepare();
    if (model.state_count != 0u) {
        return index == 0u ? "said a model with states is the CPU's as a whole" : "";
    }
    if (device == NULL) {
        set(line, sizeof line, "why ", why);
        return index == 0u ? line : "";
    }
    line[0] = '\0';
    if (index == 0u) {
        set(line, sizeof line, "device ", device->info.name);
    } else if (index == 1u) {
        set(line, sizeof line, "driver ", device->info.driver);
    } else if (index == 2u) {
        set(line, sizeof line, "api ", device->info.api);
    } else if (index == 3u) {
        set(line, sizeof line, "cpu ", device->info.is_cpu ? "1" : "0");
    } else if (index - 4u < model.call_count) {
        return layer_line(index - 4u, line, sizeof line);
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
