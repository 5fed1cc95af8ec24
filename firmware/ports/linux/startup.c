/* Start-up of a Linux process without a C library: a stack of its own, painted, with a page below
 * it that nobody may touch, and signals that are reported as faults. */
#include <stdint.h>

#include "ek_fault.h"
#include "ek_linux.h"
#include "ek_process.h"
#include "ek_signal.h"

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
      ".size _start, . - _start\n.text\n");
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

static uint32_t kind_of(int signal, uintptr_t address) {
  enum { STACKING = 1 << 12 }; /* beyond the stack's end */
  uintptr_t guard = (uintptr_t)own.guard;
  return signal == SIGSEGV && address >= guard && address - guard < GUARD
             ? (uint32_t)STACKING : ek_signal_kind(signal);
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

/* On the kernel's stack. An argument, whichever, is a remote program's. */
void ek_linux_start(const uintptr_t *arguments) {
  enum { NO_ACCESS = 0 };
  check_features(arguments);
  if (arguments[0] > 1) ek_signal_die_with_parent();
  if (ek_syscall(SYS_MPROTECT, (intptr_t)own.guard, GUARD, NO_ACCESS, 0) != 0) ek_exit(1);
  if (ek_signal_open(on_signal, signal_stack, SIGNAL_STACK) != 0) ek_exit(1);
  for (uint32_t i = 0; i < STACK / 4; i++) own.stack[i] = EK_STACK_PAINT;
  __asm volatile(SWITCH ::"r"(own.stack + STACK / 4) : "memory");
  __builtin_unreachable();
}
