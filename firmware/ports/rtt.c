/* The transport "rtt": a ring to the host and one from it, in RAM, which a debug probe reads and
 * writes while the CPU runs. The control block has the layout that SEGGER publishes for its
 * Real-Time Transfer, so that other tools find it too; edgekit/devices/links/rtt.py is the other end.
 *
 * Each index has one writer. Like a UART with flow control, a full ring waits for the host. */
#include "ek_uart.h"

typedef struct {
  const char *name;
  uint8_t *data;
  uint32_t bytes;
  uint32_t written, read; /* offsets of the next byte to write, and to read; equal: empty */
  uint32_t flags;         /* 2: the device waits where the ring is full */
} ring_t;

typedef struct {
  char id[16];
  int32_t up_rings, down_rings;
  ring_t up, down; /* from the device, to the device */
} block_t;

enum { WAIT_IF_FULL = 2 };

static uint8_t up_data[EK_RTT_UP_BYTES], down_data[EK_RTT_DOWN_BYTES];
volatile block_t ek_rtt;

/* What was written to memory before is seen before what follows. */
#define ORDER() __atomic_thread_fence(__ATOMIC_SEQ_CST)

static void open_ring(volatile ring_t *ring, uint8_t *data, uint32_t bytes) {
  ring->name = "edgekit";
  ring->data = data;
  ring->bytes = bytes;
  ring->written = 0;
  ring->read = 0;
  ring->flags = WAIT_IF_FULL;
}

void ek_uart_init(void) {
  /* Backwards, and the identification last: who searches for it finds no copy in flash, and no
   * block that is not ready. */
  static const char backwards[] = "TTR REGGES";
  enum { LETTERS = sizeof backwards - 1 };
  for (uint32_t i = 0; i < sizeof ek_rtt.id; i++) ek_rtt.id[i] = 0;
  ek_rtt.up_rings = 1;
  ek_rtt.down_rings = 1;
  open_ring(&ek_rtt.up, up_data, sizeof up_data);
  open_ring(&ek_rtt.down, down_data, sizeof down_data);
  ORDER();
  for (uint32_t i = 0; i < LETTERS; i++) ek_rtt.id[i] = backwards[LETTERS - 1u - i];
}

void ek_uart_put(uint8_t byte) {
  uint32_t at = ek_rtt.up.written, next = at + 1u < sizeof up_data ? at + 1u : 0;
  while (next == ek_rtt.up.read) {
  }
  up_data[at] = byte;
  ORDER();
  ek_rtt.up.written = next;
}

int32_t ek_uart_get(void) {
  uint32_t at = ek_rtt.down.read;
  int32_t byte;
  if (at == ek_rtt.down.written) return -1;
  ORDER();
  byte = *(volatile uint8_t *)&down_data[at]; /* the probe writes it behind the compiler's back */
  ORDER();
  ek_rtt.down.read = at + 1u < sizeof down_data ? at + 1u : 0;
  return byte;
}
