/* ek_gpu_settings.h - which GPU an instance of a library's model asks for, and what it says of it. */
#ifndef EK_GPU_SETTINGS_H
#define EK_GPU_SETTINGS_H

#include <stdint.h>

#include "ek_gpu_loader.h"

/* All zero is fine. Texts need to be there during the call only. */
typedef struct {
    /* "opencl" or "vulkan"; NULL or "": OpenCL, and Vulkan where that has no device. */
    const char *api;
    /* Part of "PLATFORM / DEVICE" ("Vulkan / DEVICE") in any case of letters, or "gpu": a device that
     * says it is a GPU. NULL or "": the first GPU, or where there is none the first device. */
    const char *device;
    /* The file of the API's library instead of the system's; without `api` it is OpenCL's. */
    const char *library;
    /* A folder of the program's own, where built programs and results of tests are kept for the next
     * start (on Android: its cache). NULL or "": nowhere, every start builds and tests. */
    const char *folder;
    /* A file of choices that edgekit tune made. NULL or "": the one in the folder, where it is. */
    const char *tuning;
    /* How long an inference may take until the device counts as lost; 0: 20 s. */
    uint32_t patience_ms;
    /* Told every line that a person may want to read, also during inferences; NULL: nobody. */
    void (*say)(void *context, const char *line);
    void *context;
} ek_gpu_settings_t;

/* The device of an instance. Texts are "" where there is none, and `why` says why; it is "" where the
 * device computes. */
typedef struct {
    char api[16]; /* "OpenCL", "Vulkan" */
    char name[96];
    char driver[96];
    char why[256];
    uint32_t is_cpu; /* 1: it computes on the CPU, its speed is not a GPU's */
    uint32_t layers; /* of the model */
    uint32_t device_layers; /* of them, those that the device computes */
} ek_gpu_summary_t;

/* Who computes a layer. `by` is the variant's name, or "CPU"; then what became of others, as
 * "im2col; direct: 12 bytes differ". */
typedef struct {
    const char *name;
    const char *op;
    uint32_t on_device;
    char by[256];
} ek_gpu_layer_summary_t;

#ifndef EK_GPU_NO_DLFCN
#include <dlfcn.h>

/* The loader of the program that this is compiled into. */
static inline void *ek_gpu_dlopen(const char *name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }

static inline void *ek_gpu_dlsym(void *library, const char *name) { return dlsym(library, name); }
#endif

#endif
