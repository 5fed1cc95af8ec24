// The compute engine behind calls: memories in and out, one command at a time.
#include <cstdint>

#include "Vtop.h"

namespace {
struct Engine {
    Vtop top;
    void tick() {
        top.clk = 0;
        top.eval();
        top.clk = 1;
        top.eval();
    }
    // Outputs follow inputs of the same cycle.
    void settle() {
        top.clk = 0;
        top.eval();
    }
};
}  // namespace

extern "C" {

Engine *engine_new(void) {
    Engine *e = new Engine;
    e->top.rst = 1;
    e->tick();
    e->top.rst = 0;
    return e;
}

void engine_load(Engine *e, const uint64_t *a, uint32_t a_words, const uint32_t *w, uint32_t w_words,
                 uint32_t columns, const uint32_t *p, uint32_t channels, const uint32_t *t) {
    Vtop &top = e->top;
    top.write_valid = 1;
    top.write_enable = 0xFF;
    for (uint32_t i = 0; i < a_words; i++) {
        top.write_address = i;
        top.write_data = a[i];
        e->tick();
    }
    top.write_valid = 0;
    top.w_enable = 1;
    for (uint32_t i = 0; i < w_words * columns; i++) {
        top.w_address = i / columns;
        top.w_column = i % columns;
        top.w_data = w[i];
        e->tick();
    }
    top.w_enable = 0;
    top.p_enable = 1;
    for (uint32_t i = 0; i < channels * 3; i++) {
        top.p_address = i / 3;
        top.p_column = i % 3;
        top.p_data = p[i];
        e->tick();
    }
    top.p_enable = 0;
    top.t_enable = 1;
    for (uint32_t i = 0; i < 512; i++) {
        top.t_address = i;
        top.t_data = t[i];
        e->tick();
    }
    top.t_enable = 0;
}

// Returns 1 for done, 2 for a fault, 0 where neither came; cycles until it is ready again.
int engine_run(Engine *e, const uint32_t *command, uint32_t patience, uint32_t *cycles) {
    Vtop &top = e->top;
    int end = 0;
    for (int i = 0; i < 14; i++) top.command[i] = command[i];
    top.valid = 1;
    e->tick();
    top.valid = 0;
    for (*cycles = 1; *cycles < patience; ++*cycles) {
        e->settle();
        if (top.ready) break;
        if (top.done) end |= 1;
        if (top.fault) end |= 2;
        e->tick();
    }
    return top.ready ? end : 0;
}

void engine_dump(Engine *e, uint64_t *a, uint32_t a_words) {
    Vtop &top = e->top;
    top.read_valid = 1;
    for (uint32_t i = 0; i < a_words + READ_LATENCY; i++) {
        top.read_address = i < a_words ? i : 0;
        e->settle();
        if (i >= READ_LATENCY) a[i - READ_LATENCY] = top.read_data;
        e->tick();
    }
    top.read_valid = 0;
}
}
