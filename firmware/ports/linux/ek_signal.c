/* Signals by system calls: rt_sigaction(2), sigaltstack(2), prctl(2). */
#include "ek_signal.h"

#include "ek_linux.h"

typedef struct {
  void (*handler)(int, const uint8_t *, uint8_t *);
  uintptr_t flags;
  void (*restorer)(void);
  uint64_t mask;
} action_t;

#if defined(__x86_64__)
__asm(".text\n.globl ek_restorer\n.hidden ek_restorer\n.type ek_restorer, @function\n"
      "ek_restorer: mov $15, %eax\n syscall\n"
      ".size ek_restorer, . - ek_restorer\n");
__attribute__((visibility("hidden"))) void ek_restorer(void);
#endif

int ek_signal_open(void (*handler)(int, const uint8_t *, uint8_t *), uint8_t *stack,
                   uintptr_t stack_bytes) {
  enum { SIGINFO = 4, RESTORER = 0x04000000, ONSTACK = 0x08000000 };
  static const uint8_t signals[] = {SIGILL, SIGBUS, SIGFPE, SIGSEGV};
  const struct {
    uint8_t *base;
    int flags;
    uintptr_t bytes;
  } other = {stack, 0, stack_bytes};
  action_t action = {handler, SIGINFO | ONSTACK, 0, 0};
  intptr_t refused = ek_syscall(SYS_SIGALTSTACK, (intptr_t)&other, 0, 0, 0);
#if defined(__x86_64__)
  action.flags |= RESTORER;
  action.restorer = ek_restorer;
#endif
  for (uint32_t i = 0; i < sizeof signals && refused == 0; i++) {
    refused = ek_syscall(SYS_SIGACTION, signals[i], (intptr_t)&action, 0, sizeof action.mask);
  }
  return (int)refused;
}

uint32_t ek_signal_kind(int signal) {
  switch (signal) {
    case SIGILL:
      return 1u << 16;
    case SIGBUS:
      return 1u << 24;
    case SIGFPE:
      return 1u << 25;
    default:
      return 1u << 1;
  }
}

void ek_signal_die_with_parent(void) {
  enum { PDEATHSIG = 1 };
  (void)ek_syscall(SYS_PRCTL, PDEATHSIG, SIGKILL, 0, 0);
}
