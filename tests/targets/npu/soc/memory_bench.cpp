// Drives the ports of the memory with commands and notes what happens in which cycle.
#include <cstdint>
#include <vector>

#include "Vtop.h"

namespace {
constexpr int PORTS = 3;
struct Command {
  uint32_t port, we, addr, len, not_before;
};
struct Event {
  uint32_t cycle, kind, port, data;  // kind 0: a command was taken; 1: a word was read; 2: written
};
uint32_t draw(uint32_t &state) { return state = state * 1664525u + 1013904223u; }
}  // namespace

// Word i of all that are written is i * 0x01010101, its strobes go to `strobes`. A master is ready for
// a word in a cycle with probability `ready` / 256. Returns the number of events.
extern "C" int bench(const Command *commands, int count, uint32_t ready, uint32_t seed,
                     Event *events, int most, uint32_t *strobes, int cycles) {
  Vtop top;
  std::vector<const Command *> queue[PORTS];
  size_t next[PORTS] = {};
  int found = 0;
  uint32_t total = 0;
  for (int i = 0; i < count; i++) queue[commands[i].port].push_back(&commands[i]);
  top.rst = 1;
  for (int cycle = -2; cycle < cycles; cycle++) {
    top.clk = 0;
    top.eval();
    top.rst = cycle < 0;
    top.cmd_valid = top.cmd_we = top.w_valid = top.r_ready = 0;
    top.cmd_len = top.w_strb = 0;
    for (int p = 0; p < PORTS && cycle >= 0; p++) {
      if (next[p] < queue[p].size() && queue[p][next[p]]->not_before <= (uint32_t)cycle) {
        const Command &c = *queue[p][next[p]];
        top.cmd_valid |= 1 << p;
        top.cmd_we |= c.we << p;
        top.cmd_addr[p] = c.addr;
        top.cmd_len |= c.len << 7 * p;
      }
      if (draw(seed) >> 24 < ready) top.r_ready |= 1 << p;
      if (draw(seed) >> 24 < ready) {
        top.w_valid |= 1 << p;
        top.w_data[p] = total * 0x01010101u;
        top.w_strb |= (draw(seed) >> 28) << 4 * p;
      }
    }
    top.eval();
    const uint32_t taken = top.cmd_valid & top.cmd_ready;
    const uint32_t read = top.r_valid & top.r_ready, wrote = top.w_valid & top.w_ready;
    for (int p = 0; p < PORTS && found < most - 3; p++) {
      if (taken >> p & 1) {
        events[found++] = {(uint32_t)cycle, 0, (uint32_t)p, (uint32_t)(queue[p][next[p]] - commands)};
        next[p]++;
      }
      if (read >> p & 1) events[found++] = {(uint32_t)cycle, 1, (uint32_t)p, top.r_data};
      if (wrote >> p & 1) {
        strobes[total] = top.w_strb >> 4 * p & 15;
        events[found++] = {(uint32_t)cycle, 2, (uint32_t)p, total * 0x01010101u};
        total++;
      }
    }
    top.clk = 1;
    top.eval();
  }
  return found;
}
