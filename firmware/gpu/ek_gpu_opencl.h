/* ek_gpu_opencl.h - devices of OpenCL 1.2 and later for ek_gpu.h. The library is loaded at run time.
 *
 * Memory is one buffer, of which places are sub-buffers, or a buffer for each place where the device
 * wants a larger alignment than places have. Built programs are kept in the folder of ek_gpu_code_t
 * under a name that depends on device, driver and source; a file that is damaged, or that the driver
 * does not take, is written again. */
#ifndef EK_GPU_OPENCL_H
#define EK_GPU_OPENCL_H

#include "ek_gpu.h"
#include "ek_gpu_loader.h"
#include "ek_gpu_opencl_api.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    /* How the library is loaded; must be there. */
    const ek_gpu_loader_t *loader;
    /* The shared library; NULL or "": the system's libOpenCL. */
    const char *library;
    /* Part of "PLATFORM / DEVICE" in any case of letters, or "gpu": a device that says it is a GPU.
     * NULL or "": the first GPU, or where there is none the first device. */
    const char *device;
} ek_gpu_opencl_settings_t;

typedef struct {
    ek_gpu_device_t device;
    ek_cl_api_t api;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    cl_mem arena, constants;
    uint32_t alignment;     /* of sub-buffers, bytes; 0 unknown */
    bool own_buffers;       /* for each place */
    bool gone;
    char options[64];
    ek_gpu_place_t *places;
    cl_mem *buffers;        /* of each place */
    void **mapped;          /* of each place, while it is */
    uint32_t place_count;
    cl_program whole;
    cl_program *programs;   /* of each function where the whole did not build */
    cl_kernel *kernels;
    uint32_t function_count;
    cl_event *events;
    const char **strings;
    size_t *lengths;
    uint8_t *scratch;       /* a file or a compiler's log */
    uint32_t scratch_bytes;
    uint32_t builds;        /* compilations, not from a file */
    char said[EK_GPU_SAID + 1u];
    char path[1024];
} ek_gpu_opencl_t;

/* Bytes of memory that ek_gpu_opencl_open wants for this model, with room for programs of
 * `program_bytes` in files; larger ones are not kept. */
size_t ek_gpu_opencl_bytes(const ek_model_t *model, uint32_t program_bytes);

/* Open a device. NULL where there is none, and `why` (of `size` bytes) says so. `memory` is 16-byte
 * aligned and must be as large as ek_gpu_opencl_bytes says for `model` and `program_bytes`. */
ek_gpu_device_t *ek_gpu_opencl_open(ek_gpu_opencl_t *opencl, const ek_model_t *model, void *memory,
                                    uint32_t program_bytes,
                                    const ek_gpu_opencl_settings_t *settings, char *why,
                                    size_t size);

#ifdef __cplusplus
}
#endif

#endif
