/* Standard input and output of a Linux process. The program ends where its input does. */
#include "ek_linux.h"
#include "ek_uart.h"

enum { STDIN = 0, EINTR = 4 };
#ifndef EK_UART_OUT
#define EK_UART_OUT 1 /* standard output */
#endif

static uint8_t sent[1024], received[1024];
static uint32_t sending, next, available;

void ek_uart_init(void) {}

static void flush(void) {
  uint32_t done = 0;
  while (done < sending) {
    intptr_t count = ek_syscall(SYS_WRITE, EK_UART_OUT, (intptr_t)(sent + done),
                                (intptr_t)(sending - done), 0);
    if (count == -EINTR) continue;
    if (count <= 0) ek_exit(1); /* whoever read it is gone */
    done += (uint32_t)count;
  }
  sending = 0;
}

void ek_uart_put(uint8_t byte) {
  if (sending == sizeof sent) flush();
  sent[sending++] = byte;
}

int32_t ek_uart_get(void) {
  while (next == available) {
    intptr_t count;
    flush();
    count = ek_syscall(SYS_READ, STDIN, (intptr_t)received, sizeof received, 0);
    if (count == -EINTR) continue;
    if (count <= 0) ek_exit(count == 0 ? 0 : 1);
    next = 0;
    available = (uint32_t)count;
  }
  return received[next++];
}
