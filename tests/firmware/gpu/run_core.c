/* The runtime's core on the fake device, or without one:
 *   run_core BUNDLE INPUTS FOLDER TUNING
 * opens BUNDLE, runs each input of the file INPUTS (as many bytes as the model's first), and prints
 * what there was to say, a line for each layer, and for each inference its status, its output in
 * hexadecimal, layers on the device, and launches so far. With EK_FAKE=none there is no device.
 * With a fifth argument the time of layer 0 is printed too, and what ek_gpu_time says of every variant
 * and local size, and of some that there are not.
 *   run_core layout HALF PIXELS CHANNELS BYTES   packs and unpacks what comes on standard input */
#define _POSIX_C_SOURCE 200809L
#include "ek_gpu_core.h"
#include "fake_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const ek_kernel_t ek_kernels[];
extern const uint32_t ek_kernel_count;

enum { SLOTS = 4 };

static void say(void *context, const char *line)
{
    (void)context;
    printf("said %s\n", line);
}

static uint64_t now(void *context)
{
    (void)context;
    return 0u;
}

/* A file in memory of just its size, aligned as bundles are. */
static uint8_t *read_file(const char *path, size_t *nbytes)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        exit(2);
    }
    *nbytes = (size_t)ftell(file);
    rewind(file);
    void *data = NULL;
    if (posix_memalign(&data, 16u, *nbytes + 1u) != 0 ||
        fread(data, 1u, *nbytes, file) != *nbytes) {
        exit(2);
    }
    (void)fclose(file);
    return data;
}

static void *room(size_t nbytes)
{
    void *data = NULL;
    return posix_memalign(&data, 16u, nbytes + 1u) == 0 ? data : NULL;
}

static int layout(char **arguments)
{
    const ek_gpu_tensor_t t = {(uint32_t)atoi(arguments[1]), (uint32_t)atoi(arguments[2]),
                               (uint32_t)atoi(arguments[3]), 0u, 0u, 0u,
                               (uint32_t)atoi(arguments[0])};
    const size_t cpu = ek_gpu_cpu_bytes(&t);
    const size_t packed = (size_t)(t.channels + 3u) / 4u * 4u * t.pixels * t.element_bytes;
    uint8_t *in = malloc(cpu), *there = malloc(packed), *back = malloc(cpu);
    const size_t given = fread(in, 1u, cpu, stdin);
    ek_gpu_pack(&t, in, there);
    ek_gpu_unpack(&t, there, back);
    const bool good = given == cpu && fwrite(there, 1u, packed, stdout) == packed &&
                      fwrite(back, 1u, cpu, stdout) == cpu;
    free(in);
    free(there);
    free(back);
    return good ? 0 : 2;
}

int main(int count, char **arguments)
{
    static const ek_kernel_t *slots[SLOTS];
    static ek_model_t model;
    static ek_gpu_t gpu;
    static fake_t fake;
    size_t bundle_bytes, samples_bytes;
    char text[256];
    if (count == 6 && strcmp(arguments[1], "layout") == 0) {
        return layout(arguments + 2);
    }
    if (count < 5) {
        return 2;
    }
    uint8_t *bundle = read_file(arguments[1], &bundle_bytes);
    uint8_t *samples = read_file(arguments[2], &samples_bytes);
    uint8_t *arena = room(4096u);
    ek_status_t status = ek_open(&model, bundle, bundle_bytes, ek_kernels, ek_kernel_count, slots,
                                 SLOTS, arena, 4096u);
    if (status != EK_OK) {
        printf("open %d\n", (int)status);
        return 0;
    }
    const ek_gpu_options_t options = {arguments[3], arguments[4], 0u, say,
                                      count > 5 ? now : NULL, NULL, NULL};
    const char *script = getenv("EK_FAKE");
    ek_gpu_device_t *device =
        script != NULL && strcmp(script, "none") == 0 ? NULL : fake_open(&fake);
    const size_t nbytes = ek_gpu_bytes(&model);
    void *memory = room(nbytes);
    ek_gpu_section_t section;
    uint32_t detail = 0u, input_bytes = 0u, output_bytes = 0u;
    if (nbytes == 0u) {
        printf("section %d\n", (int)ek_gpu_section(&model, &section, &detail));
        return 0;
    }
    if (ek_gpu_open(&gpu, &model, device, memory, nbytes - 1u, &options) != EK_ARENA_TOO_SMALL ||
        ek_gpu_invoke(&gpu) != EK_STATE) {
        return 2;
    }
    status = ek_gpu_open(&gpu, &model, device, memory, nbytes, &options);
    printf("opened %d\n", (int)status);
    for (uint32_t i = 0; i < model.call_count; ++i) {
        printf("layer %s\n", ek_gpu_layer_text(&gpu, i, text, sizeof text));
    }
    (void)ek_input(&model, 0u, &input_bytes);
    for (size_t at = 0; at + input_bytes <= samples_bytes && status == EK_OK; at += input_bytes) {
        memcpy(ek_input(&model, 0u, NULL), samples + at, input_bytes);
        const ek_status_t started = ek_gpu_start(&gpu);
        if (started != EK_OK || ek_gpu_start(&gpu) != EK_STATE) {
            return 2;
        }
        const int result = (int)ek_gpu_wait(&gpu);
        const uint8_t *output = ek_output(&model, 0u, &output_bytes);
        printf("run %d ", result);
        for (uint32_t i = 0; i < output_bytes; ++i) {
            printf("%02x", output[i]);
        }
        printf(" %u %u\n", (unsigned)ek_gpu_device_layers(&gpu), (unsigned)fake.launches);
    }
    if (count > 5) {
        printf("time %lu\n", (unsigned long)ek_gpu_layer_time(&gpu, 0u));
        for (uint32_t layer = 0; layer < 3u; ++layer) {
            for (uint32_t i = 0; i < 12u; ++i) {
                const uint8_t size = (uint8_t)(i % 4u);
                uint64_t ns = 0u;
                const ek_gpu_trial_t trial = ek_gpu_time(&gpu, layer, i / 4u, &size, 1u, 2u, &ns);
                printf("timed %u %u %u: %u %u %lu\n", (unsigned)layer, (unsigned)(i / 4u),
                       (unsigned)size, (unsigned)trial.verdict, (unsigned)trial.detail,
                       (unsigned long)ns);
            }
        }
        memcpy(ek_input(&model, 0u, NULL), samples, input_bytes);
        printf("again %d ", (int)ek_gpu_invoke(&gpu));
        for (uint32_t i = 0; i < output_bytes; ++i) {
            printf("%02x", ek_output(&model, 0u, NULL)[i]);
        }
        printf("\n");
    }
    printf("builds %u %u\n", (unsigned)fake.builds, (unsigned)fake.wanted);
    if (device != NULL) {
        device->close(device->self);
    }
    free(memory);
    free(bundle);
    free(samples);
    free(arena);
    return 0;
}
