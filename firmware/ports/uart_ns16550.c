/* 16550 UART (Texas Instruments PC16550D, section 8) with registers of one byte, at EK_UART_BASE.
 *
 * The divisor latch is left as the machine has set it: its clock is not the CPU's. */
#include "ek_uart.h"

#define REGISTER(index) (*(volatile uint8_t *)(uintptr_t)(EK_UART_BASE + (index)))
#define DATA REGISTER(0u)
#define INTERRUPTS REGISTER(1u)
#define FIFO REGISTER(2u)
#define LINE REGISTER(3u)
#define STATE REGISTER(5u)

enum { FIFO_ON_AND_CLEAR = 7, EIGHT_BITS = 3, RX_READY = 0x01, TX_EMPTY = 0x20 };

void ek_uart_init(void) {
  INTERRUPTS = 0;
  LINE = EIGHT_BITS;
  FIFO = FIFO_ON_AND_CLEAR;
  /* QEMU stops looking for input while nobody reads, and looks again after the data register was
   * read. */
  (void)DATA;
}

void ek_uart_put(uint8_t byte) {
  while ((STATE & TX_EMPTY) == 0) {
  }
  DATA = byte;
}

int32_t ek_uart_get(void) { return (STATE & RX_READY) != 0 ? (int32_t)DATA : -1; }
