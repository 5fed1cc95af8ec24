/* ek_library_gpu.h - what the functions of a library (NAME.h) stand on where its model also runs on a
 * GPU. */
#ifndef EK_LIBRARY_GPU_H
#define EK_LIBRARY_GPU_H

#include "ek_gpu_settings.h"
#include "ek_library.h"

/* `bundle` is that of `program`, one of the library's: the CPU's part of what the device computes. */
typedef struct {
    const ek_library_t *library;
    const ek_program_t *program;
    const uint8_t *bundle;
    size_t bundle_bytes;
    /* One layer of `program`. */
    void (*layer)(uint8_t *arena, const ek_parallel_t *threads, uint32_t index);
    const char *const (*layers)[2]; /* name and operator of each */
    uint32_t layer_count;
    size_t at; /* of the state below in a context; the runtime's memory follows it */
} ek_library_gpu_t;

/* Bytes of a context for what is known of its device. */
enum { EK_GPU_STATE_BYTES = 8192 };

ek_status_t ek_library_gpu_open(const ek_library_gpu_t *gpu, void *context, size_t nbytes,
                                const char *target);
ek_status_t ek_library_gpu_attach(const ek_library_gpu_t *gpu, void *context,
                                  const ek_gpu_loader_t *loader,
                                  const ek_gpu_settings_t *settings);
ek_status_t ek_library_gpu_run(const ek_library_gpu_t *gpu, void *context,
                               const ek_parallel_t *threads);
ek_status_t ek_library_gpu_close(const ek_library_gpu_t *gpu, void *context);
ek_status_t ek_library_gpu_summary(const ek_library_gpu_t *gpu, const void *context,
                                   ek_gpu_summary_t *summary);
ek_status_t ek_library_gpu_layer(const ek_library_gpu_t *gpu, const void *context, uint32_t index,
                                 ek_gpu_layer_summary_t *layer);

#endif
