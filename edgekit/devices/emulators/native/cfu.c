/* The custom function unit of docs/CFU.md for the virtual board: unicorn reports custom-0 as an
 * illegal instruction, behind which it goes on once the registers say what the unit did.
 *
 * No libc and no unicorn header, as in virtual.c. The structure is mirrored in cfu.py. */
#include <stdint.h>

#if defined(_WIN32)
#define EK_PUBLIC __declspec(dllexport)
#else
#define EK_PUBLIC __attribute__((visibility("default")))
#endif

enum { PIXELS = 8, CHANNELS = 4, ILLEGAL = 2, CUSTOM_0 = 0x0B, ENABLE_CSRW = 0xBC0 };

typedef struct {
  int (*read_register)(void *engine, int number, void *value);
  int (*write_register)(void *engine, int number, const void *value);
  int (*read_memory)(void *engine, uint64_t address, void *bytes, uint64_t size);
  void (*other)(uint32_t number); /* every exception that is not one of the unit's instructions */
  int32_t pc, x0;                 /* unicorn's numbers of these registers */
  uint32_t enabled;
  int32_t acc[PIXELS][CHANNELS], bias[CHANNELS], multiplier[CHANNELS];
  uint32_t right[CHANNELS], output;
} cfu_t;

static int32_t byte_of(uint32_t word, uint32_t i) { return (int32_t)(word << (24 - 8 * i)) >> 24; }

static int32_t sum_of(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

static uint32_t result_of(const cfu_t *c, uint32_t pixel) {
  uint32_t i, word = 0;
  for (i = 0; i < CHANNELS; i++) {
    const int32_t v = sum_of(c->acc[pixel][i], c->bias[i]);
    const int64_t high = ((int64_t)v * c->multiplier[i] + (INT64_C(1) << 30)) >> 31;
    const int64_t half = c->right[i] == 0 ? 0 : (INT64_C(1) << (c->right[i] - 1)) - (high < 0);
    const int64_t q = ((high + half) >> c->right[i]) + byte_of(c->output, 0);
    const int32_t low = byte_of(c->output, 1), most = byte_of(c->output, 2);
    word |= ((uint32_t)(q < low ? low : q > most ? most : q) & 255u) << (8 * i);
  }
  return word;
}

/* What one instruction does; its result. */
static uint32_t execute(cfu_t *c, uint32_t op, uint32_t function, uint32_t a, uint32_t b) {
  const uint32_t pixel = (function >> 2) % PIXELS, channel = function & 3u;
  uint32_t i;
  switch (op) {
    case 0:
      for (i = 0; i < 4; i++)
        c->acc[pixel][channel] = sum_of(c->acc[pixel][channel], byte_of(a, i) * byte_of(b, i));
      return 0;
    case 1:
      for (i = 0; i < 4; i++)
        c->acc[pixel][i] = sum_of(c->acc[pixel][i], byte_of(a, i) * byte_of(b, i));
      return 0;
    case 2:
      for (i = 0; i < PIXELS * CHANNELS; i++) c->acc[i / CHANNELS][i % CHANNELS] = 0;
      return 0;
    case 3:
      c->bias[channel] = (int32_t)a;
      return 0;
    case 4:
      c->multiplier[channel] = (int32_t)(a & 0x7FFFFFFFu);
      c->right[channel] = b & 31u;
      return 0;
    case 5:
      c->output = a;
      return 0;
    case 6:
      return result_of(c, pixel);
    default:
      return 0;
  }
}

static uint32_t register_of(const cfu_t *c, void *engine, uint32_t number) {
  uint32_t value = 0;
  c->read_register(engine, c->x0 + (int)number, &value);
  return value;
}

/* UC_HOOK_INTR: unicorn is behind the instruction already. */
EK_PUBLIC void ek_virtual_cfu(void *engine, uint32_t number, void *user) {
  cfu_t *c = user;
  uint32_t pc = 0, word = 0, rd;
  if (number == ILLEGAL && c->read_register(engine, c->pc, &pc) == 0 &&
      c->read_memory(engine, pc - 4u, &word, sizeof word) == 0) {
    rd = word >> 7 & 31u;
    if ((word & 0x7Fu) == CUSTOM_0 && c->enabled) {
      const uint32_t value = execute(c, word >> 12 & 7u, word >> 25,
                                     register_of(c, engine, word >> 15 & 31u),
                                     register_of(c, engine, word >> 20 & 31u));
      if (rd != 0) c->write_register(engine, c->x0 + (int)rd, &value);
      return;
    }
    if ((word & 0x7Fu) == 0x73u && word >> 20 == ENABLE_CSRW && (word >> 12 & 7u) == 1u) {
      c->enabled = register_of(c, engine, word >> 15 & 31u) >> 31;
      return;
    }
  }
  c->other(number);
}
