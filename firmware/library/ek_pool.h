/* ek_pool.h - a pool of threads to lend to inferences, for programs that have none of their own.
 *
 *   static ek_pool_t pool;
 *   if (ek_pool_open(&pool, 4) != 0) { ... }
 *   const ek_parallel_t threads = ek_pool_threads(&pool);
 *   kws_run_parallel(&model, &threads);
 *   ek_pool_close(&pool);
 *
 * The caller's own thread is one of them. Memory is the caller's. Any number of threads may use one
 * pool: whoever comes while it is busy works alone. Linux (futex) and pthreads.
 */
#ifndef EK_POOL_H
#define EK_POOL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "ek_parallel.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { EK_POOL_MOST = 16 };

/* Fields are the pool's. */
typedef struct {
    uint64_t ticket; /* job number << 32, and how many of its tasks nobody has taken */
    void (*task)(void *context, uint32_t index);
    void *context;
    uint32_t finished; /* tasks of this job */
    uint32_t waiting;  /* whether its caller sleeps on `finished` */
    uint32_t calls;    /* grows with each job: workers sleep on it */
    uint32_t sleeping; /* workers that do */
    uint32_t busy;
    uint32_t stopped;
    uint32_t threads;
    pthread_t workers[EK_POOL_MOST - 1];
} ek_pool_t;

/* Start threads, so that with the caller there are `threads` (1 to EK_POOL_MOST). 0, or an errno:
 * then nothing was started. */
int ek_pool_open(ek_pool_t *pool, uint32_t threads);

/* End them; nobody may be using the pool. */
void ek_pool_close(ek_pool_t *pool);

/* What an inference takes. */
ek_parallel_t ek_pool_threads(ek_pool_t *pool);

/* sizeof(ek_pool_t), for callers that do not read C. */
size_t ek_pool_bytes(void);

#ifdef __cplusplus
}
#endif

#endif
