/* Caches and external memory: direct-mapped, write-through, no line for what is only written. */
#include "memory.h"

/* A burst asked for at `now`: the cycle after its last word. */
static uint64_t burst(ek_caches_t *m, uint64_t now, uint32_t words) {
  const uint64_t taken = now > m->first ? now : m->first;
  if (m->shared != 0) return m->shared(now, words);
  m->first = taken + m->latency > m->free ? taken + m->latency : m->free;
  m->free = m->first + words;
  return m->free;
}

static uint64_t fill(ek_caches_t *m, uint64_t now) {
  return burst(m, now, EK_LINE_WORDS) + m->refill - now;
}

uint64_t ek_caches_fetch(ek_caches_t *m, uint64_t now, uint64_t address, uint32_t size) {
  uint64_t line, waited = 0;
  const uint64_t last = (address + size - 1) >> EK_LINE_SHIFT;
  for (line = address >> EK_LINE_SHIFT; line <= last; line++) {
    uint32_t *tag = &m->instructions[line % EK_LINES];
    if (*tag == (uint32_t)line + 1) continue;
    *tag = (uint32_t)line + 1;
    m->instruction_fills++;
    waited += fill(m, now + waited);
  }
  return waited;
}

static uint64_t write_through(ek_caches_t *m, uint64_t now) {
  const uint32_t oldest = (m->next_write + EK_WRITES - m->writes) % EK_WRITES;
  const uint64_t waited = m->done[oldest] > now ? m->done[oldest] - now : 0;
  m->done[m->next_write] = burst(m, now + waited, 1);
  m->next_write = (m->next_write + 1) % EK_WRITES;
  m->written++;
  return waited;
}

uint64_t ek_caches_access(ek_caches_t *m, uint64_t now, uint64_t address, int write) {
  const uint64_t line = address >> EK_LINE_SHIFT;
  uint32_t *tag = &m->data[line % EK_LINES];
  if (address >= m->io_start) {
    /* After the writes before it have been taken. */
    const uint64_t waits = m->first > now ? m->first - now : 0;
    return write ? 0 : waits + m->io_read;
  }
  if (write) return write_through(m, now);
  if (*tag == (uint32_t)line + 1) return 0;
  *tag = (uint32_t)line + 1;
  m->data_fills++;
  return fill(m, now);
}

void ek_caches_flush(ek_caches_t *m, uint32_t which) {
  uint32_t i;
  for (i = 0; i < EK_LINES; i++) {
    if (which & EK_FLUSH_INSTRUCTIONS) m->instructions[i] = 0;
    if (which & EK_FLUSH_DATA) m->data[i] = 0;
  }
}
