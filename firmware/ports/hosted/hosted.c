/* A Linux process with a C library, which programs need that load a GPU's driver: clock, faults, and
 * standard output kept for the link, whatever a driver prints. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "ek_counter.h"
#include "ek_fault.h"

enum { SIGNAL_STACK = 65536 };
static uint8_t signal_stack[SIGNAL_STACK] __attribute__((aligned(16)));

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
  struct timespec time = {0, 0};
  (void)clock_gettime(CLOCK_MONOTONIC_RAW, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The kinds of fault that the link protocol knows are the bits of Armv7-M's CFSR. Where it happened
 * has 64 bits, which the protocol has not. */
static void on_signal(int number, siginfo_t *info, void *context) {
  ek_fault_t fault;
  (void)info;
  (void)context;
  memset(&fault, 0xFF, sizeof fault);
  fault.cfsr = number == SIGILL ? 1u << 16 : number == SIGBUS ? 1u << 24
               : number == SIGFPE ? 1u << 25 : 1u << 1;
  fault.hfsr = (uint32_t)number;
  ek_fault(&fault);
  _exit(1);
}

/* Before main. An argument, whichever, asks to be killed with the parent: a remote program whose
 * connection breaks must not compute on. */
__attribute__((constructor)) static void begin(int count) {
  static const int signals[] = {SIGILL, SIGBUS, SIGFPE, SIGSEGV};
  stack_t other;
  struct sigaction action;
  memset(&other, 0, sizeof other);
  memset(&action, 0, sizeof action);
  other.ss_sp = signal_stack;
  other.ss_size = SIGNAL_STACK;
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  if (count > 1) (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (dup2(STDOUT_FILENO, EK_UART_OUT) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) _exit(1);
  if (sigaltstack(&other, NULL) != 0) _exit(1);
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
    if (sigaction(signals[i], &action, NULL) != 0) _exit(1);
  }
}
