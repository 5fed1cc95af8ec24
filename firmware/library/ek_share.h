/* ek_share.h - one kernel's parts, shared out over threads. */
#ifndef EK_SHARE_H
#define EK_SHARE_H

#include <stddef.h>
#include <stdint.h>

#include "ek_parallel.h"

/* Makes the parts [begin, end) of a kernel with the scratch buffer of `worker`. */
typedef void (*ek_part_t)(uint8_t *arena, uint32_t worker, uint32_t begin, uint32_t end);

typedef struct {
    ek_part_t part;
    uint8_t *arena;
    uint32_t units;
    uint32_t at_once;
    uint32_t next;
} ek_share_t;

/* Takes parts until none are left: a core that is slower, or busy, makes fewer of them. */
static inline void ek_share_work(void *context, uint32_t worker)
{
    ek_share_t *const share = (ek_share_t *)context;
    for (;;) {
        const uint32_t begin = __atomic_fetch_add(&share->next, share->at_once, __ATOMIC_RELAXED);
        if (begin >= share->units) {
            return;
        }
        const uint32_t left = share->units - begin;
        share->part(share->arena, worker, begin,
                    begin + (left < share->at_once ? left : share->at_once));
    }
}

/* All `units` parts, on at most `most` of the threads; on the caller's alone where there are no
 * others. */
static inline void ek_share(const ek_parallel_t *threads, uint32_t most, ek_part_t part,
                            uint8_t *arena, uint32_t units)
{
    enum { TURNS = 4 }; /* that a worker takes at least, where there are so many parts */
    uint32_t workers = threads == NULL ? 1u : threads->threads;
    workers = workers < most ? workers : most;
    workers = workers < units ? workers : units;
    if (workers < 2u) {
        part(arena, 0u, 0u, units);
        return;
    }
    const uint32_t turns = workers * TURNS;
    ek_share_t share = {part, arena, units, units < turns ? 1u : units / turns, 0u};
    threads->run(threads->pool, ek_share_work, &share, workers);
}

#endif
