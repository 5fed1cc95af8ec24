/* A polled UART: 8 data bits, no parity. One file per kind of UART implements it. */
#ifndef EK_UART_H
#define EK_UART_H

#include <stdint.h>

void ek_uart_init(void);
void ek_uart_put(uint8_t byte); /* waits until there is room */
int32_t ek_uart_get(void);      /* the next byte, or -1 where none has come */

#endif
