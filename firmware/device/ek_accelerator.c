#include "ek_accelerator.h"

#include "ek_fault.h"
#include "ek_npu.h"
#include "ek_npu_registers.h"
#include "ek_profile.h"

void ek_npu_failed(uint32_t status) {
  ek_fault_t fault;
  fault.pc = (uint32_t)(uintptr_t)__builtin_return_address(0);
  fault.lr = 0xFFFFFFFFu;
  fault.cfsr = EK_FAULT_ACCELERATOR;
  fault.hfsr = status;
  fault.address = 0xFFFFFFFFu;
  fault.sp = 0xFFFFFFFFu;
  ek_fault(&fault);
}

#ifdef EK_PROFILE
enum { COUNTERS = 4, LAYER_BYTES = COUNTERS * 4 };

/* Of all streams before the one that runs, or ran last; counters of 32 bits wrap. */
static uint32_t before[COUNTERS];
static uint32_t edges[EK_MAX_LAYERS + 1u][COUNTERS];

static void read(uint32_t *counters) {
  counters[0] = EK_NPU_STEPS;
  counters[1] = EK_NPU_WAITED;
  counters[2] = EK_NPU_MOVED;
  counters[3] = EK_NPU_STALLED;
}

void ek_profile_stream(void) {
  uint32_t last[COUNTERS];
  read(last);
  for (uint32_t i = 0; i < COUNTERS; i++) before[i] += last[i];
}

void ek_accelerator_edge(uint32_t edge) {
  if (edge > EK_MAX_LAYERS) return;
  read(edges[edge]);
  for (uint32_t i = 0; i < COUNTERS; i++) edges[edge][i] += before[i];
}

bool ek_accelerator_answer(const ek_request_t *request, uint32_t layers, uint8_t *why) {
  uint32_t first, last = layers;
  if (request->bytes != 2) {
    *why = EK_LINK_REFUSED_LENGTH;
    return false;
  }
  first = request->payload[0] | (uint32_t)request->payload[1] << 8;
  if (first > last) {
    *why = EK_LINK_REFUSED_RANGE;
    return false;
  }
  if (last > first + EK_LINK_DATA / LAYER_BYTES) last = first + EK_LINK_DATA / LAYER_BYTES;
  ek_link_begin('a', request->seq);
  ek_link_u16((uint16_t)first);
  for (uint32_t layer = first; layer < last; layer++) {
    for (uint32_t i = 0; i < COUNTERS; i++) ek_link_u32(edges[layer + 1u][i] - edges[layer][i]);
  }
  return true;
}
#endif
