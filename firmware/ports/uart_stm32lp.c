/* LPUART of STM32G0, H7, L4 and U5 (RM0351, chapter 41), at EK_UART_BASE. */
#define EK_LPUART
#include "uart_stm32v2.c"
