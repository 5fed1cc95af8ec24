/* The virtual board's fast parts: instruction and cycle counting per basic block, and a UART.
 *
 * Unicorn calls these functions directly; Python only sees a block the first time it runs. No libc
 * and no unicorn header: the engine is an opaque pointer and its stop function comes from Python.
 * The structures are mirrored in machine.py. */
#include <stdint.h>

#include "memory.h"

#if defined(_WIN32)
#define EK_PUBLIC __declspec(dllexport)
#else
#define EK_PUBLIC __attribute__((visibility("default")))
#endif

typedef struct {
  uint64_t address; /* of the first instruction */
  uint64_t count;   /* times entered */
  uint64_t taken;   /* times left other than by falling through */
  uint64_t waited;  /* cycles that flash made it wait */
  uint32_t size;    /* bytes; 0 in a free slot */
  uint32_t instructions;
  uint32_t cycles;
  int32_t refill; /* cycles more where its branch is taken; less, where that was predicted */
  uint32_t flash_bytes; /* of data that it reads from flash */
  uint32_t flushes;     /* caches that it empties: EK_FLUSH_... */
  const uint16_t *accesses; /* cycles from its start to each of its accesses to memory */
  uint64_t access_count;
} block_t;

typedef struct {
  block_t *blocks; /* open addressing, mask + 1 slots */
  uint32_t mask;
  uint32_t used;
  uint64_t instructions; /* totals, the current block included in full */
  uint64_t cycles;
  uint64_t limit; /* stop once that many instructions have been started */
  block_t *current;
  uint64_t fallthrough; /* address after the current block */
  uint32_t request;     /* a peripheral wants a stop; blocks are never left halfway */
  uint32_t stopped;     /* it stopped for the limit */
  uint32_t full;        /* it stopped because the table is full */
  uint32_t wait;        /* wait states of a line of flash; 0: none are charged */
  uint32_t line_bytes;
  uint32_t pending; /* bytes read from a line of flash that has been waited for */
  uint32_t unused;
  uint64_t flash_start, flash_end;
  void (*first_seen)(uint64_t address, uint32_t size, block_t *block);
  int (*stop)(void *engine);
  ek_caches_t *caches; /* 0: none */
} counters_t;

static block_t *find(counters_t *c, uint64_t address, uint32_t size) {
  uint32_t slot = ((uint32_t)(address >> 1) * 2654435761u ^ size) & c->mask;
  while (c->blocks[slot].size != 0) {
    if (c->blocks[slot].address == address && c->blocks[slot].size == size) return &c->blocks[slot];
    slot = (slot + 1) & c->mask;
  }
  return &c->blocks[slot];
}

static void wait_for_flash(counters_t *c, block_t *block) {
  c->cycles += c->wait;
  block->waited += c->wait;
}

static int in_flash(const counters_t *c, uint64_t address) {
  return address >= c->flash_start && address < c->flash_end;
}

/* UC_HOOK_BLOCK */
EK_PUBLIC void ek_virtual_block(void *engine, uint64_t address, uint32_t size, void *user) {
  counters_t *c = user;
  block_t *block;
  c->full = c->used > c->mask / 2;
  c->stopped = c->instructions >= c->limit;
  if (c->full || c->stopped || c->request) {
    c->request = 0;
    c->stop(engine);
    return; /* unicorn leaves before the block runs */
  }
  if (c->current != 0 && c->fallthrough != address) {
    c->current->taken++;
    c->cycles += (uint64_t)(int64_t)c->current->refill;
    /* What follows in line has been prefetched; where a branch goes has not. */
    if (c->wait != 0 && in_flash(c, address) &&
        ((address ^ (c->fallthrough - 1)) & ~(uint64_t)(c->line_bytes - 1)) != 0)
      wait_for_flash(c, c->current);
  }
  block = find(c, address, size);
  if (block->size == 0) {
    block->address = address;
    block->size = size;
    c->used++;
    c->first_seen(address, size, block);
  }
  block->count++;
  c->instructions += block->instructions;
  if (c->caches != 0) {
    const uint64_t waited = ek_caches_fetch(c->caches, c->cycles, address, size);
    c->cycles += waited;
    block->waited += waited;
    c->caches->nth = 0;
    if (block->flushes != 0) ek_caches_flush(c->caches, block->flushes);
  }
  c->cycles += block->cycles;
  for (c->pending += c->wait != 0 ? block->flash_bytes : 0; c->pending >= c->line_bytes && c->wait;
       c->pending -= c->line_bytes)
    wait_for_flash(c, block);
  c->current = block;
  c->fallthrough = address + size;
}

/* UC_HOOK_MEM_READ and _WRITE, where there are caches. */
EK_PUBLIC void ek_virtual_cached(void *engine, int type, uint64_t address, int size, int64_t value,
                                 void *user) {
  enum { WRITE = 17 }; /* UC_MEM_WRITE */
  counters_t *c = user;
  block_t *block = c->current;
  ek_caches_t *caches = c->caches;
  uint64_t waited;
  (void)engine;
  (void)size;
  (void)value;
  caches->now = c->cycles;
  if (block == 0) return;
  if (caches->nth < block->access_count)
    caches->now = c->cycles - block->cycles + block->accesses[caches->nth++];
  waited = ek_caches_access(caches, caches->now, address, type == WRITE);
  caches->now += waited;
  c->cycles += waited;
  block->waited += waited;
}

typedef struct {
  void (*unaligned)(uint64_t address);
} alignment_t;

/* UC_HOOK_MEM_READ and _WRITE: accesses off their alignment are rare enough for Python to judge. */
EK_PUBLIC void ek_virtual_access(void *engine, int type, uint64_t address, int size, int64_t value,
                                 void *user) {
  (void)engine;
  (void)type;
  (void)value;
  if (size >= 2 && (address & (size >= 4 ? 3u : 1u)) != 0) ((const alignment_t *)user)->unaligned(address);
}

typedef struct {
  uint8_t *received; /* host to device */
  uint8_t *sent;     /* device to host */
  uint32_t size;     /* of each buffer */
  uint32_t received_head, received_tail;
  uint32_t sent_count;
  uint32_t empty_polls; /* polls in a row that found nothing, with nothing sent between */
  uint32_t idle;        /* the device waits for input: the host's turn */
  uint32_t *request;    /* counters_t.request */
} uart_t;

enum { UART_DATA = 0, UART_STATE = 4, UART_RX_FULL = 2, IDLE_POLLS = 8 };

/* CMSDK APB UART (Arm DDI 0479), the registers that a polling driver needs. */
EK_PUBLIC uint64_t ek_virtual_uart_read(void *engine, uint64_t offset, unsigned size, void *user) {
  uart_t *u = user;
  (void)engine;
  (void)size;
  if (offset == UART_DATA && u->received_head != u->received_tail) {
    u->empty_polls = 0;
    return u->received[u->received_head++ % u->size];
  }
  if (offset != UART_STATE) return 0;
  if (u->received_head != u->received_tail) return UART_RX_FULL;
  if (++u->empty_polls >= IDLE_POLLS) {
    u->idle = 1;
    *u->request = 1;
  }
  return 0;
}

EK_PUBLIC void ek_virtual_uart_write(void *engine, uint64_t offset, unsigned size, uint64_t value,
                                     void *user) {
  uart_t *u = user;
  (void)engine;
  (void)size;
  if (offset != UART_DATA) return;
  u->empty_polls = 0;
  if (u->sent_count < u->size) u->sent[u->sent_count++] = (uint8_t)value;
  if (u->sent_count >= u->size / 2) *u->request = 1; /* let the host take it */
}
