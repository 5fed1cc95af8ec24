// The accelerator alone, clocked, with a memory behind its bus. A shared library for ctypes.
//
// The memory takes bursts in order: the first word of one moves `latency` cycles after its command
// was taken or later, then a word a cycle. A command is taken while the burst before it moves.
// With `pressure` p, every handshake of every channel is held back in p of 256 cycles, at random.
#include "Vtop.h"

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>

namespace {

struct Burst {
    bool we;
    uint32_t word;
    uint32_t left;
    uint64_t from;  // cycle of its first word
};

struct Bench {
    VerilatedContext context;
    std::unique_ptr<Vtop> top{new Vtop{&context}};
    uint32_t *memory = nullptr;
    uint32_t words = 0;
    uint32_t latency = 10;
    uint32_t pressure = 0;
    uint64_t random = 88172645463325252ull;
    uint64_t cycle = 0;
    uint64_t broken = 0;     // cycles in which a rule of the bus was broken
    std::deque<Burst> bursts;
    bool hold[3] = {false, false, false};

    bool held() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return (random >> 24 & 255) < pressure;
    }

    void clock() {
        Vtop &t = *top;
        for (bool &h : hold) h = pressure && held();
        bool moves = !bursts.empty() && bursts.front().from <= cycle;
        Burst *now = moves ? &bursts.front() : nullptr;
        bool reads = now && !now->we && !hold[0];
        t.m_r_valid = reads;
        t.m_r_data = reads ? at(now->word) : 0xDEADBEEF;
        t.m_w_ready = now && now->we && !hold[1];
        t.m_cmd_ready = bursts.size() < 2 && (bursts.empty() || moves) && !hold[2];
        t.clk = 0;
        t.eval();
        bool read = t.m_r_valid && t.m_r_ready;
        bool wrote = t.m_w_valid && t.m_w_ready;
        if (t.m_w_valid && !now && bursts.empty()) broken++;
        bool asked = t.m_cmd_valid && t.m_cmd_ready;
        Burst next{t.m_cmd_we != 0, t.m_cmd_addr >> 2, t.m_cmd_len, cycle + latency};
        if (asked) {
            uint32_t last = next.word + next.left - 1;
            if (t.m_cmd_addr & 3 || next.left < 1 || next.left > 64 || (last ^ next.word) >> 6)
                broken++;
        }
        if (wrote) {
            uint32_t mask = 0;
            for (int i = 0; i < 4; i++)
                if (t.m_w_strb >> i & 1) mask |= 0xFFu << 8 * i;
            if (mask && now->word >= words)
                broken++;
            else if (mask)
                memory[now->word] = (memory[now->word] & ~mask) | (t.m_w_data & mask);
        }
        t.clk = 1;
        t.eval();
        if (read || wrote) {
            now->word++;
            if (--now->left == 0) bursts.pop_front();
        }
        if (asked) bursts.push_back(next);
        cycle++;
    }

    uint32_t at(uint32_t word) const { return word < words ? memory[word] : 0xBAADF00Du; }

    // An access of a register; 0 after 100 cycles without an answer.
    bool access(bool we, uint32_t offset, uint32_t &value) {
        Vtop &t = *top;
        t.s_stb = 1;
        t.s_we = we;
        t.s_adr = offset >> 2;
        t.s_dat_w = value;
        bool answered = false;
        for (int i = 0; i < 100 && !answered; i++) {
            // What is sampled at the rising edge is what was there before it.
            answered = t.s_ack;
            if (!we) value = t.s_dat_r;
            clock();
        }
        t.s_stb = 0;
        return answered;
    }
};

}  // namespace

extern "C" {

Bench *bench_open() {
    Bench *b = new Bench;
    b->top->rst = 1;
    for (int i = 0; i < 4; i++) b->clock();
    b->top->rst = 0;
    b->clock();
    return b;
}

void bench_close(Bench *b) { delete b; }

void bench_memory(Bench *b, uint32_t *memory, uint32_t words) {
    b->memory = memory;
    b->words = words;
}

void bench_timing(Bench *b, uint32_t latency, uint32_t pressure, uint64_t seed) {
    b->latency = latency;
    b->pressure = pressure;
    b->random = seed * 2654435769u + 88172645463325252ull;
}

int bench_write(Bench *b, uint32_t offset, uint32_t value) { return b->access(true, offset, value); }

int bench_read(Bench *b, uint32_t offset, uint32_t *value) {
    return b->access(false, offset, *value);
}

// Clocks until `irq` or so many cycles; returns the cycles.
uint64_t bench_run(Bench *b, uint64_t most) {
    uint64_t n = 0;
    while (n < most && !b->top->irq) {
        b->clock();
        n++;
    }
    return n;
}

uint64_t bench_cycle(Bench *b) { return b->cycle; }
uint64_t bench_broken(Bench *b) { return b->broken; }
}
