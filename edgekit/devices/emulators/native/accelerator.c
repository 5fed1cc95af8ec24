/* The accelerator's simulator as a shared library for the virtual board: what a stream does to its
 * memories, at once. When its commands are done is Python's to say (emulators/accelerator.py). */
#include "ek_npu.h"

#if defined(_WIN32)
#define EK_PUBLIC __declspec(dllexport)
#else
#define EK_PUBLIC __attribute__((visibility("default")))
#endif

static uint32_t status;

void ek_npu_failed(uint32_t failed)
{
    status = failed;
}

/* 0, or STATUS of a stream that was refused; then it has changed nothing. */
EK_PUBLIC uint32_t ek_virtual_stream(const uint32_t *stream, uint32_t words,
                                     const ek_npu_region_t *regions, uint32_t count)
{
    status = 0;
    ek_npu_start(stream, words, regions, count);
    return status;
}
