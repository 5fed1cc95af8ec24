/* ek_gpu_core.h - what the files of the runtime share; nothing for users. */
#ifndef EK_GPU_CORE_H
#define EK_GPU_CORE_H

#include "ek_gpu.h"
#include "ek_gpu_loader.h"
#include "ek_system.h"

/* Rows of the section's tables. Their numbers have been verified by ek_gpu_section. */
typedef struct {
    uint32_t space, offset, nbytes, written;
} ek_gpu_argument_t;
typedef struct {
    uint32_t function, first_argument, argument_count, first_size, size_count, items[3];
} ek_gpu_launch_t;
typedef struct {
    ek_gpu_bytes_t name;
    uint32_t needs, first_launch, launch_count;
} ek_gpu_variant_t;
/* `half`: EK_GPU_HALF for float16 on the device and float32 on the CPU, EK_GPU_FLOAT for float32 on
 * both; those are compared with a tolerance. All others are integers. */
enum { EK_GPU_HALF = 1, EK_GPU_FLOAT = 2 };
typedef struct {
    uint32_t pixels, channels, element_bytes, offset, nbytes, cpu_offset, half;
} ek_gpu_tensor_t;
typedef struct {
    uint32_t first_variant, variant_count, first_operand, input_count, output_count;
    ek_gpu_bytes_t why_not;
} ek_gpu_layer_t;

ek_gpu_function_t ek_gpu_get_function(const ek_gpu_section_t *s, uint32_t index);
ek_gpu_argument_t ek_gpu_get_argument(const ek_gpu_section_t *s, uint32_t index);
ek_gpu_launch_t ek_gpu_get_launch(const ek_gpu_section_t *s, uint32_t index);
ek_gpu_variant_t ek_gpu_get_variant(const ek_gpu_section_t *s, uint32_t index);
ek_gpu_tensor_t ek_gpu_get_tensor(const ek_gpu_section_t *s, uint32_t index);
ek_gpu_layer_t ek_gpu_get_layer(const ek_gpu_section_t *s, uint32_t index);
void ek_gpu_get_size(const ek_gpu_section_t *s, uint32_t index, uint32_t size[3]);
uint32_t ek_gpu_get_operand(const ek_gpu_section_t *s, uint32_t index);
uint32_t ek_gpu_get_input(const ek_gpu_section_t *s, uint32_t index);
uint32_t ek_gpu_get_output(const ek_gpu_section_t *s, uint32_t index);
uint32_t ek_gpu_cpu_bytes(const ek_gpu_tensor_t *t);
/* Input (`outputs` false) or output `index` of golden sample `sample`. */
bool ek_gpu_get_golden(const ek_model_t *m, const ek_gpu_section_t *s, uint32_t sample, bool outputs,
                       uint32_t index, ek_gpu_bytes_t *data);

/* Between the CPU's order, pixels x channels, and the device's blocks of four channels, whose gap is
 * filled with zeros. */
void ek_gpu_pack(const ek_gpu_tensor_t *t, const uint8_t *from, uint8_t *to);
/* Whether an output of the model, as the CPU has it, is the expected one: the same bytes, or floats
 * within the tolerance. */
bool ek_gpu_agrees(const ek_gpu_tensor_t *t, const uint8_t *found, const uint8_t *expected,
                   uint32_t nbytes);
/* An element of a tensor of floats as the device has it. */
float ek_gpu_real(const ek_gpu_tensor_t *t, const uint8_t *element);
void ek_gpu_unpack(const ek_gpu_tensor_t *t, const uint8_t *from, uint8_t *to);

/* The device is lost: nothing is asked of it any more, and it is said. */
void ek_gpu_lose(ek_gpu_t *gpu);

/* `nbytes` of the memory at `*at`, which goes on to the next multiple of 16. */
uint8_t *ek_gpu_take(uint8_t **at, uint64_t nbytes);

uint64_t ek_gpu_hash(uint64_t before, const void *data, size_t nbytes); /* FNV-1a; 0 at the start */
uint32_t ek_gpu_crc32(const uint8_t *data, uint32_t nbytes);

/* The bytes of a text without its zero; whether two texts are the same. */
size_t ek_gpu_text_bytes_of(const char *text);
bool ek_gpu_text_is(const char *text, const char *other);
/* Texts. Appends to a text of at most `size` bytes with its zero, cutting what does not fit. */
void ek_gpu_text_add(char *text, size_t size, const char *more);
void ek_gpu_text_add_two(char *text, size_t size, const char *first, const char *second);
void ek_gpu_text_bytes(char *text, size_t size, ek_gpu_bytes_t more);
void ek_gpu_text_number(char *text, size_t size, uint32_t number);
/* Whether `part` is in `text`, whatever the case of letters. */
bool ek_gpu_text_has(const char *text, const char *part);
void ek_gpu_text_hash(char *text, size_t size, uint64_t hash);
void ek_gpu_say(const ek_gpu_t *gpu, const char *line);

/* A library that a driver comes in: names to try, and where in a table each of its functions goes. */
typedef struct {
    const char *name;
    size_t at;
} ek_gpu_symbol_t;
typedef struct {
    const char *api; /* for texts */
    const char *const *names;
    uint32_t name_count;
    const ek_gpu_symbol_t *symbols;
    uint32_t symbol_count;
} ek_gpu_library_t;
/* Load `asked`, or where that is NULL or "" the first of the names that is there, and fill the table.
 * False where that fails, and `why` says what. */
bool ek_gpu_library_load(const ek_gpu_library_t *library, const ek_gpu_loader_t *loader,
                         const char *asked, void *table, char *why, size_t size);
/* How well a device suits what is asked for in the settings: 0 not at all, 2 a GPU where nothing is. */
uint32_t ek_gpu_suits(bool gpu, const char *platform, const char *name, const char *asked);
/* Says in `why` that no device suits, or `nothing` where that is not NULL; false. */
bool ek_gpu_no_device(char *why, size_t size, const char *nothing, const char *api,
                      const char *asked);

/* Results of earlier tests and choices of a tuner (ek_gpu_kept.c). Loading results is false where
 * there are none of this runtime, device, driver, bundle and tuning file; `complete` says whether every layer
 * has its choice. */
uint32_t ek_gpu_results_bytes(const ek_gpu_section_t *s);
bool ek_gpu_load_results(ek_gpu_t *gpu, bool *complete);
void ek_gpu_store_results(ek_gpu_t *gpu, bool complete);
void ek_gpu_load_tuning(ek_gpu_t *gpu);
/* FOLDER/gpu-tuning-BUNDLE-DEVICE, where a tuner's choices for a model on a device are kept; DEVICE is
 * the CRC-32 of the device's and the driver's name. False where `path` has no room for it. */
bool ek_gpu_tuning_path(char *path, size_t size, const char *folder, const ek_model_t *model,
                        const ek_gpu_device_t *device);

/* Compute a layer on the CPU. */
void ek_gpu_cpu_layer(const ek_gpu_t *gpu, uint32_t layer);
/* Launch a variant with the local sizes that are chosen for it; events are counted in gpu->events. */
ek_gpu_result_t ek_gpu_launch(ek_gpu_t *gpu, uint32_t variant);
ek_gpu_result_t ek_gpu_write_tensor(ek_gpu_t *gpu, uint32_t tensor);
ek_gpu_result_t ek_gpu_read_tensor(ek_gpu_t *gpu, uint32_t tensor);
/* The variant that is tried after `variant` for a layer, first where that is EK_GPU_ON_CPU; none:
 * EK_GPU_ON_CPU. */
uint32_t ek_gpu_next_variant(const ek_gpu_t *gpu, uint32_t layer, uint32_t variant);
/* Run the model on the CPU up to and with `layer`, on a golden sample, and pack the layer's operands. */
void ek_gpu_reach(ek_gpu_t *gpu, uint32_t sample, uint32_t layer);
/* Run a variant once on packed operands, with the local sizes that are chosen for it. `wrong` gets the
 * bytes that differ from the CPU's. */
ek_gpu_result_t ek_gpu_run_once(ek_gpu_t *gpu, const ek_gpu_layer_t *layer, uint32_t variant,
                                uint32_t *wrong);
/* What can be said of a variant without running it: EK_GPU_UNTRIED where nothing is against it. */
ek_gpu_trial_t ek_gpu_judge(const ek_gpu_t *gpu, uint32_t variant);
/* Find a variant for every layer (ek_gpu_test.c). False where the device was lost. */
bool ek_gpu_test(ek_gpu_t *gpu);

#endif
