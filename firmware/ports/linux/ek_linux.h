/* System calls of a static program without a C library: x86-64, AArch64, and Armv7-A (EABI).
 *
 * Numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h,
 * arch/arm/tools/syscall.tbl. */
#ifndef EK_LINUX_H
#define EK_LINUX_H

#include <stdint.h>

#if defined(__x86_64__)
enum {
  SYS_READ = 0,
  SYS_WRITE = 1,
  SYS_CLOSE = 3,
  SYS_MPROTECT = 10,
  SYS_SIGACTION = 13,
  SYS_SIGRETURN = 15,
  SYS_SIGALTSTACK = 131,
  SYS_PRCTL = 157,
  SYS_SETAFFINITY = 203,
  SYS_CLOCK_GETTIME = 228,
  SYS_EXIT_GROUP = 231,
  SYS_OPENAT = 257,
  SYS_GETCPU = 309
};
#elif defined(__aarch64__)
enum {
  SYS_OPENAT = 56,
  SYS_CLOSE = 57,
  SYS_READ = 63,
  SYS_WRITE = 64,
  SYS_EXIT_GROUP = 94,
  SYS_CLOCK_GETTIME = 113,
  SYS_SETAFFINITY = 122,
  SYS_SIGALTSTACK = 132,
  SYS_SIGACTION = 134,
  SYS_PRCTL = 167,
  SYS_GETCPU = 168,
  SYS_MPROTECT = 226
};
#elif defined(__arm__)
enum {
  SYS_READ = 3,
  SYS_WRITE = 4,
  SYS_CLOSE = 6,
  SYS_MPROTECT = 125,
  SYS_PRCTL = 172,
  SYS_SIGACTION = 174,
  SYS_SIGALTSTACK = 186,
  SYS_SETAFFINITY = 241,
  SYS_EXIT_GROUP = 248,
  SYS_CLOCK_GETTIME = 263, /* with 32-bit seconds */
  SYS_OPENAT = 322,
  SYS_GETCPU = 345
};
#else
#error "firmware/ports/linux knows x86-64, AArch64 and Armv7-A"
#endif

/* Returns what the kernel returns: a negative errno where it refuses. */
static inline intptr_t ek_syscall(intptr_t number, intptr_t a, intptr_t b, intptr_t c,
                                  intptr_t d) {
#if defined(__x86_64__)
  register intptr_t r10 __asm("r10") = d;
  intptr_t result;
  __asm volatile("syscall"
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                 : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register intptr_t x8 __asm("x8") = number;
  register intptr_t x0 __asm("x0") = a;
  register intptr_t x1 __asm("x1") = b;
  register intptr_t x2 __asm("x2") = c;
  register intptr_t x3 __asm("x3") = d;
  __asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
#else
  register intptr_t r0 __asm("r0") = a;
  register intptr_t r1 __asm("r1") = b;
  register intptr_t r2 __asm("r2") = c;
  register intptr_t r3 __asm("r3") = d;
  register intptr_t r12 __asm("r12") = number;
  /* r7 takes the number, and is the frame pointer of Thumb code. */
  __asm volatile("push {r7}\n mov r7, r12\n svc 0\n pop {r7}"
                 : "+r"(r0)
                 : "r"(r12), "r"(r1), "r"(r2), "r"(r3)
                 : "memory");
  return r0;
#endif
}

static inline void ek_exit(int status) {
  for (;;) (void)ek_syscall(SYS_EXIT_GROUP, status, 0, 0, 0);
}

/* The page that nobody may touch, below the stack. */
void ek_guard_page(const uint8_t **start, const uint8_t **end);

#if !defined(__x86_64__)
/* Whether an instruction of four bytes may be executed here. Call ek_guard_begin, execute it, and
 * ask ek_guard_end: false where it trapped and was skipped. */
void ek_guard_begin(void);
int ek_guard_end(void);
#endif

#endif
