/* A stand-in for a model that does what its input asks for: times memory, goes wrong, or runs a
 * command stream of the accelerator. An edge before, and one after.
 *
 * Input, in words: what to do, up to seven arguments, then bytes. Output: up to seven results after
 * the word 1, then bytes. */
#include <string.h>

#include "ek_app.h"
#include "ek_npu.h"
#include "ek_npu_registers.h"
#include "ek_profile.h"

#ifndef PROBE_BYTES
#define PROBE_BYTES 1024
#endif

enum { HEAD = 8, REGIONS = 8, BYTES = PROBE_BYTES, FIELD = 1 << 14 };
enum { READ, WRITE, COPY, ILLEGAL, UNALIGNED, JUMP, STREAM, PEEK };

static uint32_t input[HEAD + BYTES / 4], output[HEAD + BYTES / 4];
static uint32_t field[2][FIELD];

int32_t ek_app_open(ek_app_info_t *info) {
  info->mode = "aot";
  info->inputs = 1;
  info->outputs = 1;
  info->layers = 1;
  info->arena_bytes = sizeof input + sizeof output;
  return 0;
}

uint8_t *ek_app_input(uint32_t index, uint32_t *bytes) {
  *bytes = sizeof input;
  return index == 0 ? (uint8_t *)input : 0;
}

const uint8_t *ek_app_output(uint32_t index, uint32_t *bytes) {
  *bytes = sizeof output;
  return index == 0 ? (const uint8_t *)output : 0;
}

static uint32_t cycles(void) {
  uint32_t now;
  __asm volatile("csrr %0, mcycle" : "=r"(now));
  return now;
}

/* Every `step`-th of `count` words of the field. */
static void read(uint32_t step, uint32_t count) {
  const volatile uint32_t *at = field[0];
  for (uint32_t i = 0; i < count; i++, at += step) (void)*at;
}

static void write(uint32_t step, uint32_t count) {
  volatile uint32_t *at = field[0];
  for (uint32_t i = 0; i < count; i++, at += step) *at = i;
}

/* What is in the cache before must not be taken for what is stored afterwards. */
static void touch(const volatile uint8_t *at, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) (void)at[i];
}

/* Arguments: words of the stream, commands of either engine to wait for, how many regions, bytes of
 * them all. The input's bytes are the stream, offset and size of each region, and what the regions
 * hold, which becomes the output's bytes. Results: cycles of the CPU's, and of the accelerator's. */
static void stream(void) {
  const uint32_t words = input[1], count = input[4], bytes = input[5];
  const uint32_t *table = input + HEAD + words;
  uint8_t *memory = (uint8_t *)(output + HEAD);
  ek_npu_region_t regions[REGIONS];
  uint32_t start;
  for (uint32_t i = 0; i < count; i++, table += 2) {
    regions[i].data = memory + table[0];
    regions[i].nbytes = table[1];
  }
  memcpy(memory, table, bytes);
  touch(memory, bytes);
  start = cycles();
  ek_npu_start(input + HEAD, words, regions, count);
  ek_npu_wait(0, input[3] - 1u);
  touch(memory, bytes); /* while the last transfer runs, or waits for the array */
  ek_npu_wait(input[2], input[3]);
  output[1] = cycles() - start;
  output[2] = EK_NPU_CYCLES;
}

int32_t ek_app_invoke(void) {
  const uint32_t step = input[1], count = input[2];
  uint32_t start;
  void (*nowhere)(void) = (void (*)(void))(uintptr_t)input[1];
  EK_EDGE(0);
  start = cycles();
  output[0] = 1;
  switch (input[0]) {
    case READ:
      read(step, count);
      break;
    case WRITE:
      write(step, count);
      break;
    case COPY:
      memcpy(field[1], field[0], count);
      break;
    case ILLEGAL:
      __asm volatile(".word 0xFFFFFFFF");
      break;
    case UNALIGNED:
      __asm volatile("lw %0, 1(%1)" : "=r"(start) : "r"(input));
      break;
    case JUMP:
      nowhere();
      break;
    case PEEK:
      output[2] = *(const volatile uint32_t *)(uintptr_t)input[1];
      break;
    default:
      stream();
      EK_EDGE(1);
      return 0;
  }
  output[1] = cycles() - start;
  EK_EDGE(1);
  return 0;
}

int32_t ek_app_reset(void) { return 0; }
