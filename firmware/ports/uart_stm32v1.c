/* USART of STM32F1, F2 and F4 (RM0090, chapter 30: SR, DR, BRR, CR1), at EK_UART_BASE. */
#include "ek_register.h"
#include "ek_uart.h"

#define SR EK_REG(EK_UART_BASE + 0x00u)
#define DR EK_REG(EK_UART_BASE + 0x04u)
#define BRR EK_REG(EK_UART_BASE + 0x08u)
#define CR1 EK_REG(EK_UART_BASE + 0x0Cu)

enum { SR_RXNE = 1 << 5, SR_TXE = 1 << 7, CR1_RE = 1 << 2, CR1_TE = 1 << 3, CR1_UE = 1 << 13 };

void ek_uart_init(void) {
  /* Sixteen samples a bit: mantissa and fraction side by side are the clock by the baud rate. */
  BRR = (EK_UART_CLOCK_HZ + EK_BAUD / 2u) / EK_BAUD;
  CR1 = CR1_UE | CR1_TE | CR1_RE;
}

void ek_uart_put(uint8_t byte) {
  while ((SR & SR_TXE) == 0) {
  }
  DR = byte;
}

/* Reading SR and then DR also clears an overrun. */
int32_t ek_uart_get(void) { return (SR & SR_RXNE) != 0 ? (int32_t)(DR & 0xFFu) : -1; }
