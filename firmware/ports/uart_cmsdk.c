/* Arm CMSDK APB UART (Arm DDI 0479, section 4.3), at EK_UART_BASE. */
#include "ek_register.h"
#include "ek_uart.h"

#define DATA EK_REG(EK_UART_BASE + 0x00u)
#define STATE EK_REG(EK_UART_BASE + 0x04u)
#define CTRL EK_REG(EK_UART_BASE + 0x08u)
#define BAUDDIV EK_REG(EK_UART_BASE + 0x10u)

enum { STATE_TX_FULL = 1, STATE_RX_FULL = 2, CTRL_TX_ENABLE = 1, CTRL_RX_ENABLE = 2 };

void ek_uart_init(void) {
  BAUDDIV = EK_UART_CLOCK_HZ / EK_BAUD;
  CTRL = CTRL_TX_ENABLE | CTRL_RX_ENABLE;
  /* Drop a stale byte. QEMU also needs the read: it stops looking for input while reception is
   * off, and looks again only after the data register was read. */
  (void)DATA;
}

void ek_uart_put(uint8_t byte) {
  while ((STATE & STATE_TX_FULL) != 0) {
  }
  DATA = byte;
}

int32_t ek_uart_get(void) { return (STATE & STATE_RX_FULL) != 0 ? (int32_t)(DATA & 0xFFu) : -1; }
