/* UART of Ambiq Apollo3 and Apollo4, a PL011 with a clock selector in its CR, at EK_UART_BASE. */
#define EK_PL011_CLOCK (1u << 3 | 1u << 4) /* CLKEN; CLKSEL: 24 MHz */
#include "uart_pl011.c"
