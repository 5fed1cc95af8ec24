/* UARTE of the nRF52 and nRF53 series, which reads and writes RAM by itself (nRF5340 Product
 * Specification, chapter UARTE), at EK_UART_BASE; its pins are the board's. */
#include "ek_register.h"
#include "ek_uart.h"

#define STARTRX EK_REG(EK_UART_BASE + 0x000u)
#define STARTTX EK_REG(EK_UART_BASE + 0x008u)
#define ENDRX EK_REG(EK_UART_BASE + 0x110u)
#define ENDTX EK_REG(EK_UART_BASE + 0x120u)
#define ENABLE EK_REG(EK_UART_BASE + 0x500u)
#define PSEL_TXD EK_REG(EK_UART_BASE + 0x50Cu)
#define PSEL_RXD EK_REG(EK_UART_BASE + 0x514u)
#define BAUDRATE EK_REG(EK_UART_BASE + 0x524u)
#define RXD_PTR EK_REG(EK_UART_BASE + 0x534u)
#define RXD_MAXCNT EK_REG(EK_UART_BASE + 0x538u)
#define TXD_PTR EK_REG(EK_UART_BASE + 0x544u)
#define TXD_MAXCNT EK_REG(EK_UART_BASE + 0x548u)

enum { ENABLED = 8 };

/* In 2^32ths of its 16 MHz, of which it takes whole multiples of 4096. */
#define RATE ((uint32_t)((((uint64_t)EK_BAUD << 32) / 16000000u + 2048u) & ~4095ull))

/* Bytes on their way: the UARTE cannot read flash. */
static volatile uint8_t received, sent;

void ek_uart_init(void) {
#ifdef EK_UART_TX_PIN
  PSEL_TXD = EK_UART_TX_PIN;
  PSEL_RXD = EK_UART_RX_PIN;
#endif
  BAUDRATE = RATE;
  ENABLE = ENABLED;
  TXD_PTR = (uint32_t)(uintptr_t)&sent;
  TXD_MAXCNT = 1;
  RXD_PTR = (uint32_t)(uintptr_t)&received;
  RXD_MAXCNT = 1;
  ENDRX = 0;
  STARTRX = 1;
}

void ek_uart_put(uint8_t byte) {
  sent = byte;
  ENDTX = 0;
  STARTTX = 1;
  while (ENDTX == 0) {
  }
}

/* What comes before reception is started again waits in the UARTE's FIFO. */
int32_t ek_uart_get(void) {
  uint8_t byte;
  if (ENDRX == 0) return -1;
  byte = received;
  ENDRX = 0;
  STARTRX = 1;
  return byte;
}
