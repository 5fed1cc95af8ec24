/* UART of the ESP32-C3 (ESP32-C3 Technical Reference Manual, chapter 26), at EK_UART_BASE. The ROM
 * leaves it with 8 data bits and connected to its pins. */
#include "ek_register.h"
#include "ek_uart.h"

#define FIFO EK_REG(EK_UART_BASE + 0x00u)
#define CLKDIV EK_REG(EK_UART_BASE + 0x14u)
#define STATUS EK_REG(EK_UART_BASE + 0x1Cu)
#define ID EK_REG(EK_UART_BASE + 0x80u)

#define ID_REG_UPDATE (1u << 31)

enum { FIFO_BYTES = 128, COUNT = 0x3FF, TX_COUNT_SHIFT = 16 };

/* Clock cycles of a bit, in sixteenths: whole ones in CLKDIV's low bits, the rest in bits 23 to 20. */
#define DIVIDER ((uint32_t)((16ull * EK_UART_CLOCK_HZ + EK_BAUD / 2u) / EK_BAUD))

void ek_uart_init(void) {
  /* What the ROM has logged goes out at its own baud rate. */
  while ((STATUS >> TX_COUNT_SHIFT & COUNT) != 0) {
  }
  CLKDIV = DIVIDER >> 4 | (DIVIDER & 15u) << 20;
  ID |= ID_REG_UPDATE; /* the UART's clock domain takes the registers over */
  while ((ID & ID_REG_UPDATE) != 0) {
  }
}

void ek_uart_put(uint8_t byte) {
  while ((STATUS >> TX_COUNT_SHIFT & COUNT) >= FIFO_BYTES) {
  }
  FIFO = byte;
}

int32_t ek_uart_get(void) { return (STATUS & COUNT) != 0 ? (int32_t)(FIFO & 0xFFu) : -1; }
