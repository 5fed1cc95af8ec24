/* Arm PrimeCell UART PL011 (Arm DDI 0183, section 3.3), at EK_UART_BASE: RP2040, RP2350. */
#include "ek_register.h"
#include "ek_uart.h"

#define DR EK_REG(EK_UART_BASE + 0x00u)
#define FR EK_REG(EK_UART_BASE + 0x18u)
#define IBRD EK_REG(EK_UART_BASE + 0x24u)
#define FBRD EK_REG(EK_UART_BASE + 0x28u)
#define LCR_H EK_REG(EK_UART_BASE + 0x2Cu)
#define CR EK_REG(EK_UART_BASE + 0x30u)

enum {
  FR_RXFE = 1 << 4,
  FR_TXFF = 1 << 5,
  LCR_H_FEN = 1 << 4,
  LCR_H_EIGHT_BITS = 3 << 5,
  CR_UARTEN = 1 << 0,
  CR_TXE = 1 << 8,
  CR_RXE = 1 << 9
};

#ifndef EK_PL011_CLOCK
#define EK_PL011_CLOCK 0u
#endif

/* Clock cycles of a sixteenth of a bit, in 64ths. */
#define DIVIDER ((uint32_t)((4ull * EK_UART_CLOCK_HZ + EK_BAUD / 2u) / EK_BAUD))

void ek_uart_init(void) {
  CR = EK_PL011_CLOCK;
  IBRD = DIVIDER >> 6;
  FBRD = DIVIDER & 63u;
  LCR_H = LCR_H_EIGHT_BITS | LCR_H_FEN; /* also takes the divider over */
  CR = EK_PL011_CLOCK | CR_UARTEN | CR_TXE | CR_RXE;
}

void ek_uart_put(uint8_t byte) {
  while ((FR & FR_TXFF) != 0) {
  }
  DR = byte;
}

int32_t ek_uart_get(void) { return (FR & FR_RXFE) == 0 ? (int32_t)(DR & 0xFFu) : -1; }
