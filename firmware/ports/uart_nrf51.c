/* UART of the nRF51 series (nRF51 Reference Manual, chapter 29), which nRF52 chips have too, at
 * EK_UART_BASE.
 *
 * The pins that it reaches are the board's: EK_UART_TX_PIN and EK_UART_RX_PIN, where they are
 * defined. QEMU has no pins. */
#include "ek_register.h"
#include "ek_uart.h"

#define STARTRX EK_REG(EK_UART_BASE + 0x000u)
#define STARTTX EK_REG(EK_UART_BASE + 0x008u)
#define RXDRDY EK_REG(EK_UART_BASE + 0x108u)
#define TXDRDY EK_REG(EK_UART_BASE + 0x11Cu)
#define ENABLE EK_REG(EK_UART_BASE + 0x500u)
#define PSELTXD EK_REG(EK_UART_BASE + 0x50Cu)
#define PSELRXD EK_REG(EK_UART_BASE + 0x514u)
#define RXD EK_REG(EK_UART_BASE + 0x518u)
#define TXD EK_REG(EK_UART_BASE + 0x51Cu)
#define BAUDRATE EK_REG(EK_UART_BASE + 0x524u)

enum { ENABLED = 4 };

/* In 2^32ths of its 16 MHz, of which it takes whole multiples of 4096. */
#define RATE ((uint32_t)((((uint64_t)EK_BAUD << 32) / 16000000u + 2048u) & ~4095ull))

void ek_uart_init(void) {
#ifdef EK_UART_TX_PIN
  PSELTXD = EK_UART_TX_PIN;
  PSELRXD = EK_UART_RX_PIN;
#endif
  BAUDRATE = RATE;
  ENABLE = ENABLED;
  STARTTX = 1;
  STARTRX = 1;
}

void ek_uart_put(uint8_t byte) {
  TXDRDY = 0;
  TXD = byte;
  while (TXDRDY == 0) {
  }
}

int32_t ek_uart_get(void) {
  if (RXDRDY == 0) return -1;
  RXDRDY = 0; /* before the read, which sets it again where another byte waits */
  return (int32_t)(RXD & 0xFFu);
}
