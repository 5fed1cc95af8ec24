/* The device program: opens the model, then serves the host for ever. */
#include <string.h>

#ifdef EK_NPU_BASE
#include "ek_accelerator.h"
#endif
#include "ek_app.h"
#ifdef EK_GPU
#include "ek_app_gpu.h"
#endif
#include "ek_board.h"
#include "ek_counter.h"
#include "ek_fault.h"
#include "ek_link.h"
#include "ek_port.h"
#include "ek_profile.h"
#ifdef EK_TRIGGER
#include "ek_register.h"
#endif
#include "ek_uart.h"

static ek_app_info_t app;
static ek_counter_t counter;
static int32_t app_status;

/* Ticks of one ek_profile_edge(), and of all those in one invocation. */
static uint32_t edge_overhead;
static uint32_t invoke_overhead;

#ifdef EK_TRIGGER
/* A pin for power analysers: low between runs, toggled at every edge, so that an analyser sees each
 * layer that takes longer than one of its samples (docs/PROFILING.md). Its registers are of the kind
 * to which ones are written for the pins that are meant. */
static uint32_t trigger_pin; /* EK_TRIGGER_MASK, or 0 while nothing is to be seen */
static bool trigger_high;

static void trigger_toggle(void) {
  trigger_high = !trigger_high;
  if (trigger_high) {
    EK_REG(EK_TRIGGER_SET) = trigger_pin;
  } else {
    EK_REG(EK_TRIGGER_CLEAR) = trigger_pin << EK_TRIGGER_CLEAR_SHIFT;
  }
}

static void wait_ms(void) {
  uint64_t start = ek_counter_now();
  for (uint32_t i = 0; i < 0x10000u && ek_counter_now() - start < counter.hz / 1000u; i++) {
  }
}

/* A millisecond tells the pin's return to low from an edge, and another one this run from the next. */
static void trigger_end(void) {
  wait_ms();
  if (trigger_high) trigger_toggle();
  wait_ms();
}
#else
static void trigger_end(void) {}
#endif

#ifdef EK_PROFILE
static uint64_t edges[EK_MAX_LAYERS + 1u];

__attribute__((noinline)) void ek_profile_edge(uint32_t edge) {
  if (edge <= EK_MAX_LAYERS) {
    edges[edge] = ek_counter_now();
#ifdef EK_NPU_BASE
    ek_accelerator_edge(edge);
#endif
#ifdef EK_TRIGGER
    trigger_toggle();
#endif
  }
}

void ek_profile_place(uint32_t edge, uint64_t ticks) {
  if (edge != 0 && edge <= EK_MAX_LAYERS) edges[edge] = edges[edge - 1u] + ticks + edge_overhead;
}

static uint32_t profiled_layers(void) {
  return app.layers <= EK_MAX_LAYERS ? app.layers : EK_MAX_LAYERS;
}

static void calibrate(void) {
  edge_overhead = 0xFFFFFFFFu;
  for (uint32_t i = 0; i < 8; i++) {
    uint32_t spent;
    ek_profile_edge(0);
    ek_profile_edge(1);
    spent = (uint32_t)(edges[1] - edges[0]);
    if (spent < edge_overhead) edge_overhead = spent;
  }
  invoke_overhead = counter.overhead + (profiled_layers() + 1u) * edge_overhead;
#ifdef EK_TRIGGER
  trigger_pin = EK_TRIGGER_MASK; /* 16 toggles have not been seen, and it is low */
#endif
}
#else
static void calibrate(void) { invoke_overhead = counter.overhead; }
#endif

static uint64_t without(uint64_t ticks, uint32_t overhead) {
  return ticks > overhead ? ticks - overhead : 0;
}

typedef struct {
  int32_t status;
  uint64_t start, end; /* of the whole, overhead included */
} run_t;

static run_t invoke(void) {
  run_t done;
  ek_counter_restart();
  done.start = ek_counter_now();
  done.status = ek_app_invoke();
  done.end = ek_counter_now();
  return done;
}

static uint64_t whole(const run_t *done) {
  return without(done->end - done->start, invoke_overhead);
}

static uint16_t u16_at(const ek_request_t *r, uint32_t at) {
  return (uint16_t)(r->payload[at] | r->payload[at + 1u] << 8);
}

static uint32_t u32_at(const ek_request_t *r, uint32_t at) {
  return u16_at(r, at) | (uint32_t)u16_at(r, at + 2u) << 16;
}

static void refuse(const ek_request_t *r, uint8_t why) {
  ek_link_begin(EK_LINK_REFUSED, r->seq);
  ek_link_u8(r->type);
  ek_link_u8(why);
}

static void hello(const ek_request_t *r) {
  ek_link_begin('h', r->seq);
  ek_link_u8(EK_LINK_VERSION);
  ek_link_u32((uint32_t)app_status);
  ek_link_u16(app.inputs);
  ek_link_u16(app.outputs);
  ek_link_u16(app.layers);
  ek_link_u16(EK_LINK_DATA);
  ek_link_u32(app.arena_bytes);
  ek_link_u32(ek_stack_bytes());
  ek_link_u32(counter.hz);
  ek_link_u32(counter.mask);
  ek_link_u32(edge_overhead != 0 ? edge_overhead : counter.overhead);
  ek_link_bytes(app.model_hash, sizeof app.model_hash);
  ek_link_u64(EK_BUILD_ID);
  ek_link_text(EK_FIRMWARE_VERSION);
  ek_link_text(app.mode);
  ek_link_text(counter.name);
}

/* Payload: u8 0 for inputs and 1 for outputs, u16 index. Answer: u32 bytes. */
static void size(const ek_request_t *r) {
  uint32_t bytes = 0;
  const uint8_t *found;
  if (r->bytes != 3) {
    refuse(r, EK_LINK_REFUSED_LENGTH);
    return;
  }
  found = r->payload[0] == 0 ? ek_app_input(u16_at(r, 1), &bytes)
                             : ek_app_output(u16_at(r, 1), &bytes);
  if (found == 0) {
    refuse(r, EK_LINK_REFUSED_RANGE);
    return;
  }
  ek_link_begin('z', r->seq);
  ek_link_u32(bytes);
}

/* Payload: u16 index, u32 offset, data. */
static void write(const ek_request_t *r) {
  enum { BEFORE = 6 };
  uint32_t bytes = 0, offset, count;
  uint8_t *input;
  if (r->bytes < BEFORE) {
    refuse(r, EK_LINK_REFUSED_LENGTH);
    return;
  }
  input = ek_app_input(u16_at(r, 0), &bytes);
  offset = u32_at(r, 2);
  count = r->bytes - BEFORE;
  if (input == 0 || offset > bytes || count > bytes - offset) {
    refuse(r, EK_LINK_REFUSED_RANGE);
    return;
  }
  memcpy(input + offset, r->payload + BEFORE, count);
  ek_link_begin('w', r->seq);
}

/* Payload: u16 index, u32 offset, u16 count. Answer: u16 index, u32 offset, data. */
static void output(const ek_request_t *r) {
  uint32_t bytes = 0, offset, count;
  const uint8_t *from;
  if (r->bytes != 8) {
    refuse(r, EK_LINK_REFUSED_LENGTH);
    return;
  }
  from = ek_app_output(u16_at(r, 0), &bytes);
  offset = u32_at(r, 2);
  count = u16_at(r, 6);
  if (from == 0 || count > EK_LINK_DATA || offset > bytes || count > bytes - offset) {
    refuse(r, EK_LINK_REFUSED_RANGE);
    return;
  }
  ek_link_begin('o', r->seq);
  ek_link_u16(u16_at(r, 0));
  ek_link_u32(offset);
  ek_link_bytes(from + offset, count);
}

/* Answer: i32 status, u64 ticks, 0 where the counter failed. */
static void run(const ek_request_t *r) {
  run_t done = invoke();
  uint64_t spent = ek_counter_failed() ? 0 : whole(&done);
  trigger_end();
  ek_link_begin('r', r->seq);
  ek_link_u32((uint32_t)done.status);
  ek_link_u64(spent);
}

/* Answer: u64 ticks of the counter. */
static void now(const ek_request_t *r) {
  uint64_t ticks = ek_counter_now();
  ek_link_begin('n', r->seq);
  ek_link_u64(ticks);
}

#ifdef EK_PROFILE
/* The longest time between two readings of the counter in the last run with interrupts. */
static uint64_t longest = ~(uint64_t)0;

static uint64_t longest_of(const run_t *done) {
  uint64_t before = done->start, most = 0;
  for (uint32_t i = 0; i <= profiled_layers(); i++) {
    if (edges[i] - before > most) most = edges[i] - before;
    before = edges[i];
  }
  return done->end - before > most ? done->end - before : most;
}

/* A counter that interrupts extend has fewer bits without them: whether those will do. A quarter,
 * because ek_counter_failed tells of more than half. */
static bool counts_blindly(void) {
  return counter.blind_mask == counter.mask || longest <= counter.blind_mask >> 2;
}

static uint8_t empty_caches(void) {
  uint32_t done = ek_port_cold();
#ifdef EK_BOARD_COLD
  ek_board_cold();
  done |= EK_LINK_RAN_COLD_BOARD;
#endif
  return (uint8_t)done;
}

/* Payload: u8 how. Answer: i32 status, u64 ticks, u16 layers, u8 what became of it. */
static void profile(const ek_request_t *r) {
  uint8_t how, ran = 0;
  uint32_t interrupts = 0;
  run_t done;
  if (r->bytes != 1) {
    refuse(r, EK_LINK_REFUSED_LENGTH);
    return;
  }
  how = r->payload[0];
  if ((how & EK_LINK_RUN_BLIND) != 0 && !counts_blindly()) {
    refuse(r, EK_LINK_REFUSED_COUNTER);
    return;
  }
  if ((how & EK_LINK_RUN_COLD) != 0) ran = empty_caches();
  if ((how & EK_LINK_RUN_BLIND) != 0) {
    if (!ek_port_interrupts_off(&interrupts)) {
      refuse(r, EK_LINK_REFUSED_INTERRUPTS);
      return;
    }
    ek_counter_blind(true);
    ran |= EK_LINK_RAN_BLIND;
  }
  done = invoke();
  if (ek_counter_failed()) ran |= EK_LINK_RAN_UNCOUNTED;
  if ((ran & EK_LINK_RAN_BLIND) != 0) {
    ek_port_interrupts_restore(interrupts);
    ek_counter_blind(false);
  } else {
    longest = ek_counter_failed() ? ~(uint64_t)0 : longest_of(&done);
  }
  trigger_end();
  ek_link_begin('p', r->seq);
  ek_link_u32((uint32_t)done.status);
  ek_link_u64(whole(&done));
  ek_link_u16((uint16_t)profiled_layers());
  ek_link_u8(ran);
}

/* Ticks of a layer in the last run. */
static uint64_t layer_ticks(uint32_t layer) {
  return without(edges[layer + 1u] - edges[layer], edge_overhead);
}

/* Payload: u16 first. Answer: u16 first, u64 ticks of each of as many layers as fit. */
static void layers(const ek_request_t *r) {
  uint32_t first, last;
  if (r->bytes != 2) {
    refuse(r, EK_LINK_REFUSED_LENGTH);
    return;
  }
  first = u16_at(r, 0);
  last = profiled_layers();
  if (first > last) {
    refuse(r, EK_LINK_REFUSED_RANGE);
    return;
  }
  if (last > first + EK_LINK_DATA / 8u) last = first + EK_LINK_DATA / 8u;
  ek_link_begin('l', r->seq);
  ek_link_u16((uint16_t)first);
  for (uint32_t i = first; i < last; i++) ek_link_u64(layer_ticks(i));
}

#ifdef EK_NPU_BASE
static void accelerator(const ek_request_t *r) {
  uint8_t why;
  if (!ek_accelerator_answer(r, profiled_layers(), &why)) refuse(r, why);
}
#endif
#endif

/* Flash as the linker script knows it; without one, both are null and every range is refused. */
extern const uint8_t __flash_start[] __attribute__((weak));
extern const uint8_t __flash_end[] __attribute__((weak));

/* Payload: u32 address, u32 bytes, u32 CRC-32 of what comes before. Answer: u32 CRC-32. */
static void checksum(const ek_request_t *r) {
  uintptr_t start = (uintptr_t)__flash_start, end = (uintptr_t)__flash_end;
  uint32_t address, count;
  if (r->bytes != 12) {
    refuse(r, EK_LINK_REFUSED_LENGTH);
    return;
  }
  address = u32_at(r, 0);
  count = u32_at(r, 4);
  if (address < start || address > end || count > end - address) {
    refuse(r, EK_LINK_REFUSED_RANGE);
    return;
  }
  ek_link_begin('k', r->seq);
  ek_link_u32(ek_crc32(u32_at(r, 8), (const uint8_t *)(uintptr_t)address, count));
}

/* Answer: i32 status. */
static void reset(const ek_request_t *r) {
  int32_t status = ek_app_reset();
  ek_link_begin('i', r->seq);
  ek_link_u32((uint32_t)status);
}

static void stack(const ek_request_t *r) {
  ek_link_begin('s', r->seq);
  ek_link_u32(ek_stack_used());
  ek_link_u32(ek_stack_bytes());
}

#ifdef EK_GPU
/* Payload: u16 index. Answer: a text without its final zero, the empty one behind the last. */
static void gpu(const ek_request_t *r) {
  const char *text;
  uint32_t bytes = 0;
  if (r->bytes != 2) {
    refuse(r, EK_LINK_REFUSED_LENGTH);
    return;
  }
  text = ek_app_gpu_line(u16_at(r, 0));
  while (bytes < EK_LINK_DATA && text[bytes] != 0) bytes++;
  ek_link_begin('g', r->seq);
  ek_link_bytes((const uint8_t *)text, bytes);
}
#endif

#ifdef EK_GPU
/* Payload: u16 layer, u16 variant, u16 repeat, u8 of each launch: which local size. Answer: u32
 * verdict, u32 detail, u64 nanoseconds. */
static void time_variant(const ek_request_t *r) {
  enum { BEFORE = 6 };
  uint32_t detail = 0, verdict;
  uint64_t ns = 0;
  if (r->bytes < BEFORE) {
    refuse(r, EK_LINK_REFUSED_LENGTH);
    return;
  }
  verdict = ek_app_gpu_time(u16_at(r, 0), u16_at(r, 2), r->payload + BEFORE, r->bytes - BEFORE,
                            u16_at(r, 4), &detail, &ns);
  ek_link_begin('t', r->seq);
  ek_link_u32(verdict);
  ek_link_u32(detail);
  ek_link_u64(ns);
}

/* Payload: u32 offset, bytes of a tuning file; none at the end. Answer: u32 0 where it was taken. */
static void tuning(const ek_request_t *r) {
  enum { BEFORE = 4 };
  if (r->bytes < BEFORE) {
    refuse(r, EK_LINK_REFUSED_LENGTH);
    return;
  }
  const int32_t status =
      ek_app_gpu_tuning(u32_at(r, 0), r->payload + BEFORE, r->bytes - BEFORE);
  ek_link_begin('y', r->seq);
  ek_link_u32((uint32_t)status);
}
#endif

static void serve(const ek_request_t *r) {
  if (r->type == EK_LINK_HELLO) {
    hello(r);
  } else if (r->type == EK_LINK_STACK) {
    stack(r);
  } else if (r->type == EK_LINK_CHECKSUM) {
    checksum(r);
  } else if (r->type == EK_LINK_NOW) {
    now(r);
#ifdef EK_GPU
  } else if (r->type == EK_LINK_GPU) {
    gpu(r);
  } else if (r->type == EK_LINK_TIME) {
    time_variant(r);
  } else if (r->type == EK_LINK_TUNING) {
    tuning(r);
#endif
  } else if (app_status != 0) {
    refuse(r, EK_LINK_REFUSED_CLOSED);
  } else if (r->type == EK_LINK_SIZE) {
    size(r);
  } else if (r->type == EK_LINK_WRITE) {
    write(r);
  } else if (r->type == EK_LINK_RUN) {
    run(r);
  } else if (r->type == EK_LINK_OUTPUT) {
    output(r);
  } else if (r->type == EK_LINK_RESET) {
    reset(r);
#ifdef EK_PROFILE
  } else if (r->type == EK_LINK_PROFILE) {
    profile(r);
  } else if (r->type == EK_LINK_LAYERS) {
    layers(r);
#ifdef EK_NPU_BASE
  } else if (r->type == EK_LINK_ACCELERATOR) {
    accelerator(r);
#endif
#endif
  } else {
    refuse(r, EK_LINK_REFUSED_TYPE);
  }
}

void ek_fault(const ek_fault_t *fault) {
  ek_link_begin(EK_LINK_FAULT, 0);
  ek_link_u32(fault->pc);
  ek_link_u32(fault->lr);
  ek_link_u32(fault->cfsr);
  ek_link_u32(fault->hfsr);
  ek_link_u32(fault->address);
  ek_link_u32(fault->sp);
  ek_link_send();
  for (;;) { /* again for whoever asks later */
    if (ek_uart_get() == 0) ek_link_resend();
  }
}

int main(void) {
  ek_request_t request;
  uint8_t last_type = 0, last_seq = 0;
  app.mode = "";
  const int32_t setup = ek_board_setup(); /* clocks and pins first */
  ek_uart_init();
  ek_counter_open(&counter);
  app_status = setup != 0 ? setup : ek_app_open(&app);
  calibrate();
  for (;;) {
    ek_link_receive(&request);
    /* A request that comes again has lost its answer: running a model twice would change its
     * state. HELLO starts a conversation and is always served. */
    if (request.type != EK_LINK_HELLO && request.type == last_type && request.seq == last_seq) {
      ek_link_resend();
      continue;
    }
    last_type = request.type;
    last_seq = request.seq;
    serve(&request);
    ek_link_send();
  }
}
