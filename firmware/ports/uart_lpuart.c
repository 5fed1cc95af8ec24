/* LPUART of i.MX RT (i.MX RT1060 Reference Manual, chapter 49), at EK_UART_BASE. */
#include "ek_register.h"
#include "ek_uart.h"

#define BAUD EK_REG(EK_UART_BASE + 0x10u)
#define STAT EK_REG(EK_UART_BASE + 0x14u)
#define CTRL EK_REG(EK_UART_BASE + 0x18u)
#define DATA EK_REG(EK_UART_BASE + 0x1Cu)

enum {
  STAT_OR = 1 << 19,
  STAT_RDRF = 1 << 21,
  STAT_TDRE = 1 << 23,
  CTRL_RE = 1 << 18,
  CTRL_TE = 1 << 19,
  SAMPLES = 16 /* a bit */
};

void ek_uart_init(void) {
  CTRL = 0;
  BAUD = (SAMPLES - 1u) << 24 | (EK_UART_CLOCK_HZ + SAMPLES * EK_BAUD / 2u) / (SAMPLES * EK_BAUD);
  CTRL = CTRL_TE | CTRL_RE;
}

void ek_uart_put(uint8_t byte) {
  while ((STAT & STAT_TDRE) == 0) {
  }
  DATA = byte;
}

int32_t ek_uart_get(void) {
  uint32_t state = STAT;
  if ((state & STAT_OR) != 0) STAT = state | STAT_OR; /* it receives nothing until then */
  return (state & STAT_RDRF) != 0 ? (int32_t)(DATA & 0xFFu) : -1;
}
