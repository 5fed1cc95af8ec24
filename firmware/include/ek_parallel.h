/* ek_parallel.h - threads that the caller has, lent to an inference. */
#ifndef EK_PARALLEL_H
#define EK_PARALLEL_H

#include <stdint.h>

/* `run` calls task(context, i) once for each i in [0, count), on whatever threads and in any order,
 * and returns when all calls have returned. At most `threads` of them run at the same time. */
typedef struct {
    void (*run)(void *pool, void (*task)(void *context, uint32_t index), void *context,
                uint32_t count);
    void *pool;
    uint32_t threads;
} ek_parallel_t;

#endif
