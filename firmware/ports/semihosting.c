/* The transport "semihosting": a breakpoint that a debugger or an emulator understands as a call
 * ("Semihosting for AArch32 and AArch64", Arm; "RISC-V Semihosting", RISC-V International).
 *
 * Without one, the first call is a fault. Bytes are collected until the program waits for input. */
#include "ek_uart.h"

enum { SYS_OPEN = 1, SYS_WRITE = 5, SYS_READ = 6, MODE_R = 0, MODE_W = 4 };
enum { COLLECTED = 320, READ = 64 };

static uint8_t collected[COLLECTED], input[READ];
static uint32_t count;          /* bytes collected */
static uint32_t next, received; /* bytes of input taken, and there */
static uint32_t console_out, console_in;

static uint32_t call(uint32_t operation, const void *argument) {
#if defined(__riscv)
  register uint32_t result __asm("a0") = operation;
  register const void *block __asm("a1") = argument;
  /* Three instructions of four bytes each within one page tell it from a plain ebreak. */
  __asm volatile(
      ".balign 16\n"
      ".option push\n"
      ".option norvc\n"
      "slli zero, zero, 0x1f\n"
      "ebreak\n"
      "srai zero, zero, 7\n"
      ".option pop\n"
      : "+r"(result)
      : "r"(block)
      : "memory");
#else
  register uint32_t result __asm("r0") = operation;
  register const void *block __asm("r1") = argument;
  __asm volatile("bkpt 0xAB" : "+r"(result) : "r"(block) : "memory");
#endif
  return result;
}

/* Read or write: the bytes that were left over. */
static uint32_t transfer(uint32_t operation, uint32_t handle, uint8_t *data, uint32_t bytes) {
  const uint32_t block[3] = {handle, (uint32_t)(uintptr_t)data, bytes};
  uint32_t left = call(operation, block);
  return left <= bytes ? left : bytes;
}

static void flush(void) {
  while (count != 0) {
    uint32_t left = transfer(SYS_WRITE, console_out, collected, count);
    uint32_t done = count - left;
    for (uint32_t i = 0; i < left; i++) collected[i] = collected[i + done];
    count = left;
  }
}

static uint32_t open_console(uint32_t mode) {
  static const char name[] = ":tt";
  const uint32_t block[3] = {(uint32_t)(uintptr_t)name, mode, sizeof name - 1u};
  return call(SYS_OPEN, block);
}

void ek_uart_init(void) {
  console_in = open_console(MODE_R);
  console_out = open_console(MODE_W);
}

void ek_uart_put(uint8_t byte) {
  if (count == COLLECTED) flush();
  collected[count++] = byte;
}

/* Waits for input, unlike a UART: the host stops the CPU until some has come. Not by SYS_READC:
 * QEMU 7.2 answers that before it has written the byte. */
int32_t ek_uart_get(void) {
  if (next == received) {
    flush();
    next = 0;
    received = READ - transfer(SYS_READ, console_in, input, READ);
    if (received == 0) return -1;
  }
  return input[next++];
}
