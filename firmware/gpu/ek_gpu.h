/* ek_gpu.h - a compiled model on a GPU, with the bytes of the CPU (docs/GPU.md).
 *
 *   ek_open(&model, ...);                                   the CPU's model, as ever
 *   ek_gpu_opencl_open(&opencl, &model, memory, bytes, &settings, why, sizeof why);
 *   s = ek_gpu_open(&gpu, &model, device, memory, bytes, &options);
 *   memcpy(ek_input(&model, 0, NULL), sample, sample_bytes);
 *   s = ek_gpu_invoke(&gpu);                                or ek_gpu_start, other work, ek_gpu_wait
 *   ... ek_output(&model, 0, NULL) ...
 *
 * Inputs and outputs are those of the CPU's model. Whatever a device does, the outputs are right:
 * layers that it cannot compute are the CPU's, and an inference during which it is lost is done again
 * on the CPU. Memory comes from the caller. Files are used where a folder is named. No call goes into a
 * C library: files and clock are system calls of Linux, libraries are loaded by the caller's loader.
 */
#ifndef EK_GPU_H
#define EK_GPU_H

#include <stddef.h>

#include "edgekit.h"
#include "ek_gpu_device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Most functions, launches, places ... of a section. */
#define EK_GPU_MOST 16384u
/* Events of a run: a launch each, of a section with more launches the first ones. */
#define EK_GPU_EVENTS 1024u
/* The variant of a layer that the CPU computes. */
#define EK_GPU_ON_CPU 0xFFFFFFFFu

/* What became of a variant. Numbers stay what they are: files keep them. */
typedef enum {
    EK_GPU_UNTRIED = 0,     /* an earlier one was taken */
    EK_GPU_RIGHT = 1,       /* the CPU's bytes on every golden sample */
    EK_GPU_NEEDS = 2,       /* the device lacks a feature */
    EK_GPU_UNBUILT = 3,     /* it did not compile */
    EK_GPU_UNSTARTED = 4,   /* the device refused to run it */
    EK_GPU_WRONG_BYTES = 5, /* `detail` bytes differ from the CPU's */
    EK_GPU_DIED = 6,        /* the device was lost with it, or did not end in time */
    EK_GPU_WRONG_WHOLE = 7  /* each layer was right, and the model's outputs were not */
} ek_gpu_verdict_t;

typedef struct {
    uint32_t verdict; /* ek_gpu_verdict_t */
    uint32_t detail;
} ek_gpu_trial_t;

/* The tables of a bundle's GPU section, verified. */
typedef struct {
    const uint8_t *text, *spirv, *constants;
    const uint8_t *functions, *arguments, *launches, *sizes, *variants, *tensors, *operands, *layers;
    const uint8_t *inputs, *outputs;
    uint32_t text_bytes, spirv_bytes, constant_bytes;
    uint32_t function_count, argument_count, launch_count, size_count, variant_count, tensor_count;
    uint32_t operand_count, layer_count, input_count, output_count;
    uint32_t prelude, prelude_bytes;
    uint32_t arena_bytes;
    uint32_t golden_count;
    const uint8_t *golden;
} ek_gpu_section_t;

typedef struct {
    /* Where results of tests and built programs are kept; NULL or "": nowhere, every start tests. */
    const char *folder;
    /* The file with choices for this device (docs/GPU.md, "Tuning"); NULL or "": none. */
    const char *tuning;
    /* How long an inference may take until the device counts as lost; 0: 20 s. */
    uint32_t patience_ms;
    /* Told every line that a person may want to read; NULL: nobody. */
    void (*say)(void *context, const char *line);
    /* Nanoseconds, for the times of layers; NULL: nobody measures. Where the device has no times of
     * its own, layers then run one by one. */
    uint64_t (*now)(void *context);
    /* Computes a layer of the CPU in the model's arena, for programs whose kernels are no table; NULL:
     * ek_step does. */
    void (*layer)(void *context, uint32_t index);
    void *context;
} ek_gpu_options_t;

/* Fields are for reading. */
typedef struct {
    const ek_model_t *model;
    ek_gpu_device_t *device; /* NULL where nothing is to be run on it */
    ek_gpu_section_t section;
    ek_gpu_options_t options;
    ek_gpu_function_t *functions;
    ek_gpu_place_t *places;
    uint32_t place_count;
    uint32_t *place_of_argument;
    uint32_t *place_of_tensor;
    ek_gpu_trial_t *trials; /* of each variant */
    uint32_t *choices;      /* of each layer: a variant, or EK_GPU_ON_CPU */
    uint32_t *preferred;    /* of each layer, from the tuning file: a variant, or EK_GPU_ON_CPU */
    uint8_t *sizes;         /* of each launch: which of its local sizes is taken */
    uint8_t *preferred_sizes;
    uint64_t *times;        /* of each layer in the last inference, nanoseconds */
    uint8_t *inputs;        /* the model's inputs during an inference */
    uint8_t *packed;        /* the inputs of one layer, packed */
    uint8_t *expected;      /* the outputs of one layer from the CPU, packed */
    uint8_t *found;         /* one tensor or scratch buffer of the device */
    uint8_t *file;          /* a file of results or choices */
    uint32_t file_bytes;
    uint32_t tuning_hash;   /* of the choices that were taken from a file; 0: none */
    uint32_t next;          /* the layer of the inference under way */
    uint32_t events;        /* taken by it */
    bool running, lost;
} ek_gpu_t;

/* Read and verify the section of an open model; EK_STATE where the bundle has none. `detail` is the
 * index of what is wrong. */
ek_status_t ek_gpu_section(const ek_model_t *model, ek_gpu_section_t *section, uint32_t *detail);

/* Bytes of memory that ek_gpu_open wants for this model; 0 where it has no (sound) section. */
size_t ek_gpu_bytes(const ek_model_t *model);

/* Prepare a device for a model, and test every variant where that is not known yet. The model must
 * stay open; it is used for the tests. EK_STATE where it has states, EK_ARENA_TOO_SMALL where memory
 * is. `device` NULL, or one that can do nothing, is not an error: the CPU computes. `memory` is
 * 16-byte aligned. The device is the caller's, who closes it after the last use of `gpu`. */
ek_status_t ek_gpu_open(ek_gpu_t *gpu, const ek_model_t *model, ek_gpu_device_t *device,
                        void *memory, size_t memory_bytes, const ek_gpu_options_t *options);

/* One inference. EK_GPU_LOST once where the device was lost: outputs are right all the same, and all
 * later inferences are the CPU's. */
ek_status_t ek_gpu_invoke(ek_gpu_t *gpu);

/* The same in two parts. Between them the arena belongs to the inference. ek_gpu_start returns where
 * the device has all that comes before the first layer of the CPU, which ek_gpu_wait goes on with. */
ek_status_t ek_gpu_start(ek_gpu_t *gpu);
ek_status_t ek_gpu_wait(ek_gpu_t *gpu);

/* Layers that the device computes. */
uint32_t ek_gpu_device_layers(const ek_gpu_t *gpu);

/* Nanoseconds that `layer` took in the last inference, on the device where that computed it; 0 where
 * nobody knows. */
uint64_t ek_gpu_layer_time(const ek_gpu_t *gpu, uint32_t layer);

/* For tuners, between inferences: run variant `variant` of `layer` (both counted from 0) on the first
 * golden sample, launch i with its local size of index sizes[i], and say what became of it. Where it
 * is right, `ns` gets the nanoseconds of the fastest of `repeat` further runs: by the device's clock,
 * or without one by the options' `now`, launching and waiting included; 0 where there is neither. The
 * choices of the model stay what they are. EK_GPU_UNSTARTED where there are no such numbers, or no
 * device. */
ek_gpu_trial_t ek_gpu_time(ek_gpu_t *gpu, uint32_t layer, uint32_t variant, const uint8_t *sizes,
                           uint32_t size_count, uint32_t repeat, uint64_t *ns);

/* What computes `layer` and why, as text of at most `size` bytes with its zero, for instance
 * "im2col; direct: 12 bytes differ". Returns `text`. */
const char *ek_gpu_layer_text(const ek_gpu_t *gpu, uint32_t layer, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
