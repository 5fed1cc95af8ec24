/* A device in this process: functions of C by the text of their source, and a script of what goes
 * wrong, words of the environment's EK_FAKE:
 *   discrete              memory is not shared
 *   nomemory nobuild      it refuses everything
 *   uncompiled=TEXT       functions whose source has TEXT
 *   wrong=TEXT            such a function changes one byte too many
 *   lazy=TEXT             such a function does nothing
 *   gap=TEXT              such a function leaves the last byte of its output alone
 *   refuse=N              groups of more than N items, which it does not say
 *   limit=N               the same, and it says so
 *   die=N slow=N          launch N from 1 on: the device is lost, or never done
 *   features=N            bits
 *   name=TEXT */
#ifndef FAKE_DEVICE_H
#define FAKE_DEVICE_H

#include "ek_gpu.h"

typedef struct {
    ek_gpu_device_t device;
    ek_gpu_memory_t memory;
    const ek_gpu_function_t *functions;
    uint8_t *arena;
    uint32_t launches, builds, wanted;
    uint32_t mapped; /* place + 1 */
    bool built, gone, slow;
} fake_t;

ek_gpu_device_t *fake_open(fake_t *fake);

#endif
