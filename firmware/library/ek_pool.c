/* ek_pool.c - tasks of one job at a time, taken by whoever is free. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* syscall */
#endif
#include "ek_pool.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How often a thread looks before it sleeps: an inference has a job every few microseconds, and
 * waking takes longer. */
#ifndef EK_POOL_LOOKS
#define EK_POOL_LOOKS 2000
#endif

/* Linux, include/uapi/linux/futex.h; not every libc comes with the kernel's headers. */
enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 };

static void futex(uint32_t *word, int what, uint32_t value)
{
    (void)syscall(SYS_futex, word, what, value, NULL, NULL, 0);
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
    __asm__ volatile("yield");
#endif
}

/* One task of whatever job has some left; 0 where none has. Task and context are read only after
 * one of the job's tasks is taken: until that has finished they stay. */
static int work(ek_pool_t *pool)
{
    uint64_t ticket = __atomic_load_n(&pool->ticket, __ATOMIC_ACQUIRE);
    do {
        if ((uint32_t)ticket == 0u) {
            return 0;
        }
    } while (!__atomic_compare_exchange_n(&pool->ticket, &ticket, ticket - 1u, 1, __ATOMIC_ACQUIRE,
                                          __ATOMIC_ACQUIRE));
    pool->task(pool->context, (uint32_t)ticket - 1u);
    (void)__atomic_add_fetch(&pool->finished, 1u, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&pool->waiting, __ATOMIC_SEQ_CST) != 0u) {
        futex(&pool->finished, FUTEX_WAKE_PRIVATE, 1);
    }
    return 1;
}

static void *worker(void *context)
{
    ek_pool_t *const pool = (ek_pool_t *)context;
    int looks = 0;
    while (__atomic_load_n(&pool->stopped, __ATOMIC_ACQUIRE) == 0u) {
        const uint32_t seen = __atomic_load_n(&pool->calls, __ATOMIC_SEQ_CST);
        if (work(pool)) {
            looks = 0;
        } else if (++looks < EK_POOL_LOOKS) {
            relax();
        } else if (__atomic_load_n(&pool->stopped, __ATOMIC_ACQUIRE) == 0u) {
            /* Whoever calls after `seen` was read sees the sleeper, or the kernel the new number. */
            (void)__atomic_add_fetch(&pool->sleeping, 1u, __ATOMIC_SEQ_CST);
            futex(&pool->calls, FUTEX_WAIT_PRIVATE, seen);
            (void)__atomic_sub_fetch(&pool->sleeping, 1u, __ATOMIC_SEQ_CST);
            looks = 0;
        }
    }
    return NULL;
}

static void call(ek_pool_t *pool)
{
    (void)__atomic_add_fetch(&pool->calls, 1u, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&pool->sleeping, __ATOMIC_SEQ_CST) != 0u) {
        futex(&pool->calls, FUTEX_WAKE_PRIVATE, EK_POOL_MOST);
    }
}

static void wait_for(ek_pool_t *pool, uint32_t count)
{
    uint32_t finished;
    for (int looks = 0; looks < EK_POOL_LOOKS; ++looks) {
        if (__atomic_load_n(&pool->finished, __ATOMIC_ACQUIRE) == count) {
            return;
        }
        relax();
    }
    __atomic_store_n(&pool->waiting, 1u, __ATOMIC_SEQ_CST);
    while ((finished = __atomic_load_n(&pool->finished, __ATOMIC_SEQ_CST)) != count) {
        futex(&pool->finished, FUTEX_WAIT_PRIVATE, finished);
    }
    __atomic_store_n(&pool->waiting, 0u, __ATOMIC_SEQ_CST);
}

static void run(void *context, void (*task)(void *, uint32_t), void *what, uint32_t count)
{
    ek_pool_t *const pool = (ek_pool_t *)context;
    if (pool->threads < 2u || count < 2u ||
        __atomic_exchange_n(&pool->busy, 1u, __ATOMIC_ACQUIRE) != 0u) {
        for (uint32_t i = 0; i < count; ++i) {
            task(what, i);
        }
        return;
    }
    const uint64_t job = (__atomic_load_n(&pool->ticket, __ATOMIC_RELAXED) >> 32) + 1u;
    pool->task = task;
    pool->context = what;
    __atomic_store_n(&pool->finished, 0u, __ATOMIC_RELAXED);
    __atomic_store_n(&pool->ticket, job << 32 | count, __ATOMIC_RELEASE);
    call(pool);
    while (work(pool)) {
    }
    wait_for(pool, count);
    __atomic_store_n(&pool->busy, 0u, __ATOMIC_RELEASE);
}

int ek_pool_open(ek_pool_t *pool, uint32_t threads)
{
    memset(pool, 0, sizeof *pool);
    if (threads < 1u || threads > EK_POOL_MOST) {
        return EINVAL;
    }
    for (pool->threads = 1u; pool->threads < threads; ++pool->threads) {
        const int error =
            pthread_create(&pool->workers[pool->threads - 1u], NULL, worker, pool);
        if (error != 0) {
            ek_pool_close(pool);
            return error;
        }
    }
    return 0;
}

void ek_pool_close(ek_pool_t *pool)
{
    __atomic_store_n(&pool->stopped, 1u, __ATOMIC_SEQ_CST);
    call(pool);
    for (uint32_t i = 1u; i < pool->threads; ++i) {
        (void)pthread_join(pool->workers[i - 1u], NULL);
    }
    pool->threads = 0u;
}

ek_parallel_t ek_pool_threads(ek_pool_t *pool)
{
    const ek_parallel_t threads = {run, pool, pool->threads};
    return threads;
}

size_t ek_pool_bytes(void) { return sizeof(ek_pool_t); }
