/* simulate.c - runs streams in ek_npu_sim.c, one after the other, each in memory of just its size.
 *
 * Input, 32-bit numbers of this machine: for each stream 1 or 0 (only check it), the number of its
 * words, the words, the number of regions, for each of them its bytes' number and the bytes. Output:
 * STATUS, and where it ran all regions, then A, W, P and T. The memories are zero before each stream.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ek_npu_sim.c"

static uint32_t failed;

void ek_npu_failed(uint32_t status) { failed = status; }

static uint32_t take(const uint8_t **in)
{
    uint32_t value;
    memcpy(&value, *in, sizeof value);
    *in += sizeof value;
    return value;
}

/* `bytes` bytes of the input in memory that ends with them. */
static void *copy(const uint8_t **in, size_t bytes)
{
    void *to = malloc(bytes);
    if (bytes != 0u && to == NULL) {
        abort();
    }
    if (bytes != 0u) {
        memcpy(to, *in, bytes);
    }
    *in += bytes;
    return to;
}

static void put(uint8_t **out, const void *data, size_t bytes)
{
    if (bytes != 0u) {
        memcpy(*out, data, bytes);
    }
    *out += bytes;
}

size_t simulate(const uint8_t *in, size_t size, uint8_t *out);

/* Runs a stream from zero memories; whether it ran to its end. */
static bool run(const uint32_t *stream, uint32_t words, const ek_npu_region_t *regions,
                uint32_t count)
{
    memset(memory_a, 0, sizeof memory_a);
    memset(memory_w, 0, sizeof memory_w);
    memset(memory_p, 0, sizeof memory_p);
    memset(memory_t, 0, sizeof memory_t);
    ek_npu_start(stream, words, regions, count);
    ek_npu_wait(0, 0);
    return failed == 0u;
}

static void check(const uint32_t *stream, uint32_t words, const ek_npu_region_t *regions,
                  uint32_t count)
{
    uint32_t error, command;
    uint32_t *bytes = malloc(count * sizeof *bytes);
    for (uint32_t i = 0; i < count; ++i) {
        bytes[i] = regions[i].nbytes;
    }
    if (ek_npu_check(stream, words, bytes, count, CONFIG, &error, &command) != EK_OK) {
        failed = 4u | error << 8 | command << 16;
    }
    free(bytes);
}

size_t simulate(const uint8_t *in, size_t size, uint8_t *out)
{
    const uint8_t *const end = in + size;
    uint8_t *const first = out;
    while (in < end) {
        ek_npu_region_t regions[EK_NPU_REGIONS];
        const bool execute = take(&in) != 0u;
        const uint32_t words = take(&in);
        uint32_t *stream = copy(&in, words * sizeof *stream);
        const uint32_t count = take(&in);
        for (uint32_t i = 0; i < count; ++i) {
            regions[i].nbytes = take(&in);
            regions[i].data = copy(&in, regions[i].nbytes);
        }
        failed = 0;
        bool ran = false;
        if (execute) {
            ran = run(stream, words, regions, count);
        } else {
            check(stream, words, regions, count);
        }
        put(&out, &failed, sizeof failed);
        for (uint32_t i = 0; i < count; ++i) {
            if (ran) {
                put(&out, regions[i].data, regions[i].nbytes);
            }
            free(regions[i].data);
        }
        if (ran) {
            put(&out, memory_a, sizeof memory_a);
            put(&out, memory_w, sizeof memory_w);
            put(&out, memory_p, sizeof memory_p);
            put(&out, memory_t, sizeof memory_t);
        }
        free(stream);
    }
    return (size_t)(out - first);
}

/* The input is standard input, of argv[1] bytes; the output has at most argv[2]. */
int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    const size_t size = strtoul(argv[1], NULL, 10), room = strtoul(argv[2], NULL, 10);
    uint8_t *in = malloc(size), *out = malloc(room);
    if (in == NULL || out == NULL || fread(in, 1, size, stdin) != size) {
        return 3;
    }
    const size_t bytes = simulate(in, size, out);
    const int written = fwrite(out, 1, bytes, stdout) == bytes;
    free(in);
    free(out);
    return written ? 0 : 4;
}
