/* A stand-in for a model: three layers of arithmetic on an int8 buffer, with one byte of state. */
#include <stddef.h>
#include <string.h>

#include "ek_app.h"
#include "ek_profile.h"

#ifndef FAKE_BYTES
#define FAKE_BYTES 600u
#endif
#ifndef FAKE_LOOPS
#define FAKE_LOOPS 3u
#endif
#ifndef FAKE_DEEP
#define FAKE_DEEP 8192u
#endif
#ifndef FAKE_STATUS
#define FAKE_STATUS 0
#endif

#ifndef FAKE_JITTER
#define FAKE_JITTER 1u
#endif

static uint8_t input[FAKE_BYTES];
static uint8_t output[FAKE_BYTES];
static uint8_t runs;
static uint8_t runs_out;

#ifdef FAKE_BOARD_COLD
void ek_board_cold(void);
void ek_board_cold(void) { runs = (uint8_t)(runs + 50u); }
#endif
#ifdef FAKE_DATA
static volatile uint8_t initial[8] = {1, 2, 3};
#endif

#ifdef FAKE_BUNDLE
extern const uint8_t ek_bundle_start[], ek_bundle_end[];
#endif

int32_t ek_app_open(ek_app_info_t *info) {
#if defined(FAKE_MASKED) && defined(__riscv)
  __asm volatile("csrsi mstatus, 8");
#endif
  info->mode = "aot";
  for (uint32_t i = 0; i < 8; i++) info->model_hash[i] = (uint8_t)(i * 17u);
#ifdef FAKE_BUNDLE
  for (uint32_t i = 0; i < 8; i++) info->model_hash[i] = ek_bundle_start[i];
  info->arena_bytes = (uint32_t)(ek_bundle_end - ek_bundle_start);
#else
  info->arena_bytes = sizeof input + sizeof output;
#endif
  info->inputs = 1;
  info->outputs = 2;
  info->layers = 3;
  return FAKE_STATUS;
}

uint8_t *ek_app_input(uint32_t index, uint32_t *bytes) {
  if (index != 0) return NULL;
  *bytes = sizeof input;
  return input;
}

const uint8_t *ek_app_output(uint32_t index, uint32_t *bytes) {
  if (index > 1) return NULL;
  *bytes = index == 0 ? (uint32_t)sizeof output : 1u;
  return index == 0 ? output : &runs_out;
}

static void negate(void) {
  for (uint32_t i = 0; i < FAKE_BYTES; i++) output[i] = (uint8_t)(255u - input[i]);
}

static void add(uint32_t times) {
  for (uint32_t n = 0; n < times; n++) {
    for (volatile uint32_t i = 0; i < FAKE_BYTES; i++) output[i] = (uint8_t)(output[i] + 1u);
  }
}

#ifdef FAKE_MASKED
/* Whether interrupts are off. */
static uint8_t masked(void) {
  uint32_t state;
#ifdef __riscv
  __asm volatile("csrr %0, mstatus" : "=r"(state));
  return (state & 8u) == 0;
#else
  __asm volatile("mrs %0, primask" : "=r"(state));
  return (uint8_t)state;
#endif
}
#endif

int32_t ek_app_invoke(void) {
#ifdef FAKE_FAULT
  *(volatile uint32_t *)0x60000000u = input[0];
#endif
#ifdef FAKE_UNALIGNED
  uint32_t low, high;
  __asm volatile("ldrd %0, %1, [%2]" : "=r"(low), "=r"(high) : "r"((uintptr_t)input | 1u));
  runs = (uint8_t)(low + high);
#endif
#ifdef FAKE_OVERFLOW
  volatile uint8_t deep[FAKE_DEEP];
  for (uint32_t i = 0; i < sizeof deep; i++) deep[i] = input[0];
#endif
#ifdef FAKE_DATA
  initial[0]++;
#endif
  EK_EDGE(0);
  negate();
  EK_EDGE(1);
  add(FAKE_LOOPS + runs % FAKE_JITTER);
  EK_EDGE(2);
  add(1);
  EK_EDGE(3);
  runs_out = ++runs;
#ifdef FAKE_MASKED
  runs_out = masked();
#endif
  return 0;
}

int32_t ek_app_reset(void) { return 0; }
