/* USART and LPUART of STM32F7, G0, H7, L4 and U5 (RM0351, chapters 40 and 41: CR1, BRR, ISR, ICR,
 * RDR, TDR), at EK_UART_BASE. uart_stm32lp.c is the same file for the LPUART. */
#include "ek_register.h"
#include "ek_uart.h"

#define CR1 EK_REG(EK_UART_BASE + 0x00u)
#define BRR EK_REG(EK_UART_BASE + 0x0Cu)
#define ISR EK_REG(EK_UART_BASE + 0x1Cu)
#define ICR EK_REG(EK_UART_BASE + 0x20u)
#define RDR EK_REG(EK_UART_BASE + 0x24u)
#define TDR EK_REG(EK_UART_BASE + 0x28u)

enum {
  CR1_UE = 1 << 0,
  CR1_RE = 1 << 2,
  CR1_TE = 1 << 3,
  ISR_ORE = 1 << 3,
  ISR_RXNE = 1 << 5,
  ISR_TXE = 1 << 7
};

/* Clock cycles of a bit are BRR: a USART's with sixteen samples a bit, an LPUART's in 256ths. */
#ifdef EK_LPUART
#define DIVIDER ((uint32_t)((256ull * EK_UART_CLOCK_HZ + EK_BAUD / 2u) / EK_BAUD))
#else
#define DIVIDER ((EK_UART_CLOCK_HZ + EK_BAUD / 2u) / EK_BAUD)
#endif

void ek_uart_init(void) {
  CR1 = 0; /* BRR can be written while the UART is off */
  BRR = DIVIDER;
  CR1 = CR1_UE | CR1_TE | CR1_RE;
}

void ek_uart_put(uint8_t byte) {
  while ((ISR & ISR_TXE) == 0) {
  }
  TDR = byte;
}

int32_t ek_uart_get(void) {
  uint32_t state = ISR;
  if ((state & ISR_ORE) != 0) ICR = ISR_ORE; /* it receives nothing until that is cleared */
  return (state & ISR_RXNE) != 0 ? (int32_t)(RDR & 0xFFu) : -1;
}
