/* A Linux process that a dynamic loader starts, which programs need that load a GPU's driver: start-up,
 * clock, faults, and standard output kept for the link, whatever a driver prints.
 *
 * The program itself calls nothing of a C library but the loader's functions. Drivers do: the process's
 * C library is initialised as for its own programs, by the function that their start files call. */
#include <stdint.h>

#include "ek_counter.h"
#include "ek_fault.h"
#include "ek_linux.h"
#include "ek_signal.h"

enum { SIGNAL_STACK = 65536 };
static uint8_t signal_stack[SIGNAL_STACK] __attribute__((aligned(16)));

int main(void);
void ek_loaded_start(uintptr_t *arguments, void (*at_exit)(void));

/* The stack pointer, and what the loader wants to be called at the end (psABIs of x86-64, AArch64). */
#if defined(__x86_64__)
__asm(".text\n.globl _start\n.type _start, @function\n"
      "_start: xor %ebp, %ebp\n mov %rsp, %rdi\n mov %rdx, %rsi\n and $-16, %rsp\n"
      " call ek_loaded_start\n"
      ".size _start, . - _start\n");
#elif defined(__aarch64__)
__asm(".text\n.globl _start\n.type _start, %function\n"
      "_start: mov x29, #0\n mov x30, #0\n mov x1, x0\n mov x0, sp\n b ek_loaded_start\n"
      ".size _start, . - _start\n");
#else
#error "firmware/ports/loaded knows x86-64 and AArch64"
#endif

/* Linux decides, and drivers use what they like. */
uint32_t ek_stack_bytes(void) { return 0; }
uint32_t ek_stack_used(void) { return 0; }

int ek_port_counter_open(ek_counter_t *counter) {
  counter->name = "clock";
  counter->hz = 1000000000u;
  counter->mask = 0xFFFFFFFFu;
  return 1;
}

uint64_t ek_port_counter_now(void) {
  enum { MONOTONIC_RAW = 4 };
  intptr_t time[2] = {0, 0};
  (void)ek_syscall(SYS_CLOCK_GETTIME, MONOTONIC_RAW, (intptr_t)time, 0, 0);
  return (uint64_t)time[0] * 1000000000u + (uint64_t)time[1];
}

/* Where it happened has 64 bits, which the protocol has not. */
static void on_signal(int signal, const uint8_t *info, uint8_t *context) {
  ek_fault_t fault;
  (void)info;
  (void)context;
  fault.pc = fault.lr = fault.sp = fault.address = 0xFFFFFFFFu;
  fault.cfsr = ek_signal_kind(signal);
  fault.hfsr = (uint32_t)signal;
  ek_fault(&fault);
  ek_exit(1);
}

/* Behind the start of the C library. An argument, whichever, is a remote program's. */
static int begin(int count, char **arguments, char **environment) {
  enum { OUT = 1, ERROR = 2 };
  (void)arguments;
  (void)environment;
  if (count > 1) ek_signal_die_with_parent();
  if (ek_syscall(SYS_DUP3, OUT, EK_UART_OUT, 0, 0) < 0) ek_exit(1);
  if (ek_syscall(SYS_DUP3, ERROR, OUT, 0, 0) < 0) ek_exit(1);
  if (ek_signal_open(on_signal, signal_stack, SIGNAL_STACK) != 0) ek_exit(1);
  return main();
}

#if defined(EK_LIBC_BIONIC)
/* Android, bionic/libc/bionic/libc_init_dynamic.cpp and crtbegin.c: pointers to arrays of constructors
 * and destructors, of which there are none, and more of them with each version. */
typedef struct {
  const void *arrays[8];
} structors_t;
void __libc_init(void *arguments, void (*at_exit)(void), int (*main_)(int, char **, char **),
                 const structors_t *structors);

void ek_loaded_start(uintptr_t *arguments, void (*at_exit)(void)) {
  static const structors_t none = {{0}};
  (void)at_exit; /* the loader's register is not set */
  __libc_init(arguments, 0, begin, &none);
  ek_exit(1);
}
#else
/* glibc, csu/libc-start.c; without functions of the program to call before and after. */
int __libc_start_main(int (*main_)(int, char **, char **), int count, char **arguments,
                      void (*init)(void), void (*fini)(void), void (*at_exit)(void), void *stack);

void ek_loaded_start(uintptr_t *arguments, void (*at_exit)(void)) {
  (void)__libc_start_main(begin, (int)arguments[0], (char **)(arguments + 1), 0, 0, at_exit,
                          arguments);
  ek_exit(1);
}
#endif
