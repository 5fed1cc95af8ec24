/* Caches of the virtual board's core in front of one external memory (docs/CYCLES.md, VexRiscv).
 *
 * The memory takes one burst after the other: its first word moves `latency` cycles after the command
 * was taken, then one a cycle; a command is taken while the words of the one before it move. */
#ifndef EK_VIRTUAL_MEMORY_H
#define EK_VIRTUAL_MEMORY_H

#include <stdint.h>

enum { EK_LINES = 128, EK_LINE_SHIFT = 5, EK_LINE_WORDS = 8, EK_WRITES = 8 };
enum { EK_FLUSH_INSTRUCTIONS = 1, EK_FLUSH_DATA = 2 };

/* Mirrored in emulators/caches.py. */
typedef struct {
  uint32_t latency;
  uint32_t refill;  /* cycles more of a miss, for the core to go on */
  uint32_t writes;  /* that may be on their way before the core waits; at most EK_WRITES */
  uint32_t io_read; /* cycles more of a read that passes the caches */
  uint64_t io_start; /* addresses from here on pass the caches */
  uint32_t instructions[EK_LINES], data[EK_LINES]; /* line number + 1; 0: nothing */
  uint64_t first, free; /* when the last burst's words begin to move, and when the bus is free */
  uint64_t done[EK_WRITES]; /* ends of the last writes, a ring */
  uint64_t now;             /* the cycle of the access that is being made */
  uint32_t next_write;
  uint32_t nth; /* accesses of the current block so far */
  uint64_t instruction_fills, data_fills, written;
  /* While the memory has another master: when a burst that is asked for at `now` is over. */
  uint64_t (*shared)(uint64_t now, uint32_t words);
} ek_caches_t;

/* Fetch [address, address + size) at cycle `now`: cycles that the core waits. */
uint64_t ek_caches_fetch(ek_caches_t *caches, uint64_t now, uint64_t address, uint32_t size);
/* Read or write at cycle `now`: the same. */
uint64_t ek_caches_access(ek_caches_t *caches, uint64_t now, uint64_t address, int write);
void ek_caches_flush(ek_caches_t *caches, uint32_t which);

#endif
