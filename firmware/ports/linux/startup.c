/* Start-up of a Linux process without a C library: a stack of its own, painted, with a page below
 * it that nobody may touch, and signals that are reported as faults. */
#include <stdint.h>

#include "ek_fault.h"
#include "ek_linux.h"
#include "ek_process.h"

/* Pages have 4, 16 or 64 KiB: the guard is the largest of them. */
enum { GUARD = 65536, STACK = 65536, SIGNAL_STACK = 65536 };

static struct {
  uint8_t guard[GUARD];
  uint32_t stack[STACK / 4];
} own __attribute__((aligned(GUARD)));
static uint8_t signal_stack[SIGNAL_STACK] __attribute__((aligned(16)));

int main(void);
void ek_linux_start(const uintptr_t *arguments);
void ek_linux_main(void);

#define BEGIN ".section .text._start,\"ax\",%progbits\n.globl _start\n"
#if defined(__x86_64__)
__asm(".section .text._start,\"ax\",@progbits\n.globl _start\n.type _start, @function\n"
      "_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call ek_linux_start\n"
      ".size _start, . - _start\n"
      ".globl ek_restorer\n.type ek_restorer, @function\n"
      "ek_restorer: mov $15, %eax\n syscall\n"
      ".size ek_restorer, . - ek_restorer\n.text\n");
void ek_restorer(void);
#define SWITCH "mov %0, %%rsp\n call ek_linux_main\n"
#elif defined(__aarch64__)
__asm(BEGIN ".type _start, %function\n_start: mov x29, #0\n mov x30, #0\n mov x0, sp\n"
            " b ek_linux_start\n.size _start, . - _start\n.text\n");
#define SWITCH "mov sp, %0\n bl ek_linux_main\n"
#else
__asm(BEGIN ".arm\n.type _start, %function\n_start: mov r0, sp\n bic sp, sp, #7\n"
            " blx ek_linux_start\n.size _start, . - _start\n.text\n");
#define SWITCH "mov sp, %0\n bl ek_linux_main\n"
#endif

void ek_guard_page(const uint8_t **start, const uint8_t **end) {
  *start = own.guard;
  *end = own.guard + GUARD;
}

uint32_t ek_stack_bytes(void) { return STACK; }

uint32_t ek_stack_used(void) {
  const volatile uint32_t *word = own.stack, *end = own.stack + STACK / 4;
  while (word < end && *word == EK_STACK_PAINT) word++;
  return (uint32_t)(end - word) * 4u;
}

/* ---- signals */

enum { SIGILL = 4, SIGBUS = 7, SIGFPE = 8, SIGKILL = 9, SIGSEGV = 11 };

typedef struct {
  void (*handler)(int, const uint8_t *, uint8_t *);
  uintptr_t flags;
  void (*restorer)(void);
  uint64_t mask;
} action_t;

/* Where the kernel keeps registers in a ucontext_t (uapi asm/sigcontext.h), and an address in a
 * siginfo_t. */
#if defined(__x86_64__)
enum { LR = 0, SP = 160, PC = 168, ADDRESS = 16 };
#elif defined(__aarch64__)
enum { LR = 424, SP = 432, PC = 440, ADDRESS = 16 };
#else
enum { SP = 84, LR = 88, PC = 92, ADDRESS = 12 };
#endif

static uintptr_t word_at(const uint8_t *from, uint32_t offset) {
  return *(const uintptr_t *)(const void *)(from + offset);
}

/* The link protocol has 32 bits: enough for code, which is linked low. */
static uint32_t low(uintptr_t value) {
  return value <= 0xFFFFFFFFu ? (uint32_t)value : 0xFFFFFFFFu;
}

/* The kinds of fault that the link protocol knows are the bits of Armv7-M's CFSR. */
static uint32_t kind_of(int signal, uintptr_t address) {
  uintptr_t guard = (uintptr_t)own.guard;
  switch (signal) {
    case SIGILL:
      return 1u << 16;
    case SIGBUS:
      return 1u << 24;
    case SIGFPE:
      return 1u << 25;
    default:
      return address >= guard && address - guard < GUARD ? 1u << 12 : 1u << 1;
  }
}

#if !defined(__x86_64__)
static volatile int guarded, trapped;

void ek_guard_begin(void) {
  trapped = 0;
  guarded = 1;
}

int ek_guard_end(void) {
  guarded = 0;
  return !trapped;
}
#endif

static void on_signal(int signal, const uint8_t *info, uint8_t *context) {
  ek_fault_t fault;
#if !defined(__x86_64__)
  if (guarded && signal == SIGILL) {
    trapped = 1;
    *(uintptr_t *)(void *)(context + PC) += 4u;
    return;
  }
#endif
  fault.pc = low(word_at(context, PC));
  fault.lr = LR != 0 ? low(word_at(context, LR)) : 0xFFFFFFFFu;
  fault.sp = low(word_at(context, SP));
  fault.address = low(word_at(info, ADDRESS));
  fault.cfsr = kind_of(signal, word_at(info, ADDRESS));
  fault.hfsr = (uint32_t)signal;
  ek_fault(&fault);
  ek_exit(1);
}

static void catch_signal(int signal) {
  enum { SIGINFO = 4, RESTORER = 0x04000000, ONSTACK = 0x08000000 };
  action_t action = {on_signal, SIGINFO | ONSTACK, 0, 0};
#if defined(__x86_64__)
  action.flags |= RESTORER;
  action.restorer = ek_restorer;
#endif
  if (ek_syscall(SYS_SIGACTION, signal, (intptr_t)&action, 0, sizeof action.mask) != 0) ek_exit(1);
}

/* ---- features of the CPU */

#if defined(EK_HWCAPS)
enum { LACKS_FEATURE = 69 /* EX_UNAVAILABLE of sysexits.h */ };

static void complain(const char *text) {
  enum { STDERR = 2 };
  intptr_t bytes = 0;
  while (text[bytes] != 0) bytes++;
  (void)ek_syscall(SYS_WRITE, STDERR, (intptr_t)text, bytes, 0);
}

/* Of what the kernel says that the CPU has, AT_HWCAP and above its 32 bits AT_HWCAP2: arguments,
 * environment and the auxiliary vector lie behind each other, each with a zero at its end. */
static uint64_t hwcap(const uintptr_t *arguments) {
  enum { AT_HWCAP = 16, AT_HWCAP2 = 26 };
  uint64_t found = 0;
  const uintptr_t *at = arguments + 1 + arguments[0] + 1;
  while (*at++ != 0) {
  }
  for (; at[0] != 0; at += 2) {
    if (at[0] == AT_HWCAP) found |= (uint32_t)at[1];
    if (at[0] == AT_HWCAP2) found |= (uint64_t)at[1] << 32;
  }
  return found;
}

/* An instruction that is not there would end the program without a word that helps. */
static void check_features(const uintptr_t *arguments) {
  static const struct {
    uint64_t bit;
    const char *name;
  } needed[] = {EK_HWCAPS};
  uint64_t has = hwcap(arguments);
  int lacks = 0;
  for (uint32_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
    if ((has & needed[i].bit) != 0) continue;
    complain(lacks ? ", " : "the CPU lacks ");
    complain(needed[i].name);
    lacks = 1;
  }
  if (!lacks) return;
  complain("\n");
  ek_exit(LACKS_FEATURE);
}
#else
static void check_features(const uintptr_t *arguments) { (void)arguments; }
#endif

/* ---- from _start to main */

void ek_linux_main(void) {
  (void)main();
  ek_exit(1);
}

/* On the kernel's stack. An argument, whichever, asks to be killed with the parent: a remote
 * program whose connection breaks must not compute on. */
void ek_linux_start(const uintptr_t *arguments) {
  enum { PDEATHSIG = 1, NO_ACCESS = 0 };
  static const uint8_t signals[] = {SIGILL, SIGBUS, SIGFPE, SIGSEGV};
  struct {
    uint8_t *base;
    int flags;
    uintptr_t bytes;
  } other = {signal_stack, 0, SIGNAL_STACK};
  check_features(arguments);
  if (arguments[0] > 1) (void)ek_syscall(SYS_PRCTL, PDEATHSIG, SIGKILL, 0, 0);
  if (ek_syscall(SYS_MPROTECT, (intptr_t)own.guard, GUARD, NO_ACCESS, 0) != 0) ek_exit(1);
  if (ek_syscall(SYS_SIGALTSTACK, (intptr_t)&other, 0, 0, 0) != 0) ek_exit(1);
  for (uint32_t i = 0; i < sizeof signals; i++) catch_signal(signals[i]);
  for (uint32_t i = 0; i < STACK / 4; i++) own.stack[i] = EK_STACK_PAINT;
  __asm volatile(SWITCH ::"r"(own.stack + STACK / 4) : "memory");
  __builtin_unreachable();
}
