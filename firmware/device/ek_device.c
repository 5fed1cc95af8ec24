/* The device program: opens the model, then serves the host for ever. */
#include <string.h>

#include "ek_app.h"
#include "ek_counter.h"
#include "ek_fault.h"
#include "ek_link.h"
#include "ek_profile.h"
#include "ek_uart.h"

static ek_app_info_t app;
static ek_counter_t counter;
static int32_t app_status;

/* Ticks of one ek_profile_edge(), and of all those in one invocation. */
static uint32_t edge_overhead;
static uint32_t invoke_overhead;

#ifdef EK_PROFILE
static uint64_t edges[EK_MAX_LAYERS + 1u];
static uint64_t fastest[EK_MAX_LAYERS];

__attribute__((noinline)) void ek_profile_edge(uint32_t edge) {
  if (edge <= EK_MAX_LAYERS) edges[edge] = ek_counter_now();
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
}
#else
static void calibrate(void) { invoke_overhead = counter.overhead; }
#endif

static uint64_t without(uint64_t ticks, uint32_t overhead) {
  return ticks > overhead ? ticks - overhead : 0;
}

static int32_t timed_invoke(uint64_t *spent) {
  uint64_t start = ek_counter_now();
  int32_t status = ek_app_invoke();
  *spent = without(ek_counter_now() - start, invoke_overhead);
  return status;
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

/* Answer: i32 status, u64 ticks. */
static void run(const ek_request_t *r) {
  uint64_t spent;
  int32_t status = timed_invoke(&spent);
  ek_link_begin('r', r->seq);
  ek_link_u32((uint32_t)status);
  ek_link_u64(spent);
}

#ifdef EK_PROFILE
/* Payload: u16 repeat. Answer: i32 status, u64 fastest invocation, u16 layers. */
static void profile(const ek_request_t *r) {
  uint64_t best = ~(uint64_t)0;
  int32_t status = 0;
  if (r->bytes != 2) {
    refuse(r, EK_LINK_REFUSED_LENGTH);
    return;
  }
  memset(fastest, 0xFF, sizeof fastest);
  for (uint32_t n = u16_at(r, 0); n > 0 && status == 0; n--) {
    uint64_t spent;
    status = timed_invoke(&spent);
    if (spent < best) best = spent;
    for (uint32_t i = 0; i < profiled_layers(); i++) {
      uint64_t layer = without(edges[i + 1u] - edges[i], edge_overhead);
      if (layer < fastest[i]) fastest[i] = layer;
    }
  }
  ek_link_begin('p', r->seq);
  ek_link_u32((uint32_t)status);
  ek_link_u64(best);
  ek_link_u16((uint16_t)profiled_layers());
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
  for (uint32_t i = first; i < last; i++) ek_link_u64(fastest[i]);
}
#endif

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

static void serve(const ek_request_t *r) {
  if (r->type == EK_LINK_HELLO) {
    hello(r);
  } else if (r->type == EK_LINK_STACK) {
    stack(r);
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
  ek_uart_init();
  ek_counter_open(&counter);
  app_status = ek_app_open(&app);
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
