/* System calls, whatever C library the process has, or none: x86-64, AArch64, and Armv7-A (EABI).
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
  SYS_LSEEK = 8,
  SYS_MMAP = 9,
  SYS_MPROTECT = 10,
  SYS_SIGACTION = 13,
  SYS_SIGRETURN = 15,
  SYS_NANOSLEEP = 35,
  SYS_FSYNC = 74,
  SYS_SIGALTSTACK = 131,
  SYS_PRCTL = 157,
  SYS_GETTID = 186,
  SYS_SETAFFINITY = 203,
  SYS_CLOCK_GETTIME = 228,
  SYS_EXIT_GROUP = 231,
  SYS_OPENAT = 257,
  SYS_MKDIRAT = 258,
  SYS_UNLINKAT = 263,
  SYS_RENAMEAT = 264,
  SYS_FACCESSAT = 269,
  SYS_DUP3 = 292,
  SYS_GETCPU = 309
};
#elif defined(__aarch64__)
enum {
  SYS_DUP3 = 24,
  SYS_MKDIRAT = 34,
  SYS_UNLINKAT = 35,
  SYS_RENAMEAT = 38,
  SYS_FACCESSAT = 48,
  SYS_OPENAT = 56,
  SYS_CLOSE = 57,
  SYS_LSEEK = 62,
  SYS_READ = 63,
  SYS_WRITE = 64,
  SYS_FSYNC = 82,
  SYS_EXIT_GROUP = 94,
  SYS_NANOSLEEP = 101,
  SYS_CLOCK_GETTIME = 113,
  SYS_SETAFFINITY = 122,
  SYS_SIGALTSTACK = 132,
  SYS_SIGACTION = 134,
  SYS_PRCTL = 167,
  SYS_GETCPU = 168,
  SYS_GETTID = 178,
  SYS_MMAP = 222,
  SYS_MPROTECT = 226
};
#elif defined(__arm__)
enum {
  SYS_READ = 3,
  SYS_WRITE = 4,
  SYS_CLOSE = 6,
  SYS_LSEEK = 19,
  SYS_FSYNC = 118,
  SYS_MPROTECT = 125,
  SYS_NANOSLEEP = 162,
  SYS_PRCTL = 172,
  SYS_SIGACTION = 174,
  SYS_SIGALTSTACK = 186,
  SYS_MMAP = 192, /* mmap2: the offset in pages of 4096 */
  SYS_GETTID = 224,
  SYS_SETAFFINITY = 241,
  SYS_EXIT_GROUP = 248,
  SYS_CLOCK_GETTIME = 263, /* with 32-bit seconds */
  SYS_OPENAT = 322,
  SYS_MKDIRAT = 323,
  SYS_UNLINKAT = 328,
  SYS_RENAMEAT = 329,
  SYS_FACCESSAT = 334,
  SYS_GETCPU = 345,
  SYS_DUP3 = 358
};
#else
#error "firmware/linux knows x86-64, AArch64 and Armv7-A"
#endif

/* Returns what the kernel returns: a negative errno where it refuses. */
static inline intptr_t ek_syscall6(intptr_t number, intptr_t a, intptr_t b, intptr_t c, intptr_t d,
                                   intptr_t e, intptr_t f) {
#if defined(__x86_64__)
  register intptr_t r10 __asm("r10") = d;
  register intptr_t r8 __asm("r8") = e;
  register intptr_t r9 __asm("r9") = f;
  intptr_t result;
  __asm volatile("syscall"
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register intptr_t x8 __asm("x8") = number;
  register intptr_t x0 __asm("x0") = a;
  register intptr_t x1 __asm("x1") = b;
  register intptr_t x2 __asm("x2") = c;
  register intptr_t x3 __asm("x3") = d;
  register intptr_t x4 __asm("x4") = e;
  register intptr_t x5 __asm("x5") = f;
  __asm volatile("svc 0"
                 : "+r"(x0)
                 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                 : "memory");
  return x0;
#else
  register intptr_t r0 __asm("r0") = a;
  register intptr_t r1 __asm("r1") = b;
  register intptr_t r2 __asm("r2") = c;
  register intptr_t r3 __asm("r3") = d;
  register intptr_t r4 __asm("r4") = e;
  register intptr_t r5 __asm("r5") = f;
  register intptr_t r12 __asm("r12") = number;
  /* r7 takes the number, and is the frame pointer of Thumb code. */
  __asm volatile("push {r7}\n mov r7, r12\n svc 0\n pop {r7}"
                 : "+r"(r0)
                 : "r"(r12), "r"(r1), "r"(r2), "r"(r3), "r"(r4), "r"(r5)
                 : "memory");
  return r0;
#endif
}

static inline intptr_t ek_syscall(intptr_t number, intptr_t a, intptr_t b, intptr_t c,
                                  intptr_t d) {
  return ek_syscall6(number, a, b, c, d, 0, 0);
}

static inline void ek_exit(int status) {
  for (;;) (void)ek_syscall(SYS_EXIT_GROUP, status, 0, 0, 0);
}

#endif
